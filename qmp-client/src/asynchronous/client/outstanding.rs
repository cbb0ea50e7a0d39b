//! A command that is outstanding, with an awaited event or without.

use std::os::fd::OwnedFd;
use std::task::{Poll, Waker};

use qmp_proto::{Event, Prepared, Raw, Refusal};

use crate::error::Error;
use crate::shared::SharedConnection;
use crate::shared::event_waiter::Matcher;
use crate::shared::pending::{Pending, PendingUntil};
use crate::shared::sync::Arc;

/// What an adapter does with either of them.
pub(crate) trait Outstanding: Sized {
    /// What it is made from.
    type Plan;
    /// What is awaited.
    type Output;

    /// Has it accepted.
    fn begin(shared: &Arc<SharedConnection>, plan: Self::Plan) -> Result<Self, Refusal>;

    /// How it ended.
    fn poll_outcome(&mut self, waker: &Waker) -> Poll<Result<Self::Output, Error>>;

    /// Returns whether it was answered and only its event is awaited.
    fn awaits_event(&self) -> bool;

    /// The command itself.
    fn command(&self) -> &Pending;

    /// Gives up waiting, as the deadline has passed: how it ended with that.
    fn give_up(self) -> Result<Self::Output, Error>;
}

impl Outstanding for Pending {
    type Plan = Prepared<OwnedFd>;
    type Output = Raw;

    fn begin(shared: &Arc<SharedConnection>, prepared: Self::Plan) -> Result<Self, Refusal> {
        shared.execute(prepared, None)
    }

    fn poll_outcome(&mut self, waker: &Waker) -> Poll<Result<Raw, Error>> {
        self.poll(waker)
    }

    fn awaits_event(&self) -> bool {
        false
    }

    fn command(&self) -> &Pending {
        self
    }

    fn give_up(self) -> Result<Raw, Error> {
        Pending::give_up(self)
    }
}

impl Outstanding for PendingUntil {
    type Plan = (Prepared<OwnedFd>, Matcher);
    type Output = (Raw, Event);

    fn begin(
        shared: &Arc<SharedConnection>,
        (prepared, matcher): Self::Plan,
    ) -> Result<Self, Refusal> {
        shared.execute_until(prepared, matcher)
    }

    fn poll_outcome(&mut self, waker: &Waker) -> Poll<Result<(Raw, Event), Error>> {
        self.poll(waker)
    }

    fn awaits_event(&self) -> bool {
        Self::awaits_event(self)
    }

    fn command(&self) -> &Pending {
        Self::command(self)
    }

    fn give_up(self) -> Result<(Raw, Event), Error> {
        Err(PendingUntil::give_up(self))
    }
}
