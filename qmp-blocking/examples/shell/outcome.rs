//! How a line ended, and the shell.

use std::process::ExitCode;

/// From good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Done,
    /// The server has ended, as it was told to.
    Over,
    /// The server answered with an error.
    Failed,
    /// The line makes no sense, or was not sent.
    Misused,
    /// The reply is not UTF-8.
    Unreadable,
    /// The server did not answer in time, or did not end.
    TimedOut,
    /// The connection is lost.
    Lost,
    /// The output cannot be written.
    Unwritten,
    /// Whoever read the output has left.
    Unread,
}

impl Outcome {
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done | Self::Over => 0,
            Self::Failed => 1,
            Self::Misused | Self::Unreadable | Self::Lost | Self::Unwritten => 2,
            Self::TimedOut => 3,
            // As of a program that SIGPIPE ends.
            Self::Unread => 128 + 13,
        })
    }

    /// Whether nothing more can be done.
    pub(crate) fn ends(self) -> bool {
        matches!(self, Self::Over | Self::Lost | Self::Unwritten | Self::Unread)
    }
}
