//! Why nothing, or not all, is known of a program in the guest.

use std::{error, fmt};

use crate::error::Error;
use crate::guest::base64::NotBase64;

/// Why `guest_exec` or `guest_wait` could not tell how a program ended. The variants differ in what
/// can be done then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestExecError {
    /// It was not started, as there is no such program, for instance; or perhaps it was: where the error
    /// tells that the command was sent, and is not the agent's, it may run in the guest all the same.
    NotStarted(Error),
    /// When the agent was asked last, the program ran; it was not asked any more, so nothing is lost.
    /// The program may run on in the guest or have ended since, and `guest_wait` goes on waiting for it,
    /// over another connection to this agent too.
    StillRunning {
        /// By what the agent knows it.
        pid: i64,
        /// Why the agent was not asked: a timeout, or the end of the connection.
        error: Error,
    },
    /// The agent was asked, and no answer came that can be used. It tells that a program has ended,
    /// and its output, once: if this was that answer, it is lost. If the program ran on, `guest_wait` can
    /// go on waiting for it; so it may be tried, and fails with an error of the agent's where not.
    Lost {
        /// By what the agent knew it.
        pid: i64,
        /// What came, or did not.
        error: Error,
    },
    /// It has ended, and what the agent gave for its output is no base64.
    NotBase64 {
        /// By what the agent knew it.
        pid: i64,
        /// Where it is none.
        error: NotBase64,
    },
}

impl GuestExecError {
    /// Whether the deadline was what ended it.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::NotStarted(error)
            | Self::StillRunning { error, .. }
            | Self::Lost { error, .. } => error.is_timeout(),
            Self::NotBase64 { .. } => false,
        }
    }

    /// Of asking how it stands with a program.
    pub(super) fn of_asking(pid: i64, error: Error) -> Self {
        match error {
            Error::TimedOut { sent: false }
            | Error::AgentSilent { sent: false }
            | Error::AgentBusy { .. }
            | Error::AgentRefuses(_)
            | Error::NotSent(_)
            | Error::Refused(_) => Self::StillRunning { pid, error },
            error => Self::Lost { pid, error },
        }
    }
}

/// Whether the command was sent, and nothing tells what came of it.
fn is_unknown(error: &Error) -> bool {
    match error {
        Error::TimedOut { sent } | Error::AgentSilent { sent } => *sent,
        Error::Unanswered(_) | Error::Decode(_) => true,
        _ => false,
    }
}

impl fmt::Display for GuestExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) if is_unknown(error) => {
                write!(f, "it is not known whether the program was started: {error}")
            }
            Self::NotStarted(error) => write!(f, "the program was not started: {error}"),
            Self::StillRunning { pid, error: Error::TimedOut { .. } } => {
                write!(
                    f,
                    "the deadline passed, and the program {pid} had not been seen to end; \
                     it can be waited for again"
                )
            }
            Self::StillRunning { pid, error } => {
                write!(
                    f,
                    "the program {pid} had not been seen to end, and was not asked for any more: \
                     {error}"
                )
            }
            Self::Lost { pid, error } => write!(
                f,
                "the program {pid} was asked for and no answer came; \
                 if it had ended, its output is lost; if it runs, it can be waited for again: {error}"
            ),
            Self::NotBase64 { pid, error } => {
                write!(f, "the program {pid} ended, but its output cannot be read: {error}")
            }
        }
    }
}

/// The text of an error holds the whole cause already; its source is for programs.
impl error::Error for GuestExecError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::NotStarted(error)
            | Self::StillRunning { error, .. }
            | Self::Lost { error, .. } => Some(error),
            Self::NotBase64 { error, .. } => Some(error),
        }
    }
}
