//! What a server's connection tells the application.

use alloc::string::String;
use core::fmt;

use qmp_proto::{IoFailure, Raw};

/// One thing that happened, in the order in which it happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// The client has negotiated; events are sent from now on. Comes at most once.
    Ready {
        /// Whether it enabled out-of-band execution.
        oob: bool,
    },
    /// A command to be answered with [`respond`](super::Connection::respond).
    Call(Call),
    /// The connection has ended. Comes once, and nothing comes after it.
    Closed(CloseReason),
}

/// A command that the client wants executed, checked as far as the protocol goes.
#[derive(Clone)]
#[non_exhaustive]
pub struct Call {
    /// With what it is answered.
    pub ticket: Ticket,
    /// The command's name; whether there is such a command is for the application to say.
    pub name: String,
    /// Its arguments, an object; `{}` where the client gave none.
    pub arguments: Raw,
    /// Whether it came with `exec-oob`: the client expects an answer at once, before those of the
    /// commands that run.
    pub out_of_band: bool,
}

/// What identifies a command on its connection until it is answered. The client's own id cannot:
/// it may be missing, or stand twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// How a server's connection ended. The first reason stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`close`](super::Connection::close) was called, and everything was sent.
    Requested,
    /// The client left.
    Eof {
        /// It did so in the middle of a command, which is lost.
        mid_message: bool,
    },
    /// The transport failed.
    Failed(IoFailure),
}

/// Why an answer was not sent as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RespondError {
    /// No such command waits for an answer: it was answered already, or the connection has ended.
    NotOutstanding,
    /// What was to be returned is no JSON; the client was told so with a `GenericError`.
    NotSerializable,
}

/// Without the arguments' values: they may be secrets.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("name", &self.name)
            .field("arguments", &self.arguments)
            .field("out_of_band", &self.out_of_band)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("closed on request"),
            Self::Eof { mid_message: false } => f.write_str("the client left"),
            Self::Eof { mid_message: true } => {
                f.write_str("the client left in the middle of a command")
            }
            Self::Failed(IoFailure::Reset) => f.write_str("the client reset the connection"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl fmt::Display for RespondError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOutstanding => "no such command waits for an answer",
            Self::NotSerializable => "what was to be returned cannot be written as JSON",
        })
    }
}

impl core::error::Error for CloseReason {}
impl core::error::Error for RespondError {}
