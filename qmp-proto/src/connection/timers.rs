//! Time: moments that the embedder passes in, and what is due at them.

use alloc::collections::BTreeSet;
use core::ops::{Add, Sub};
use core::time::Duration;

#[cfg(doc)]
use crate::connection::config::Config;
use crate::connection::output::{Cancelled, Output};
use crate::connection::{Connection, Side};
use crate::payload::command::CommandId;
#[cfg(doc)]
use crate::payload::command::Request;
use crate::payload::error::ExecuteError;
use crate::payload::no_reply::NoReply;

/// A moment, as the time since an origin that the embedder chooses: the start of its program, for instance.
///
/// The core has no clock. It compares moments and adds durations, so all moments that a connection is given need the same
/// origin. Arithmetic saturates.
///
/// ```
/// use std::time::Duration;
/// use qmp_proto::Instant;
///
/// let origin = std::time::Instant::now();
/// let now = || Instant::after(origin.elapsed());
/// let deadline = now() + Duration::from_secs(5);
/// assert!(now() < deadline);
/// assert!(deadline - now() <= Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The origin.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// The moment so long after the origin.
    pub const fn after(origin: Duration) -> Self {
        Self(origin)
    }

    /// The time since the origin.
    pub const fn since_origin(self) -> Duration {
        self.0
    }
}

/// Saturates at the last moment.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// The time from an earlier moment to this one; zero if that moment is later.
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The deadlines of commands that have not ended. Their number is bounded by that of the commands.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Instant, u64)>);

impl Deadlines {
    pub(super) fn insert(&mut self, deadline: Option<Instant>, id: u64) {
        if let Some(deadline) = deadline {
            self.0.insert((deadline, id));
        }
    }

    pub(super) fn remove(&mut self, deadline: Option<Instant>, id: u64) {
        if let Some(deadline) = deadline {
            self.0.remove(&(deadline, id));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(deadline, _)| *deadline)
    }

    /// Removes the earliest deadline that is due, and returns its command.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<CommandId> {
        self.next().filter(|deadline| *deadline <= now)?;
        self.0.pop_first().map(|(_, id)| CommandId(id))
    }
}

/// A timer of the connection's own. It counts from the first call of `run`, as nothing else knows the time.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Instant>);

impl Timer {
    /// Starts the timer if it is `wanted` and not running; stops it if it is not wanted. Returns when it is due.
    pub(super) fn run(&mut self, wanted: bool, now: Instant, period: Duration) -> Option<Instant> {
        self.0 = match wanted {
            true => self.0.or(Some(now + period)),
            false => None,
        };
        self.0
    }

    pub(super) fn stop(&mut self) {
        self.0 = None;
    }

    /// Whether it is due. If so, it stops.
    pub(super) fn expires(&mut self, now: Instant) -> bool {
        self.0.take_if(|due| *due <= now).is_some()
    }
}

impl<F> Connection<F> {
    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest; `None` if nothing is timed. It may change
    /// with every other call.
    ///
    /// Timers of the connection's own, such as that for a silent guest agent, count from the first call of this function
    /// after they became necessary.
    pub fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let deadline = self.outbound.next_deadline();
        deadline.into_iter().chain(self.poll_timeout_of_agent(now)).min()
    }

    /// Does what is due at `now`: a deadline or timer is due once `now` has reached it. An early call does nothing, and
    /// neither does a second one.
    ///
    /// - A command whose deadline has passed ends as [`TimedOut`](ExecuteError::TimedOut). If it was queued, it is
    ///   withdrawn, and its descriptor is dropped. If it was committed, all of it is still sent, so it may run; its reply is
    ///   dropped when it comes. A [`no_reply`](Request::no_reply) that was sent whole ends well.
    /// - A guest agent is asked again for a session, each second, as long as a command is queued or
    ///   [a session is wanted](Self::set_session_wanted).
    /// - A guest agent that is [silent](Config::probe_after) is probed.
    ///
    /// Received bytes count before a deadline of the same moment: call [`handle_input`](Self::handle_input) first.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.outbound.pop_due(now) {
            self.time_out(id);
        }
        self.handle_timeout_of_agent(now);
    }

    fn time_out(&mut self, id: CommandId) {
        let cancelled = self.mark_cancelled(id);
        let outcome = match &cancelled {
            Cancelled::NeverSent(_) => Err(ExecuteError::TimedOut { sent: false }),
            Cancelled::ReplyDiscarded => Err(ExecuteError::TimedOut { sent: true }),
            Cancelled::NoReplyOwed => Ok(NoReply::Deadline.into()),
            Cancelled::Unknown => return,
        };
        self.outputs.push_back(Output::Reply(id, outcome));
        self.give_up_if_in_flight(id, &cancelled);
    }

    /// Tells the connection whether a caller waits until it is ready or idle. A guest agent's session is asked for again
    /// only if one does, or if a command is queued.
    pub fn set_session_wanted(&mut self, wanted: bool) {
        if let Side::Agent(agent) = &mut self.side {
            agent.session_wanted = wanted;
        }
    }
}
