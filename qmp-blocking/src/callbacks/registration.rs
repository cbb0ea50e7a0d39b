//! A callback of events: called in order, by one thread at a time.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

use qmp_client::{Lagged, Subscription};
use qmp_proto::Event;

use super::Callbacks;
use super::detached::Unattended;
use crate::lock;

type OnEvent = Box<dyn FnMut(Event) + Send>;
type OnLagged = Box<dyn FnMut(Lagged) + Send>;

/// How many events are seen to before others on the same pool have their turn.
const BATCH: usize = 32;

/// A callback of events that is registered. Dropping this unregisters it.
///
/// Then the callback is dropped, and no call of it begins any more; one that has begun goes on.
/// When the connection ends, the callback is called with the events that had come by then, and is
/// dropped too.
///
/// Events wait for a slow callback in a queue of its own, bounded by the builder's
/// [`event_limits`](crate::Builder::event_limits). One that is too slow loses its own oldest events
/// and delays nobody: [`lost`](Self::lost) and [`on_lagged`](Self::on_lagged) tell how many.
#[must_use = "dropping it unregisters the callback; `detach` leaves it registered"]
pub struct Registration {
    /// None once it is detached.
    registered: Option<Arc<Registered>>,
}

impl Registration {
    pub(super) fn new(registered: Arc<Registered>) -> Self {
        Self { registered: Some(registered) }
    }

    /// Leaves the callback registered for as long as the connection lives.
    ///
    /// The connection lives as long as a [`Client`](crate::Client) does: a callback that has
    /// captured one keeps it alive itself, until the server ends it or
    /// [`close`](crate::Client::close) does. [`Client::downgrade`](crate::Client::downgrade) gives
    /// one to capture that does not.
    pub fn detach(mut self) {
        self.registered = None;
    }

    /// Calls a function where events were lost, in their place among the others, with their number.
    ///
    /// It replaces one that was given before.
    pub fn on_lagged(self, callback: impl FnMut(Lagged) + Send + 'static) -> Self {
        if let Some(registered) = &self.registered {
            registered.replace_on_lagged(Box::new(callback));
        }
        self
    }

    /// How many events the callback has lost so far.
    pub fn lost(&self) -> u64 {
        self.registered.as_ref().map_or(0, |registered| lock(&registered.state).lost)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(registered) = &self.registered {
            registered.end();
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

/// What the guard and the pool share. While events are awaited, their queue holds it too, as whom to
/// wake.
pub(super) struct Registered {
    state: Mutex<State>,
}

/// What a callback needs as long as it may be called. A guard that is kept for longer keeps neither
/// the connection's descriptors nor its threads.
struct Active {
    subscription: Subscription,
    callbacks: Arc<Callbacks>,
    /// The background thread reads the events.
    _unattended: Unattended,
}

/// Never dropped under its lock: the callbacks, whose captures are the program's and may well lock it
/// again, as a guard of their own does.
struct State {
    /// None once it is unregistered, or the connection has ended.
    active: Option<Active>,
    /// Taken out while it runs.
    on_event: Option<OnEvent>,
    on_lagged: Option<OnLagged>,
    /// A job is queued or runs. There is one at most, which keeps the events in order.
    scheduled: bool,
    running: bool,
    /// How many events it has been called with, or has lost.
    handled: u64,
    lost: u64,
}

/// What a job finds to do.
enum Next {
    Event(OnEvent, Event),
    Lagged(Option<OnLagged>, Lagged),
    /// Nothing now: the next event brings the next job.
    Nothing,
    /// Nothing any more.
    End,
}

impl Registered {
    pub(super) fn new(
        callbacks: Arc<Callbacks>,
        subscription: Subscription,
        on_event: OnEvent,
    ) -> Arc<Self> {
        let unattended = callbacks.io.attend();
        let state = State {
            active: Some(Active { subscription, callbacks, _unattended: unattended }),
            on_event: Some(on_event),
            on_lagged: None,
            scheduled: false,
            running: false,
            handled: 0,
            lost: 0,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// How many events it has to have returned from to be done with what has come so far.
    pub(super) fn received(&self) -> u64 {
        let state = lock(&self.state);
        match &state.active {
            Some(active) => active.subscription.received(),
            None => state.handled + u64::from(state.running),
        }
    }

    /// Whether it has returned from so many events, or will never be called with them.
    pub(super) fn has_reached(&self, mark: u64) -> bool {
        let state = lock(&self.state);
        state.handled >= mark || (state.active.is_none() && !state.running)
    }

    /// Has a job look for events, if none does.
    pub(super) fn look(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if state.scheduled {
            return;
        }
        let Some(active) = &state.active else { return };
        let callbacks = active.callbacks.clone();
        state.scheduled = true;
        drop(state);
        self.schedule(callbacks);
    }

    fn schedule(self: &Arc<Self>, callbacks: Arc<Callbacks>) {
        let pool = callbacks.pool.clone();
        let job = ScheduledJob { registered: self.clone(), callbacks, done: false };
        pool.execute(Box::new(move || job.run()));
    }

    /// No call begins any more.
    fn end(&self) {
        let mut state = lock(&self.state);
        let active = state.active.take();
        let unneeded = (state.on_event.take(), state.on_lagged.take());
        drop(state);
        if let Some(active) = active {
            drop(active.subscription);
            active.callbacks.tell();
        }
        // Last: it may panic.
        drop(unneeded);
    }

    fn replace_on_lagged(&self, callback: OnLagged) {
        let mut state = lock(&self.state);
        let unneeded = match state.active.is_some() {
            true => state.on_lagged.replace(callback),
            false => Some(callback),
        };
        drop(state);
        drop(unneeded);
    }

    fn next(self: &Arc<Self>) -> Next {
        let mut state = lock(&self.state);
        let polled = match &state.active {
            Some(active) => active.subscription.poll_next(&Waker::from(self.clone())),
            None => Poll::Ready(None),
        };
        let next = match polled {
            Poll::Ready(Some(Ok(event))) => match state.on_event.take() {
                Some(callback) => Next::Event(callback, event),
                None => Next::End,
            },
            Poll::Ready(Some(Err(lagged))) => {
                state.lost += lagged.0;
                Next::Lagged(state.on_lagged.take(), lagged)
            }
            Poll::Pending => Next::Nothing,
            Poll::Ready(None) => Next::End,
        };
        state.running = matches!(next, Next::Event(..) | Next::Lagged(..));
        // Under the same lock as the look: who comes with an event now, schedules a job.
        state.scheduled = state.running;
        next
    }

    /// Calls the callback once, if there is something to call it with; tells whether there may be
    /// more.
    fn call_once(self: &Arc<Self>, callbacks: &Callbacks) -> bool {
        match self.next() {
            Next::Event(mut callback, event) => {
                callbacks.run(|| callback(event));
                self.returned(1, |state| state.on_event.replace(callback));
                callbacks.tell();
                true
            }
            Next::Lagged(callback, lagged) => {
                let mut callback = callback;
                if let Some(callback) = &mut callback {
                    callbacks.run(|| callback(lagged));
                }
                self.returned(lagged.0, |state| match &state.on_lagged {
                    // Another was given meanwhile.
                    Some(_) => callback,
                    None => std::mem::replace(&mut state.on_lagged, callback),
                });
                callbacks.tell();
                true
            }
            Next::Nothing => false,
            Next::End => {
                self.end();
                false
            }
        }
    }

    /// `put_back` gives what is not needed any more.
    fn returned<T>(&self, events: u64, put_back: impl FnOnce(&mut State) -> Option<T>) {
        let mut state = lock(&self.state);
        state.running = false;
        state.handled += events;
        let unneeded = put_back(&mut state);
        let is_over = state.active.is_none();
        drop(state);
        drop(unneeded);
        if is_over {
            self.end();
        }
    }
}

impl Wake for Registered {
    fn wake(self: Arc<Self>) {
        self.look();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.look();
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").finish_non_exhaustive()
    }
}

/// The one job of a registration's. If the pool drops it, the callback is unregistered: nothing would
/// call it any more.
struct ScheduledJob {
    registered: Arc<Registered>,
    callbacks: Arc<Callbacks>,
    done: bool,
}

impl ScheduledJob {
    fn run(mut self) {
        let more = (0..BATCH).all(|_| self.registered.call_once(&self.callbacks));
        self.done = true;
        if more {
            self.registered.schedule(self.callbacks.clone());
        }
    }
}

impl Drop for ScheduledJob {
    fn drop(&mut self) {
        if !self.done {
            self.registered.end();
            self.callbacks.tell();
        }
    }
}
