//! From an address to a server that is ready for commands: one connection after the other, under one
//! deadline.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use qmp_proto::{CloseReason, Dialect, Evidence};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::Opened;
use super::attempts::Pauses;
use super::handshake::{Handshake, SILENCE};
use super::redial::Redial;
use crate::address::Address;
use crate::connect::error::ConnectError;
use crate::options::{self, Options};
use crate::shared::SharedConnection;
use crate::shared::sync::Arc;

/// The way to a server that is ready for commands, with the deadline for all of it.
///
/// A connection to an address may end before it is ready: a server that quits still has clients in
/// its backlog. That is tried again until the deadline, as a socket that does not exist yet is. So is
/// a server that greets and falls silent, see [`Handshake`].
///
/// ```
/// use std::time::Instant;
/// use qmp_client::connect::Connecting;
/// use qmp_client::{ConnectError, Options};
/// use qmp_proto::CloseReason;
///
/// let options = Options::default();
/// let eof = || ConnectError::Ended { reason: CloseReason::Eof { mid_message: false }, evidence: None };
///
/// let mut connecting = Connecting::to("unix:/run/vm.sock".parse()?, &options, Instant::now());
/// let pause = connecting.again(eof())?; // sleep for so long, and connect once more
/// assert_eq!(pause.as_millis(), 1);
///
/// // A socket that was passed in cannot be connected again.
/// let mut once = Connecting::once(&options, Instant::now());
/// assert!(once.again(eof()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connecting {
    start: Instant,
    deadline: Instant,
    dialect: Dialect,
    /// Where to connect again; none if that is impossible.
    address: Option<Address>,
    /// Where the connection leads that was opened last.
    redial: Option<Redial>,
    pauses: Pauses,
    before: Before,
    /// The child process that is the server.
    child: Option<Pid>,
}

/// Outcome of the previous connections.
#[derive(Debug)]
enum Before {
    Nothing,
    /// They ended, so many of them, the last one for this reason.
    Ended {
        reason: CloseReason,
        evidence: Option<Evidence>,
        times: u32,
    },
    /// The last one was given up, as the server owed the reply to `qmp_capabilities`.
    Silent {
        /// What came in place of the reply.
        evidence: Option<Evidence>,
    },
}

impl Connecting {
    /// One connection, over a transport that exists.
    pub fn once(options: &Options, start: Instant) -> Self {
        Self {
            start,
            deadline: options.deadline_after(start),
            dialect: options.config.dialect,
            address: None,
            redial: None,
            pauses: Pauses::default(),
            before: Before::Nothing,
            child: None,
        }
    }

    /// One connection to a child process, which is looked at while the connection is not ready: another
    /// process may hold the child's end of it open.
    pub fn with_child(options: &Options, start: Instant, child: u32) -> Self {
        let child = i32::try_from(child).ok().and_then(Pid::from_raw);
        Self { child, ..Self::once(options, start) }
    }

    /// Connections to an address; to what this process was started with, one.
    pub fn to(address: Address, options: &Options, start: Instant) -> Self {
        let inherited = matches!(address, Address::Fd(_) | Address::Stdio);
        Self { address: (!inherited).then_some(address), ..Self::once(options, start) }
    }

    /// When connecting began.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// When the last connection has to be ready.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Passes on how opening a connection ended.
    ///
    /// # Errors
    ///
    /// The same, in words that fit what was looked for and what came of connections before.
    pub fn opened(
        &mut self,
        outcome: Result<Opened, ConnectError>,
    ) -> Result<Opened, ConnectError> {
        let opened = outcome.map_err(|error| self.not_opened(error))?;
        let address = self.address.as_ref();
        self.redial = address.and_then(|address| Redial::of(address, opened.socket.as_fd()));
        Ok(opened)
    }

    fn not_opened(&self, error: ConnectError) -> ConnectError {
        let ConnectError::NoSocket(error) = error else { return error };
        let unanswered = matches!(error.last().kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
        let young = error.tried() < SILENCE;
        match self.earlier() {
            // The backlog may be full of the connections that were to wake the server.
            Some(silent @ ConnectError::NoCapabilities { .. }) if unanswered => silent,
            Some(ended) if unanswered && young => ended,
            earlier => {
                let error = error.looking_for(self.dialect).tried_since(self.start);
                ConnectError::NoSocket(error.after(earlier))
            }
        }
    }

    /// The wait for the connection that was opened last, or that existed, to be ready.
    pub fn handshake(&mut self, shared: Arc<SharedConnection>) -> Handshake<'_> {
        let redial = self.redial.take();
        Handshake::new(self, shared, redial)
    }

    /// After a connection that did not become ready: how long to pause before the next one. The pauses
    /// grow, and the last one ends at the deadline.
    ///
    /// # Errors
    ///
    /// When there is to be no other: the deadline has passed, the address cannot be connected to
    /// again, or something else than a QMP server is there.
    pub fn again(&mut self, error: ConnectError) -> Result<Duration, ConnectError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let has_left = error.has_left();
        match error {
            error if self.address.is_none() => Err(error),
            ConnectError::Ended { reason, evidence } if has_left => {
                let times = match self.before {
                    Before::Ended { times, .. } => times.saturating_add(1),
                    _ => 1,
                };
                self.before = Before::Ended { reason, evidence, times };
                match self.kept_ending() {
                    Some(error) if left.is_zero() => Err(error),
                    _ => Ok(self.pauses.next(left)),
                }
            }
            ConnectError::NoCapabilities { evidence, .. } if !left.is_zero() => {
                self.before = Before::Silent { evidence };
                Ok(Duration::ZERO)
            }
            error => Err(error),
        }
    }

    pub(super) fn has_child(&self) -> bool {
        self.child.is_some()
    }

    /// Whether the child has ended. Its exit status stays to be waited for.
    pub(super) fn child_has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // It fails if another thread has waited for the child.
        self.child.is_some_and(|child| !matches!(waitid(WaitId::Pid(child), options), Ok(None)))
    }

    /// Why a connection is not ready at the deadline. If the connection is younger than one second, returns the
    /// earlier error.
    pub(super) fn late(&self, shared: &SharedConnection, age: Duration) -> ConnectError {
        match self.earlier() {
            // Its greeting is the last step that was reached.
            Some(silent @ ConnectError::NoCapabilities { .. }) => silent,
            Some(ended) if age < SILENCE => ended,
            _ => options::not_ready(shared, self.start),
        }
    }

    /// The outcome of the previous connections as an error.
    fn earlier(&self) -> Option<ConnectError> {
        match &self.before {
            Before::Nothing => None,
            Before::Ended { .. } => self.kept_ending(),
            Before::Silent { evidence } => Some(ConnectError::NoCapabilities {
                waited: self.start.elapsed(),
                evidence: evidence.clone(),
            }),
        }
    }

    fn kept_ending(&self) -> Option<ConnectError> {
        let Before::Ended { reason, evidence, times } = &self.before else { return None };
        Some(ConnectError::KeptEnding {
            address: self.address.clone()?,
            reason: reason.clone(),
            evidence: evidence.clone(),
            times: *times,
            waited: self.start.elapsed(),
        })
    }
}

#[cfg(test)]
mod tests;
