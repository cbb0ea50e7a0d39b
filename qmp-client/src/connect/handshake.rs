//! One connection until it is ready: what to do about a server that falls silent.

use std::fmt;
use std::os::fd::OwnedFd;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use qmp_proto::{CloseReason, Connection, Greeting};

use super::Connecting;
use super::redial::Redial;
use crate::connect::error::ConnectError;
use crate::options;
use crate::shared::SharedConnection;
use crate::shared::sync::Arc;
use crate::shared::waiting::Wait;

/// How long a server may owe the reply to `qmp_capabilities` before something is done about it, and
/// between two things that are done.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// How long to wait between two looks at a child process that is the server.
const CHILD_PAUSE: Duration = Duration::from_millis(20);

/// How often another connection is opened before this one is given up.
const WAKE_UPS: u32 = 2;

/// Waits until one connection is ready for commands.
///
/// A QEMU that is just starting may greet and then hang: one of its threads waits for another client
/// at the listening socket. So if the server owes the reply to `qmp_capabilities` for a second,
/// another connection to the same address is opened, without blocking, and closed; a second later
/// once more; and another second later this connection is given up. All that only if the address can
/// be connected to again.
///
/// A QEMU that is busy, as with another monitor's command, bears this: other connections wait in its
/// backlog, and are found closed when this one ends.
pub struct Handshake<'a> {
    connecting: &'a Connecting,
    shared: Arc<SharedConnection>,
    ready: Wait<Result<Option<Greeting>, CloseReason>>,
    opened: Instant,
    redial: Option<Redial>,
    /// When the server was first seen to owe the reply.
    silent_since: Option<Instant>,
    wake_ups: u32,
    /// When to look at the child process that is the server.
    child_look: Option<Instant>,
    /// The last connection that was opened to wake the server.
    second: Option<OwnedFd>,
}

impl<'a> Handshake<'a> {
    pub(super) fn new(
        connecting: &'a Connecting,
        shared: Arc<SharedConnection>,
        redial: Option<Redial>,
    ) -> Self {
        Self {
            connecting,
            ready: shared.ready(),
            shared,
            opened: Instant::now(),
            redial,
            silent_since: None,
            wake_ups: 0,
            child_look: connecting.has_child().then(Instant::now),
            second: None,
        }
    }

    /// The greeting, which a guest agent does without, once commands are sent. Pending, it wakes the
    /// waker; poll it again at [`look_at`](Self::look_at) too. Never blocks.
    ///
    /// # Errors
    ///
    /// Why this connection did not become ready. [`Connecting::again`] tells whether to try another.
    pub fn poll(&mut self, waker: &Waker) -> Poll<Result<Option<Greeting>, ConnectError>> {
        match self.ready.poll(waker) {
            Poll::Ready(ready) => Poll::Ready(ready.map_err(|reason| {
                let evidence = self.shared.inspect(Connection::evidence);
                ConnectError::Ended { reason, evidence }
            })),
            Poll::Pending => match self.look() {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
        }
    }

    /// When to poll again at the latest. It may change with each poll.
    pub fn look_at(&self) -> Instant {
        let deadline = self.connecting.deadline();
        [self.next_step(), self.child_look].into_iter().flatten().fold(deadline, Instant::min)
    }

    /// When something is to be done about the silence of the server.
    fn next_step(&self) -> Option<Instant> {
        self.redial.as_ref()?;
        Some(self.silent_since? + SILENCE * (self.wake_ups + 1))
    }

    fn look(&mut self) -> Result<(), ConnectError> {
        let now = Instant::now();
        if self.shared.inspect(|connection| connection.awaits_capabilities()) {
            self.silent_since.get_or_insert(now);
        }
        if self.child_look.is_some_and(|look| look <= now) {
            if self.connecting.child_has_ended() {
                return Err(options::not_ready(&self.shared, self.connecting.start()));
            }
            self.child_look = Some(now + CHILD_PAUSE);
        }
        if self.connecting.deadline() <= now {
            return Err(self.connecting.late(&self.shared, now - self.opened));
        }
        if self.next_step().is_none_or(|step| now < step) {
            return Ok(());
        }
        if self.wake_ups == WAKE_UPS {
            return Err(options::not_ready(&self.shared, self.connecting.start()));
        }
        self.wake_ups += 1;
        // A full backlog already holds connections that wake the server.
        self.second = self.redial.as_ref().and_then(|redial| redial.connect().ok());
        Ok(())
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        if let (Some(redial), true) =
            (&self.redial, self.shared.inspect(|connection| connection.awaits_capabilities()))
        {
            redial.end_by_reset();
        }
    }
}

impl fmt::Debug for Handshake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("wake_ups", &self.wake_ups).finish_non_exhaustive()
    }
}
