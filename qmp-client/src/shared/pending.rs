//! A command that somebody waits for. Dropped before its end, it is cancelled.

use std::fmt;
use std::task::{Poll, Waker, ready};

use qmp_proto::{CommandId, Event, Raw};

use crate::error::Error;
use crate::shared::SharedConnection;
use crate::shared::event_waiter::EventWaiter;
use crate::shared::sync::Arc;

/// A command whose reply is awaited.
///
/// Dropping it changes nothing on the wire: a command not sent yet is withdrawn, and the reply to
/// one that was sent is dropped when it comes.
#[must_use = "dropping this cancels the command"]
#[derive(Debug)]
pub struct Pending {
    shared: Arc<SharedConnection>,
    id: CommandId,
    alone: bool,
    standing: Standing,
    done: bool,
}

/// How a command stood when it was last looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Its first byte had gone out.
    pub(crate) begun: bool,
    /// Its caller had the turn at receiving, and it had not ended.
    pub(crate) has_turn: bool,
    /// It had ended in its caller's turn, and nothing else was outstanding.
    pub(crate) ended_alone: bool,
}

impl Pending {
    pub(crate) fn new(shared: Arc<SharedConnection>, id: CommandId, alone: bool) -> Self {
        Self { shared, id, alone, standing: Standing::default(), done: false }
    }

    #[cfg(any(test, feature = "async"))]
    pub(crate) fn id(&self) -> CommandId {
        self.id
    }

    /// Whether nothing else was outstanding when it was accepted.
    pub fn was_alone(&self) -> bool {
        self.alone
    }

    #[cfg(feature = "async")]
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// How the command ended. Pending, it wakes the waker given last. Once it was ready it must
    /// not be polled again.
    pub fn poll(&mut self, waker: &Waker) -> Poll<Result<Raw, Error>> {
        let outcome = ready!(self.shared.poll_reply(self.id, waker, &mut self.standing));
        self.done = true;
        Poll::Ready(outcome)
    }

    /// Whether its first byte had gone out when it was last polled. From then on only what comes
    /// from the server can end it, or the end of the transport.
    pub fn has_begun(&self) -> bool {
        self.standing.begun
    }

    /// Gives up waiting, as the deadline has passed: how the command ended with that. A
    /// [`no_reply`](qmp_proto::Request::no_reply) that was sent whole ended well.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] as a rule.
    pub fn give_up(mut self) -> Result<Raw, Error> {
        self.done = true;
        self.shared.give_up(self.id)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.shared.give_up(self.id);
        }
    }
}

/// A command whose reply is awaited, and an event besides.
#[must_use = "dropping this cancels the command"]
pub struct PendingUntil {
    reply: Option<Raw>,
    pending: Pending,
    watch: Arc<EventWaiter>,
}

impl PendingUntil {
    pub(crate) fn new(pending: Pending, watch: Arc<EventWaiter>) -> Self {
        Self { reply: None, pending, watch }
    }

    /// The reply and the event, whichever of them came first. A reply that is an error ends it.
    pub fn poll(&mut self, waker: &Waker) -> Poll<Result<(Raw, Event), Error>> {
        if self.reply.is_none() {
            self.reply = Some(ready!(self.pending.poll(waker))?);
        }
        let event = ready!(self.watch.poll(waker))?;
        let reply = self.reply.take().unwrap_or(Raw::from_static("{}"));
        Poll::Ready(Ok((reply, event)))
    }

    /// Returns whether it was answered and only the event is awaited.
    #[cfg(feature = "async")]
    pub(crate) fn awaits_event(&self) -> bool {
        self.reply.is_some()
    }

    /// The command itself.
    #[cfg(feature = "async")]
    pub(crate) fn command(&self) -> &Pending {
        &self.pending
    }

    /// As [`Pending::has_begun`].
    pub fn has_begun(&self) -> bool {
        self.pending.has_begun()
    }

    /// Gives up waiting, as the deadline has passed: what the call fails with.
    pub fn give_up(self) -> Error {
        match self.reply {
            Some(_) => Error::NoEvent,
            None => self.pending.shared.give_up(self.pending.id).err().unwrap_or(Error::NoEvent),
        }
    }
}

impl Drop for PendingUntil {
    fn drop(&mut self) {
        self.pending.shared.remove_event_waiter(&self.watch);
    }
}

impl fmt::Debug for PendingUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingUntil").field("pending", &self.pending).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
