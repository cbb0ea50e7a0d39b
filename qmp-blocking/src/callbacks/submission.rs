//! A command that no thread waits for: its callback is called once.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::time::Instant;

use qmp_client::{Error, Pending};
use qmp_proto::{Prepared, Raw};

use super::detached::Unattended;
use super::{Callbacks, Unfinished};
use crate::lock;

/// What is called with the outcome of a command.
pub(crate) type OnReply = Box<dyn FnOnce(Result<Raw, Error>) + Send>;

/// A command that was submitted, until its outcome is known.
struct Submission {
    active: Mutex<Option<Active>>,
}

struct Active {
    pending: Pending,
    callback: OnReply,
    unfinished: Unfinished,
    unattended: Unattended,
}

impl Callbacks {
    /// Executes a command whose outcome the callback is called with, on the pool.
    ///
    /// It is refused here or the callback is called, one of the two.
    pub(crate) fn submit(
        self: &Arc<Self>,
        prepared: Prepared<OwnedFd>,
        deadline: Option<Instant>,
        callback: OnReply,
    ) -> Result<(), Error> {
        self.pool.start();
        let unfinished = self.begin()?;
        let pending = self.io.begin(prepared, deadline)?;
        let submission = Arc::new(Submission { active: Mutex::new(None) });
        let unattended = self.io.attend();
        *lock(&submission.active) = Some(Active { pending, callback, unfinished, unattended });
        submission.look();
        Ok(())
    }
}

impl Submission {
    /// Finishes it if its outcome is known.
    fn look(self: &Arc<Self>) {
        let mut slot = lock(&self.active);
        let Some(active) = slot.as_mut() else { return };
        let Poll::Ready(outcome) = active.pending.poll(&Waker::from(self.clone())) else { return };
        let Some(active) = slot.take() else { return };
        // Dropping what is in it may wake others, whose locks are like this one.
        drop(slot);
        active.finish(outcome);
    }
}

impl Active {
    fn finish(self, outcome: Result<Raw, Error>) {
        let Self { callback, unfinished, unattended, .. } = self;
        drop(unattended);
        let callbacks = unfinished.callbacks.clone();
        callbacks.pool.execute(Box::new(move || {
            // Whole, also if the job is dropped.
            let unfinished = unfinished;
            unfinished.callbacks.run(|| callback(outcome));
        }));
    }
}

impl Wake for Submission {
    fn wake(self: Arc<Self>) {
        self.look();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.look();
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission").finish_non_exhaustive()
    }
}
