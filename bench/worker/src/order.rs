//! What a worker is told to do.

use std::str::FromStr;

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
