//! Waiting until a connection is ready, idle or closed.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use qmp_proto::Connection;

use crate::shared::SharedConnection;
use crate::shared::sync::Arc;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Commands are sent.
    Ready,
    /// No command waits, and no reply is owed.
    Idle,
    /// The connection has ended, as it may before each of the others.
    Closed,
}

/// Somebody's wait. Dropped, it leaves nothing behind.
#[must_use = "nothing waits until it is polled"]
pub struct Wait<T> {
    shared: Arc<SharedConnection>,
    moment: Moment,
    key: Option<u64>,
    /// Finds what is awaited.
    look: Look<T>,
}

pub(crate) type Look<T> = fn(&Connection<OwnedFd>) -> Option<T>;

impl<T> Wait<T> {
    pub(crate) fn new(shared: Arc<SharedConnection>, moment: Moment, look: Look<T>) -> Self {
        Self { shared, moment, key: None, look }
    }

    /// What was awaited. Pending, it wakes the waker given last.
    pub fn poll(&mut self, waker: &Waker) -> Poll<T> {
        self.shared.poll_wait(self.moment, &mut self.key, self.look, waker)
    }
}

impl<T> Future for Wait<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Wait::poll(self.get_mut(), context.waker())
    }
}

impl<T> Drop for Wait<T> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.stop_waiting(self.moment, key);
        }
    }
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("moment", &self.moment).finish_non_exhaustive()
    }
}

/// Wakes somebody. Their waker is not ours: if it panics, as one may whose executor is gone, nobody else
/// shall go without for that.
pub(crate) fn wake(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

/// Who waits for what, each under a key of its own.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    wakers: [HashMap<u64, Waker>; 3],
    next: u64,
}

impl Waiting {
    /// Notes whom to wake. The key is given at the first time.
    ///
    /// What this and [`forget`](Self::forget) give back is to be dropped without the lock.
    pub(crate) fn note(
        &mut self,
        moment: Moment,
        key: &mut Option<u64>,
        waker: Waker,
    ) -> Option<Waker> {
        let key = *key.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.wakers[moment as usize].insert(key, waker)
    }

    pub(crate) fn forget(&mut self, moment: Moment, key: u64) -> Option<Waker> {
        self.wakers[moment as usize].remove(&key)
    }

    /// Whether anybody waits for this moment.
    pub(crate) fn is_any(&self, moment: Moment) -> bool {
        !self.wakers[moment as usize].is_empty()
    }

    /// Returns whether any moment is awaited.
    pub(crate) fn is_any_at_all(&self) -> bool {
        self.wakers.iter().any(|wakers| !wakers.is_empty())
    }

    /// Those who wait for this moment, which has come.
    pub(crate) fn take(&mut self, moment: Moment) -> impl Iterator<Item = Waker> {
        self.wakers[moment as usize].drain().map(|(_, waker)| waker)
    }

    /// Everybody: the connection has ended.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Waker> {
        self.wakers.iter_mut().flat_map(|wakers| wakers.drain()).map(|(_, waker)| waker)
    }
}
