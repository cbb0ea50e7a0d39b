//! Waiting for one event: a slot for it, and the function that recognises it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Poll, Waker};

use qmp_proto::{CloseReason, CommandId, Event};

use crate::error::Error;
use crate::shared::sync::{Mutex, MutexGuard, PoisonError};
use crate::shared::waiting::wake;

/// Recognises the event that is awaited.
pub type Matcher = Box<dyn Fn(&Event) -> bool + Send + Sync>;

/// A slot for the one event that a caller waits for.
///
/// Every event from the command's first byte on is shown to the matcher, by whoever receives it
/// and without the connection's lock. The slot cannot overflow.
pub(crate) struct EventWaiter {
    pub(crate) command: CommandId,
    matcher: Matcher,
    state: Mutex<State>,
}

struct State {
    /// The command's first byte has gone out.
    begun: bool,
    found: Option<Result<Event, Error>>,
    waker: Option<Waker>,
}

impl EventWaiter {
    pub(crate) fn new(command: CommandId, matcher: Matcher) -> Self {
        let state = State { begun: false, found: None, waker: None };
        Self { command, matcher, state: Mutex::new(state) }
    }

    /// From now on events count.
    pub(crate) fn begin(&self) {
        self.lock().begun = true;
    }

    /// Whether an event has to be shown to the matcher.
    pub(crate) fn is_watching(&self) -> bool {
        let state = self.lock();
        state.begun && state.found.is_none()
    }

    /// Returns whether a caller waits for the event now, and no longer for the reply.
    pub(crate) fn is_awaited(&self) -> bool {
        self.lock().waker.is_some()
    }

    /// Shows it an event.
    pub(crate) fn offer(&self, event: &Event) {
        let matched = catch_unwind(AssertUnwindSafe(|| (self.matcher)(event)));
        match matched {
            Ok(true) => self.settle(Ok(event.clone())),
            Ok(false) => {}
            Err(_) => self.settle(Err(Error::MatcherPanicked)),
        }
    }

    /// The connection has ended.
    pub(crate) fn end(&self, reason: &CloseReason) {
        self.settle(Err(Error::Closed(reason.clone())));
    }

    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<Event, Error>> {
        let waker = waker.clone();
        let mut state = self.lock();
        if let Some(found) = &state.found {
            return Poll::Ready(found.clone());
        }
        let replaced = state.waker.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    fn settle(&self, outcome: Result<Event, Error>) {
        let mut state = self.lock();
        state.found.get_or_insert(outcome);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EventWaiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventWaiter").field("command", &self.command).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
