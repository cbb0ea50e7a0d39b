//! What threads share, in one place: the tests of the locking (`tests/locking.rs`, built with
//! `--cfg qmp_shuttle`) have shuttle decide who runs when.

#[cfg(all(not(qmp_shuttle), feature = "async"))]
pub(crate) use std::sync::atomic::AtomicU8;
#[cfg(not(qmp_shuttle))]
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(qmp_shuttle))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(qmp_shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU8, Ordering};
#[cfg(qmp_shuttle)]
pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, PoisonError};
