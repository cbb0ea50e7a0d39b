//! What a connection tells the application.

use crate::codec::message::Greeting;
use crate::connection::close::CloseReason;
use crate::payload::command::CommandId;
use crate::payload::error::{CommandError, ExecuteError};
use crate::payload::event::Event;
use crate::payload::raw::Raw;

/// One thing that happened, in the order in which it happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Negotiation is done; queued commands go out from now on. Comes at most once. A guest agent does
    /// not greet.
    Ready(Option<Greeting>),
    /// An event. Some come before `Ready`.
    Event(Event),
    /// A command has ended. Comes exactly once for each that was accepted, unless it was cancelled.
    Reply(CommandId, Result<Raw, ExecuteError>),
    /// A reply that is nobody's. Worth a line in a log, and nothing else.
    Stray(Stray),
    /// The connection has ended. Comes once, and nothing comes after it.
    Closed(CloseReason),
}

/// A reply that answers no command of this connection: a previous client's, for instance, whose
/// command was still running when it left.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stray {
    /// The id that it bears, as JSON (or what the server took for it); `None` where it bears none.
    pub id: Option<Raw>,
    /// What it says.
    pub outcome: Result<Raw, CommandError>,
}

/// What became of a command that was cancelled.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a command that was sent may still run"]
pub enum Cancelled<F> {
    /// Not a byte of it was claimed, and none will be. Here is its descriptor, if it had one.
    NeverSent(Option<F>),
    /// It was claimed and may run; its reply will be dropped.
    ReplyDiscarded,
    /// As [`ReplyDiscarded`](Self::ReplyDiscarded), of a [`no_reply`](crate::Request::no_reply) that
    /// was sent whole: to say nothing is how a server says that it succeeded.
    NoReplyOwed,
    /// No such command is outstanding: it has ended, or was cancelled before.
    Unknown,
}
