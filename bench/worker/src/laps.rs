//! How long each of many commands takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

static WANTED: AtomicBool = AtomicBool::new(false);
static LAPS: Mutex<Vec<Instant>> = Mutex::new(Vec::new());

/// A command has ended, and another begins.
pub fn lap() {
    if WANTED.load(Ordering::Relaxed) {
        laps().push(Instant::now());
    }
}

fn laps() -> MutexGuard<'static, Vec<Instant>> {
    LAPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes them from now on.
pub(crate) fn begin(count: usize) {
    *laps() = Vec::with_capacity(count + 1);
    WANTED.store(true, Ordering::Relaxed);
    lap();
}

/// The percentiles of how long each took, in nanoseconds.
pub(crate) fn end() -> Vec<u64> {
    WANTED.store(false, Ordering::Relaxed);
    let laps = std::mem::take(&mut *laps());
    let times = laps.windows(2).map(|pair| (pair[1] - pair[0]).as_nanos() as u64);
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let at = |share: f64| times.get((last as f64 * share).round() as usize).copied();
    (1..100).filter_map(|percent| at(f64::from(percent) / 100.0)).chain(at(0.999)).collect()
}
