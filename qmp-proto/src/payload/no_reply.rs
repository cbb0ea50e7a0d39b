//! Commands that have no reply when they succeed.

use serde::{Deserialize, Serialize};

use crate::payload::raw::Raw;

/// How a command ended well that may have no reply: the [`Return`](crate::Command::Return) of a
/// command with [`NO_REPLY`](crate::Command::NO_REPLY), and what a
/// [`Request::no_reply`](crate::Request::no_reply) returns, as JSON.
///
/// `guest-shutdown` and `guest-suspend-*` are such commands: the guest agent says nothing when all
/// goes well, as it may be gone before it could. Give them a deadline: where the connection outlives
/// the guest's sleep, nothing else ends the wait.
///
/// ```
/// use qmp_proto::{Command, NoReply};
///
/// /// Suspends the guest to its memory.
/// #[derive(serde::Serialize)]
/// struct GuestSuspendRam;
///
/// impl Command for GuestSuspendRam {
///     const NAME: &'static str = "guest-suspend-ram";
///     const NO_REPLY: bool = true;
///     type Return = NoReply;
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoReply {
    /// There was a reply after all, a success; what it held is dropped.
    Returned,
    /// It was sent, and then the server closed the stream, and not in the middle of a message.
    Closed,
    /// It was sent, and nothing came until the deadline.
    Deadline,
    /// It was sent, and the guest agent answered a later question and not the command: it was restarted, for
    /// instance because the guest was.
    Restarted,
}

impl From<NoReply> for Raw {
    fn from(ended: NoReply) -> Self {
        Self::from_static(match ended {
            NoReply::Returned => "\"returned\"",
            NoReply::Closed => "\"closed\"",
            NoReply::Deadline => "\"deadline\"",
            NoReply::Restarted => "\"restarted\"",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c23_each_way_to_end_is_read_back() {
        for ended in [NoReply::Returned, NoReply::Closed, NoReply::Deadline, NoReply::Restarted] {
            assert_eq!(Raw::from(ended).parse(), Ok(ended));
            assert_eq!(Raw::new(&ended), Ok(ended.into()));
        }
    }
}
