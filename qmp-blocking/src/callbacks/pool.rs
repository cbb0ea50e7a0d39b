//! The threads on which callbacks run.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use crate::lock;

/// Something to run once, on another thread. Dropped, it is not run, and nobody waits for it.
pub type Job = Box<dyn FnOnce() + Send>;

/// The threads on which callbacks run: some of this crate's, or a pool that the program has.
///
/// Clones are the same pool. Without one, each connection has ten threads of its own; given to
/// [`Builder::callback_pool`](crate::Builder::callback_pool), one pool serves as many connections
/// as one likes. Threads are started when there is work for them and end with the pool's last
/// clone and connection, once they have run what was queued.
///
/// What waits for a thread is bounded: one job for each callback of events, whatever comes, and one
/// for each command that was submitted, of which a connection has at most
/// [`max_queued`](crate::Builder::max_queued).
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use qmp_blocking::{Builder, Pool};
///
/// let builder = Builder::new().callback_pool(Pool::threads(4));
/// let machines = [builder.from_stream(server())?, builder.from_stream(server())?];
/// for client in &machines {
///     client.query_then("name", |name| println!("{:?}", name.unwrap().as_str()))?;
/// }
/// for client in &machines {
///     client.wait_idle(None)?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # A pool that the program has
///
/// Any function that takes a [`Job`] is one: `|job| rayon::spawn(job)`, or
/// `move |job| pool.execute(job)`. A thread in between hands the jobs on, so the function may also
/// block, or run the job itself. If it drops a job, or panics, that job's callback is not called.
#[derive(Clone)]
pub struct Pool {
    threads: Arc<Threads>,
}

/// Its end is that of the threads.
struct Threads {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
    run: Box<dyn Fn(Job) + Send + Sync>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    started: usize,
    idle: usize,
    /// A thread has been woken or started, and has not looked for jobs yet. It calls the next one if
    /// there is more than one job: so a burst of short jobs does not wake all of them.
    called: bool,
    closed: bool,
}

impl Pool {
    /// A pool of at most so many threads, and at least one.
    pub fn threads(most: usize) -> Self {
        Self::with(most.max(1), |job| job())
    }

    fn with(most: usize, run: impl Fn(Job) + Send + Sync + 'static) -> Self {
        let (state, changed, run) = (Mutex::default(), Condvar::new(), Box::new(run));
        let shared = Arc::new(Shared { state, changed, most, run });
        Self { threads: Arc::new(Threads { shared }) }
    }

    /// Sees to it that there is a thread, without which there would be no more.
    ///
    /// # Panics
    ///
    /// Where the system refuses it, as [`thread::spawn`] does.
    pub(crate) fn start(&self) {
        let shared = &self.threads.shared;
        let mut state = lock(&shared.state);
        if state.started == 0 {
            if let Err(error) = shared.start_thread(&mut state) {
                panic!("no thread for callbacks: {error}");
            }
        }
    }

    /// Runs it on one of the threads. Never blocks.
    pub(crate) fn execute(&self, job: Job) {
        let shared = &self.threads.shared;
        let mut state = lock(&shared.state);
        state.jobs.push_back(job);
        shared.call(state);
    }
}

impl Shared {
    /// Has one more thread look for jobs, if there are any and none is about to.
    fn call(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.jobs.is_empty() || state.called {
            return;
        }
        if state.idle > 0 {
            state.called = true;
            drop(state);
            self.changed.notify_one();
        } else if state.started < self.most {
            // Where the system refuses one more, those that there are do the work.
            let _ = self.start_thread(&mut state);
        }
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let shared = self.clone();
        let name = "qmp-callback".to_owned();
        thread::Builder::new().name(name).spawn(move || shared.work())?;
        state.started += 1;
        state.called = true;
        Ok(())
    }

    fn work(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.called = false;
        loop {
            if let Some(job) = state.jobs.pop_front() {
                self.call(state);
                // Callbacks are guarded already; this is for a pool's function, and for what drops.
                let _ = catch_unwind(AssertUnwindSafe(|| (self.run)(job)));
                state = lock(&self.state);
            } else if state.closed {
                return;
            } else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(|poison| poison.into_inner());
                state.idle -= 1;
                state.called = false;
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
    }
}

/// A pool that the program has.
impl<F: Fn(Job) + Send + Sync + 'static> From<F> for Pool {
    fn from(execute: F) -> Self {
        Self::with(1, execute)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads.shared.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
