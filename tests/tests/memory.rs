//! Memory stays as it is, however long it goes on, whatever the adapter. This measures that of the
//! whole process, so one of these tests runs at a time, and no others beside them. They take a few
//! seconds each, or `QMP_SOAK_SECONDS`.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]
#![allow(clippy::duplicate_mod, reason = "one source for each adapter, as in story.rs")]

use std::fs;
use std::sync::{Mutex, MutexGuard};

macro_rules! wait {
    ($call:expr) => {
        $call
    };
}

#[path = "memory"]
mod blocking {
    use qmp_blocking as qmp;
    use qmp_tests::adapters::blocking as runtime;

    #[path = "soak.rs"]
    mod soak;
}

// From here on a call gives a future.
macro_rules! wait {
    ($call:expr) => {
        $call.await
    };
}

#[path = "memory"]
mod smol {
    use qmp_smol as qmp;
    use qmp_tests::adapters::smol as runtime;

    #[path = "soak.rs"]
    mod soak;
}

#[path = "memory"]
mod async_std {
    use qmp_async_std as qmp;
    use qmp_tests::adapters::async_std as runtime;

    #[path = "soak.rs"]
    mod soak;
}

/// Until this is dropped, no other test here runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|another_failed| another_failed.into_inner())
}

/// More than the allocator's moods, and less than what a leak in each of many rounds would come to.
const MOODS: usize = 16 << 20;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    1024 * line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
}

#[track_caller]
fn stayed_at(before: usize) {
    let after = resident_bytes();
    assert!(after < before + MOODS, "{before} bytes before, {after} after");
}
