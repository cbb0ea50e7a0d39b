//! What a worker is told to do.

use std::str::FromStr;
use std::time::Instant;

use crate::Work;

/// So many times.
pub enum Order {
    Together(usize),
    /// Each of them timed.
    Each(usize),
}

impl FromStr for Order {
    type Err = std::num::ParseIntError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        match line.trim().strip_suffix(" each") {
            Some(count) => Ok(Self::Each(count.parse()?)),
            None => Ok(Self::Together(line.trim().parse()?)),
        }
    }
}

/// The percentiles of how long each took, in nanoseconds.
pub fn time_each(work: &mut Work, count: usize) -> Vec<u64> {
    let mut times: Vec<_> = (0..count)
        .map(|_| {
            let start = Instant::now();
            work(1);
            start.elapsed().as_nanos() as u64
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times[((count - 1) as f64 * share).round() as usize];
    (1..100).map(|percent| at(f64::from(percent) / 100.0)).chain([at(0.999)]).collect()
}
