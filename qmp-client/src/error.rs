//! What an adapter's calls can fail with.

use std::time::Duration;
use std::{error, fmt};

use qmp_proto::{CloseReason, CommandError, DecodeError, ExecuteError, Refusal};

/// How a command, or waiting for something, ended when not well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The server answered with an error.
    Command(CommandError),
    /// The command was refused before anything was sent.
    Refused(Refusal),
    /// The connection ended before a byte of the command was sent: safe to try again.
    NotSent(CloseReason),
    /// The connection ended before the reply came: the command may have run. A guest agent's does not end
    /// with a [`Violation`](CloseReason::Violation): what came in place of the reply could not be read, as
    /// where others write to the same serial line, and the connection goes on.
    Unanswered(CloseReason),
    /// The deadline passed. The connection is as good as before; a late reply is dropped.
    TimedOut {
        /// Whether the command was sent, at least in part, or is about to be: then it may have run, or
        /// may run yet.
        sent: bool,
    },
    /// The deadline passed: the command was answered well, but the awaited event did not come. The
    /// connection is as good as before.
    NoEvent,
    /// The deadline passed, and the guest agent has not taken all of the command: it does not answer
    /// what a session begins with, or does not read. It may not run, or be busy with an earlier command.
    /// The connection is as good as before.
    AgentSilent {
        /// Whether the command, or the rest of it, goes out as soon as the agent reads: then it may run
        /// yet. If not, nothing was sent, and nothing will be.
        sent: bool,
    },
    /// The deadline passed, and nothing was sent: another command holds the guest agent's channel, which
    /// takes one at a time. The connection is as good as before.
    AgentBusy {
        /// The name of that command.
        command: String,
        /// How long it had held the channel.
        held: Duration,
        /// Whether its caller has given up. The agent may run it yet, and answers nothing before it has.
        given_up: bool,
    },
    /// The deadline passed, and nothing was sent: the guest agent answers with this error what a session
    /// begins with. The connection is as good as before.
    AgentRefuses(CommandError),
    /// Commands still waited for their turn, or replies were owed, when the deadline passed.
    StillBusy,
    /// The server's answer does not fit the type asked for. The command ran.
    Decode(DecodeError),
    /// The connection ended before what was awaited had happened.
    Closed(CloseReason),
    /// The function that was to recognise the awaited event panicked.
    MatcherPanicked,
    /// From inside a callback, a wait for callbacks would wait for itself.
    InsideCallback,
    /// The server does not offer a command of this name, so it was not sent.
    UnknownCommand(String),
}

impl Error {
    /// Whether the deadline was what ended it.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::TimedOut { .. }
            | Self::NoEvent
            | Self::AgentSilent { .. }
            | Self::AgentBusy { .. }
            | Self::AgentRefuses(_)
            | Self::StillBusy => true,
            Self::Command(_)
            | Self::Refused(_)
            | Self::NotSent(_)
            | Self::Unanswered(_)
            | Self::Decode(_)
            | Self::Closed(_)
            | Self::MatcherPanicked
            | Self::InsideCallback
            | Self::UnknownCommand(_) => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::NotSent(reason) => ExecuteError::NotSent(reason.clone()).fmt(f),
            Self::Unanswered(reason) => ExecuteError::Unanswered(reason.clone()).fmt(f),
            Self::TimedOut { sent: true } => {
                f.write_str("the deadline passed after the command was sent; it may have run")
            }
            Self::TimedOut { sent: false } => f.write_str("the deadline passed; nothing was sent"),
            Self::NoEvent => f.write_str(
                "the deadline passed: the command was answered, but the awaited event did not come",
            ),
            Self::AgentSilent { sent } => {
                let taken = match sent {
                    true => "has not taken all of the command, which may yet run",
                    false => "took nothing",
                };
                write!(
                    f,
                    "the deadline passed, and the guest agent {taken}: it is busy with an earlier \
                     command, or there is none (is qemu-ga running in the guest?)"
                )
            }
            Self::AgentBusy { command, held, given_up } => {
                let caller = if *given_up { ", though its caller has given up" } else { "" };
                write!(
                    f,
                    "the deadline passed before the command was sent: {command} has held the guest \
                     agent's channel for {held:.1?}{caller} (a timeout for each command limits that)"
                )
            }
            Self::AgentRefuses(error) => write!(
                f,
                "the deadline passed before the command was sent: the guest agent does not begin a \
                 session: {error}"
            ),
            Self::StillBusy => f.write_str("the deadline passed, and replies are still owed"),
            Self::Decode(error) => error.fmt(f),
            Self::Closed(reason) => write!(f, "the connection ended: {reason}"),
            Self::MatcherPanicked => {
                f.write_str("the function that recognises the awaited event panicked")
            }
            Self::InsideCallback => f.write_str(
                "called from inside a callback, this would wait for that callback's own end",
            ),
            Self::UnknownCommand(name) => {
                write!(f, "the server offers no command {name:?}; nothing was sent")
            }
        }
    }
}

/// The text of an error holds the whole cause already; its source is for programs.
impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Command(error) | Self::AgentRefuses(error) => Some(error),
            Self::Refused(refusal) => Some(refusal),
            Self::Decode(error) => Some(error),
            Self::NotSent(reason) | Self::Unanswered(reason) | Self::Closed(reason) => Some(reason),
            Self::TimedOut { .. }
            | Self::NoEvent
            | Self::AgentSilent { .. }
            | Self::AgentBusy { .. }
            | Self::StillBusy
            | Self::MatcherPanicked
            | Self::InsideCallback
            | Self::UnknownCommand(_) => None,
        }
    }
}

impl From<ExecuteError> for Error {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::TimedOut { sent } => Self::TimedOut { sent },
            ExecuteError::Command(error) => Self::Command(error),
            ExecuteError::NotSent(reason) => Self::NotSent(reason),
            ExecuteError::Unanswered(reason) => Self::Unanswered(reason),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}
