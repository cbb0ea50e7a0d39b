//! In the place of `callbacks` where that feature is off: there are none to run, nor to wait for.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use qmp_client::{Error, Wait};

use crate::io::Line;

#[derive(Clone, Debug, Default)]
pub(crate) struct CallbackOptions;

#[derive(Debug)]
pub(crate) struct Callbacks {
    line: Arc<Line>,
}

impl Callbacks {
    pub(crate) fn new(line: Arc<Line>, _: &CallbackOptions, _: usize) -> Arc<Self> {
        Arc::new(Self { line })
    }
}

/// Those of commands that nobody waits for.
#[derive(Debug, Default)]
pub(crate) struct Deadlines;

impl Deadlines {
    pub(crate) fn limit(&self, timeout: Option<Duration>) -> Option<Duration> {
        timeout
    }

    pub(crate) fn wake_expired(&self) {}
}

/// Somebody's wait until a connection is idle.
pub(crate) struct Idle(Wait<()>);

impl Idle {
    pub(crate) fn new(callbacks: &Callbacks) -> Result<Self, Error> {
        Ok(Self(callbacks.line.hub.idle()))
    }

    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<()> {
        self.0.poll(waker)
    }
}

/// Whether this thread is in a callback.
pub(crate) fn is_inside() -> bool {
    false
}
