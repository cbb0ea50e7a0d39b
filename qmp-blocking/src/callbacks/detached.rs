//! Callbacks that wait for events or for a reply. The background thread reads for them, without the
//! patience that it has otherwise, and wakes submitted commands at their deadlines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::io::Line;
use crate::io::turns::Successor;
use crate::lock;

/// When which command's time is over.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wakers: BTreeMap<Key, Waker>,
    /// Tells apart those of the same instant.
    next: u64,
}

type Key = (Instant, u64);

/// The wait of a callback. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct Unattended {
    line: Arc<Line>,
    deadline: Option<Key>,
}

impl Line {
    /// Begins the wait of a callback: the background thread reads for it, and wakes the waker at the
    /// deadline, if there is one.
    pub(crate) fn attend(self: &Arc<Self>, deadline: Option<(Instant, Waker)>) -> Unattended {
        let deadline = deadline.map(|(at, waker)| self.deadlines.add(at, waker));
        let is_next = deadline.is_some() && self.deadlines.first() == deadline;
        if self.turns.attend() == Successor::Background || is_next {
            self.nudge();
        }
        Unattended { line: self.clone(), deadline }
    }
}

impl Unattended {
    /// Whether its deadline has passed.
    pub(crate) fn has_expired(&self) -> bool {
        self.deadline.is_some_and(|(at, _)| at <= Instant::now())
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        self.line.turns.unattend();
        if let Some(key) = &self.deadline {
            let waker = lock(&self.line.deadlines.state).wakers.remove(key);
            // Without the lock: with the last of it goes code of the program's.
            drop(waker);
        }
    }
}

impl Deadlines {
    fn add(&self, at: Instant, waker: Waker) -> Key {
        let mut state = lock(&self.state);
        let key = (at, state.next);
        state.next += 1;
        state.wakers.insert(key, waker);
        key
    }

    fn first(&self) -> Option<Key> {
        lock(&self.state).wakers.first_key_value().map(|(key, _)| *key)
    }

    /// How long a wait may take that is to end at the next deadline.
    pub(crate) fn limit(&self, timeout: Option<Duration>) -> Option<Duration> {
        let left = self.first().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        timeout.into_iter().chain(left).min()
    }

    /// Wakes those whose time is over.
    pub(crate) fn wake_expired(&self) {
        while let Some(waker) = self.pop_expired() {
            waker.wake();
        }
    }

    fn pop_expired(&self) -> Option<Waker> {
        let mut state = lock(&self.state);
        let first = state.wakers.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }
}
