//! The callbacks of one connection: which there are, how they run, and waiting until they have.
//!
//! They keep no connection alive: what is here knows the line, and no [`Client`](crate::Client).
//!
//! A callback runs with no lock of ours held. Locks are taken in this order: these callbacks', one
//! registration's, its queue's.
//!
//! `registration` has a callback of events, `submission` a command's; both are waits in `detached`. `pool` has the threads
//! that run them, and `panics` decides what a panic does.

mod registration;
mod submission;
mod detached;
mod pool;
mod panics;

use std::collections::BTreeMap;
use std::process;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker, ready};

use qmp_client::{Error, Subscription, Wait};
use qmp_proto::{CloseReason, Event, Refusal};

use crate::io::ThreadIo;
use crate::lock;

pub use panics::OnPanic;
pub use pool::{Job, Pool};
pub use registration::Registration;

use registration::Registered;

/// How many threads callbacks have unless the builder says otherwise.
const THREADS: usize = 10;

/// What a builder lets choose about callbacks.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallbackOptions {
    /// Each connection has one of its own if there is none.
    pub(crate) pool: Option<Pool>,
    pub(crate) threads: Option<usize>,
    pub(crate) on_panic: OnPanic,
}

/// The callbacks of one connection.
#[derive(Debug)]
pub(crate) struct Callbacks {
    io: Arc<ThreadIo>,
    pool: Pool,
    on_panic: OnPanic,
    /// How many commands may be unfinished.
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Commands that were submitted and whose callbacks have not returned.
    unfinished: usize,
    registered: Vec<Weak<Registered>>,
    /// Who waits until callbacks have returned, by their numbers.
    waiting: BTreeMap<u64, Waker>,
    waits_begun: u64,
}

/// One command that was submitted, until its callback has returned or was dropped.
#[derive(Debug)]
struct Unfinished {
    callbacks: Arc<Callbacks>,
}

impl Callbacks {
    pub(crate) fn new(io: Arc<ThreadIo>, options: &CallbackOptions, most: usize) -> Arc<Self> {
        let threads = || Pool::threads(options.threads.unwrap_or(THREADS));
        let pool = options.pool.clone().unwrap_or_else(threads);
        Arc::new(Self { io, pool, on_panic: options.on_panic, most, state: Mutex::default() })
    }

    /// Calls a function with each event of a subscription.
    pub(crate) fn register(
        self: &Arc<Self>,
        subscription: Subscription,
        callback: impl FnMut(Event) + Send + 'static,
    ) -> Registration {
        self.pool.start();
        let registered = Registered::new(self.clone(), subscription, Box::new(callback));
        let mut state = lock(&self.state);
        state.registered.retain(|other| other.strong_count() > 0);
        state.registered.push(Arc::downgrade(&registered));
        drop(state);
        registered.look();
        Registration::new(registered)
    }

    fn begin(self: &Arc<Self>) -> Result<Unfinished, Refusal> {
        let mut state = lock(&self.state);
        if state.unfinished >= self.most {
            return Err(Refusal::QueueFull);
        }
        state.unfinished += 1;
        Ok(Unfinished { callbacks: self.clone() })
    }

    /// Runs a callback, and does what its panic asks for.
    fn run(&self, callback: impl FnOnce()) {
        let Err(text) = panics::run(callback) else { return };
        match self.on_panic {
            OnPanic::Abort => process::abort(),
            OnPanic::Close => {
                self.io.shared.abort_with(CloseReason::CallbackPanicked(text));
                self.io.finish();
            }
            OnPanic::Continue => {
                #[cfg(feature = "tracing")]
                tracing::error!(target: "qmp", "a callback panicked: {}", qmp_proto::printable(&*text));
            }
        }
    }

    /// Some callback has returned.
    fn tell(&self) {
        let waiting = std::mem::take(&mut lock(&self.state).waiting);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut state = lock(&self.callbacks.state);
        state.unfinished -= 1;
        // Who waits, waits for the last one.
        let is_last = state.unfinished == 0;
        drop(state);
        if is_last {
            self.callbacks.tell();
        }
    }
}

/// Somebody's wait until a connection is idle, and its callbacks have returned.
pub(crate) struct Idle {
    callbacks: Arc<Callbacks>,
    number: u64,
    replies: Wait<()>,
    /// Up to which event each callback has to come. More may come all the time; those are not
    /// waited for.
    marks: Option<Vec<(Weak<Registered>, u64)>>,
}

impl Idle {
    /// Refused inside a callback, which would wait for itself, or for one that waits for it.
    pub(crate) fn new(callbacks: &Arc<Callbacks>) -> Result<Self, Error> {
        if panics::is_inside() {
            return Err(Error::InsideCallback);
        }
        let replies = callbacks.io.shared.idle();
        let mut state = lock(&callbacks.state);
        state.waits_begun += 1;
        let number = state.waits_begun;
        drop(state);
        Ok(Self { callbacks: callbacks.clone(), number, replies, marks: None })
    }

    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<()> {
        ready!(self.replies.poll(waker));
        // Dropped after the lock is let go: with the last of it goes code of the program's.
        let mut held = Vec::new();
        let mut state = lock(&self.callbacks.state);
        if state.unfinished > 0 {
            state.waiting.insert(self.number, waker.clone());
            return Poll::Pending;
        }
        // Marked only now: the events that came before the replies belong to what is waited for.
        held.extend(state.registered.iter().filter_map(Weak::upgrade));
        let marks = self.marks.get_or_insert_with(|| {
            held.iter().map(|one| (Arc::downgrade(one), one.received())).collect()
        });
        marks.retain(|(marked, mark)| {
            let one = held.iter().find(|one| Arc::as_ptr(one) == marked.as_ptr());
            one.is_some_and(|one| !one.has_reached(*mark))
        });
        if marks.is_empty() {
            return Poll::Ready(());
        }
        state.waiting.insert(self.number, waker.clone());
        Poll::Pending
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        lock(&self.callbacks.state).waiting.remove(&self.number);
    }
}

/// Whether this thread is in a callback.
pub(crate) fn is_inside() -> bool {
    panics::is_inside()
}

#[cfg(test)]
mod tests;
