//! Each subscriber's own queue of events: bounded, with its losses counted.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::task::{Poll, Waker};

use qmp_proto::Event;

use crate::shared::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an event takes in a queue beside its bytes, about.
const OVERHEAD: usize = 128;

/// How much one subscriber's queue holds. Beyond it the oldest events are dropped, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLimits {
    /// How many events: 4,096 by default.
    pub events: usize,
    /// How many bytes: 4 MiB by default. One event is held whatever its size.
    pub bytes: usize,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self { events: 4096, bytes: 4 << 20 }
    }
}

/// So many events were dropped here, because the subscriber was too slow for its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged(pub u64);

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events were lost: the subscriber is too slow", self.0)
    }
}

impl std::error::Error for Lagged {}

/// A subscriber's end of its queue. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<EventQueue>,
}

/// The queue between the connection and one subscriber.
#[derive(Debug)]
pub(crate) struct EventQueue {
    limits: EventLimits,
    /// The one event that is asked for; all if there is none.
    name: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    lost: u64,
    /// How many have come, the lost ones included.
    received: u64,
    /// The connection has ended: what is queued is the last.
    ended: bool,
    /// The subscriber is gone: nothing is kept.
    abandoned: bool,
    waker: Option<Waker>,
}

impl Subscription {
    pub(crate) fn new(limits: EventLimits, name: Option<String>) -> (Self, Arc<EventQueue>) {
        let queue = Arc::new(EventQueue { limits, name, state: Mutex::default() });
        (Self { queue: queue.clone() }, queue)
    }

    /// The next event; `None` after the last one of a connection that has ended.
    ///
    /// `Err` stands where events were dropped. Pending, it wakes the waker given last.
    pub fn poll_next(&self, waker: &Waker) -> Poll<Option<Result<Event, Lagged>>> {
        if let next @ Poll::Ready(_) = self.queue.lock().next() {
            return next;
        }
        // A waker is cloned and dropped without the lock, so one may have come since.
        let waker = waker.clone();
        let mut state = self.queue.lock();
        let next = state.next();
        let replaced = if next.is_pending() { state.waker.replace(waker) } else { Some(waker) };
        drop(state);
        drop(replaced);
        next
    }

    /// Drops the waker given last: the next event is not awaited any more.
    #[cfg(feature = "async")]
    pub(crate) fn stop_waiting(&self) {
        let waker = self.queue.lock().waker.take();
        // After unlocking: dropping a waker runs foreign code.
        drop(waker);
    }

    /// How many events have come so far, those included that were dropped and those still queued.
    pub fn received(&self) -> u64 {
        self.queue.lock().received
    }
}

impl State {
    fn next(&mut self) -> Poll<Option<Result<Event, Lagged>>> {
        if self.lost > 0 {
            return Poll::Ready(Some(Err(Lagged(std::mem::take(&mut self.lost)))));
        }
        match self.events.pop_front() {
            Some(event) => {
                self.bytes -= size(&event);
                Poll::Ready(Some(Ok(event)))
            }
            None if self.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let abandoned = State { abandoned: true, ..State::default() };
        let left = std::mem::replace(&mut *self.queue.lock(), abandoned);
        // Its waker is not ours, and is dropped without the lock.
        drop(left);
    }
}

impl EventQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event, dropping the oldest where there is no room. Tells whom to wake, or that
    /// nobody listens any more.
    pub(crate) fn push(&self, event: Cow<'_, Event>) -> Result<Option<Waker>, Abandoned> {
        let mut state = self.lock();
        if state.abandoned {
            return Err(Abandoned);
        }
        if self.name.as_ref().is_some_and(|name| name != event.name()) {
            return Ok(None);
        }
        state.received += 1;
        state.bytes += size(&event);
        state.events.push_back(event.into_owned());
        while state.events.len() > self.limits.events.max(1)
            || (state.bytes > self.limits.bytes && state.events.len() > 1)
        {
            let Some(oldest) = state.events.pop_front() else { break };
            state.bytes -= size(&oldest);
            state.lost += 1;
        }
        Ok(state.waker.take())
    }

    /// Returns whether the next event is awaited. A dropped future of a subscriber counts until that event,
    /// unless it called [`Subscription::stop_waiting`].
    pub(crate) fn is_awaited(&self) -> bool {
        self.lock().waker.is_some()
    }

    /// Whether the subscriber is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// The connection has ended.
    pub(crate) fn end(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.ended = true;
        state.waker.take()
    }
}

/// Nobody listens any more.
pub(crate) struct Abandoned;

fn size(event: &Event) -> usize {
    event.len_in_memory() + OVERHEAD
}

#[cfg(test)]
mod tests;
