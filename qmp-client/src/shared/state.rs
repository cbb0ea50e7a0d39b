//! The state behind the lock of the shared connection.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Waker;
use std::time::Instant;

use qmp_proto::{
    Cancelled, CloseReason, CommandId, Config, Connection, Dialect, Event, ExecuteError, IoFailure,
    NoReply, Output, Phase, Prepared, Raw, Refusal,
};

use super::channel::Channel;
use super::slots::{Slot, Slots};
use super::turn::Turn;
use super::{Flushed, Received};
use crate::error::Error;
use crate::shared::event_waiter::EventWaiter;
use crate::shared::subscription::EventQueue;
use crate::shared::sync::Arc;
use crate::shared::waiting::{Moment, Waiting, wake};

#[derive(Debug)]
pub(super) struct State {
    pub(super) connection: Connection<OwnedFd>,
    pub(super) slots: Slots,
    pub(super) subscribers: Vec<Arc<EventQueue>>,
    pub(super) event_waiters: Vec<Arc<EventWaiter>>,
    /// Who waits for the connection to become ready, idle or closed.
    pub(super) waiting: Waiting,
    /// Somebody hands out outputs and will go on until there are none.
    pub(super) dispatching: bool,
    /// Whose turn it is to receive, where callers are tasks.
    pub(super) turn: Turn,
    /// The transport takes nothing any more.
    pub(super) broken: Option<IoFailure>,
    /// The origin of the connection's moments.
    origin: Instant,
    /// The command in flight had been sent whole before the last timeout was handled.
    taken_whole: bool,
    /// Of a guest agent's connection.
    channel: Option<Box<Channel>>,
}

/// What is left to do when the lock is released: wakers and event_waiters run code that is not ours.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    wakers: Wakers,
    /// The caller's own reply was there.
    pub(super) settled: bool,
    /// He needs no waking. His waker is no code of ours: it is dropped without the lock.
    spared: Option<Waker>,
    /// The connection has ended, and with it these.
    ended: Option<(CloseReason, Vec<Arc<EventWaiter>>)>,
    /// An event that somebody's matchers have to see before anything else is handed out.
    watched: Option<(Event, Vec<Arc<EventWaiter>>)>,
}

/// Mostly there is one at most.
#[derive(Debug, Default)]
struct Wakers {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Extend<Waker> for Wakers {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        for waker in wakers {
            match self.first {
                None => self.first = Some(waker),
                Some(_) => self.others.push(waker),
            }
        }
    }
}

impl Deferred {
    /// Does it; tells whether there may be more to hand out.
    pub(super) fn run(self) -> bool {
        drop(self.spared);
        self.wakers.first.into_iter().chain(self.wakers.others).for_each(wake);
        if let Some((reason, event_waiters)) = self.ended {
            event_waiters.into_iter().for_each(|watch| watch.end(&reason));
        }
        let more = self.watched.is_some();
        if let Some((event, event_waiters)) = self.watched {
            event_waiters.into_iter().for_each(|watch| watch.offer(&event));
        }
        more
    }

    pub(super) fn has_more(&self) -> bool {
        self.watched.is_some()
    }
}

impl State {
    pub(super) fn new(config: Config, nonce: u64) -> Self {
        let agent = config.dialect == Dialect::GuestAgent;
        Self {
            connection: Connection::new(config, nonce),
            slots: Slots::default(),
            subscribers: Vec::new(),
            event_waiters: Vec::new(),
            waiting: Waiting::default(),
            dispatching: false,
            turn: Turn::new(),
            broken: None,
            origin: Instant::now(),
            taken_whole: false,
            channel: agent.then(Box::default),
        }
    }

    pub(super) fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let wanted = self.waiting.is_any(Moment::Ready) || self.waiting.is_any(Moment::Idle);
        self.connection.set_session_wanted(wanted);
        let next = self.connection.poll_timeout(self.moment(now))?;
        self.origin.checked_add(next.since_origin())
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let begun = self.connection.begun();
        self.taken_whole = begun.is_some_and(|id| self.connection.is_sent(id));
        self.connection.handle_timeout(self.moment(now));
    }

    fn moment(&self, at: Instant) -> qmp_proto::Instant {
        qmp_proto::Instant::after(at.saturating_duration_since(self.origin))
    }

    /// Returns whether an event is awaited, or a state of the connection: ready, idle or closed.
    pub(super) fn awaits_more(&self) -> bool {
        self.waiting.is_any_at_all()
            || self.event_waiters.iter().any(|watch| watch.is_awaited())
            || self.subscribers.iter().any(|queue| queue.is_awaited())
    }

    /// Tells whether the connection goes on.
    pub(super) fn receive(&mut self, received: Received<'_>) -> bool {
        self.begin_watches();
        match received {
            Received::Bytes(bytes) => self.connection.handle_input(bytes),
            Received::Failed(failure) => self.connection.handle_failure(failure),
            Received::Eof => match self.broken.clone() {
                Some(failure) => self.connection.handle_failure(failure),
                None => self.connection.handle_eof(),
            },
        }
        self.look_at_channel();
        self.connection.close_reason().is_none()
    }

    /// Tells the command's id, and whether nothing else is outstanding.
    pub(super) fn accept(
        &mut self,
        prepared: Prepared<OwnedFd>,
        deadline: Option<Instant>,
    ) -> Result<(CommandId, bool), Refusal> {
        let alone = self.connection.is_idle();
        let name = self.channel.is_some().then(|| prepared.name().clone());
        let id = self.connection.execute_prepared(prepared, deadline.map(|at| self.moment(at)))?;
        if let (Some(channel), Some(name)) = (&mut self.channel, name) {
            channel.accept(id, name);
        }
        self.slots.insert(id, Slot::Waiting(None));
        self.turn.note(alone);
        Ok((id, alone))
    }

    /// Nobody waits for this reply any more.
    pub(super) fn forget(&mut self, id: CommandId) -> Option<Slot> {
        if self.turn.caller == Some(id) {
            self.turn.caller = None;
        }
        if let Some(channel) = &mut self.channel {
            channel.forget(id);
        }
        self.slots.remove(&id)
    }

    fn look_at_channel(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.look_at(&self.connection);
        }
    }

    /// Why a command of which nothing was sent had to wait for a guest agent, as far as that is known.
    fn why_it_waited(&self) -> Option<Error> {
        self.channel.as_ref().and_then(|channel| channel.why_it_waited(&self.connection))
    }

    /// How a command ended that is not waited for any more.
    pub(super) fn give_up(&mut self, id: CommandId) -> Result<Raw, Error> {
        self.taken_whole = self.connection.is_sent(id);
        let sent = match self.connection.cancel(id) {
            Cancelled::NoReplyOwed => return Ok(NoReply::Deadline.into()),
            Cancelled::NeverSent(_) => false,
            Cancelled::ReplyDiscarded => true,
            Cancelled::Unknown => return Err(Error::TimedOut { sent: true }),
        };
        Err(self.explained(ExecuteError::TimedOut { sent }))
    }

    /// Why a command failed. A guest agent that takes nothing, or stops to, may not run at all.
    fn explained(&self, error: ExecuteError) -> Error {
        let syncing = self.connection.phase() == Phase::Syncing;
        match error {
            ExecuteError::TimedOut { sent: false } => match self.why_it_waited() {
                Some(why) => why,
                None if syncing => Error::AgentSilent { sent: false },
                None => error.into(),
            },
            ExecuteError::TimedOut { sent: true }
                if self.channel.is_some() && !self.taken_whole =>
            {
                Error::AgentSilent { sent: true }
            }
            error => error.into(),
        }
    }

    pub(super) fn flush(
        &mut self,
        mut send: impl FnMut(&[u8], Option<BorrowedFd<'_>>) -> io::Result<usize>,
    ) -> Flushed {
        while self.broken.is_none() {
            let Some(transmit) = self.connection.transmit() else { break };
            match send(transmit.bytes, transmit.descriptor.map(AsFd::as_fd)) {
                Ok(sent) => {
                    self.connection.advance(sent);
                    self.look_at_channel();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.broken = Some(IoFailure::from(&error));
                    return Flushed::Failed;
                }
            }
        }
        Flushed::All
    }

    /// Where the end has been told already there is nothing to wait for. Subscribers that are gone
    /// are let go here too, not only when the next event comes.
    pub(super) fn add_subscriber(&mut self, queue: Arc<EventQueue>) {
        if self.connection.close_reason().is_some() && !self.dispatching {
            queue.end();
        } else {
            self.subscribers.retain(|other| !other.is_abandoned());
            self.subscribers.push(queue);
        }
    }

    /// What is received now may be the doing of every command that has begun to go out.
    fn begin_watches(&self) {
        for watch in &self.event_waiters {
            if self.connection.has_begun(watch.command) {
                watch.begin();
            }
        }
    }

    /// Hands out outputs, up to an event that somebody's matcher has to see. The caller who does so is
    /// not woken for his own reply.
    pub(super) fn hand_out(&mut self, caller: Option<CommandId>) -> Deferred {
        let mut deferred = Deferred::default();
        while !deferred.has_more() {
            let Some(output) = self.connection.poll_output() else { break };
            match output {
                Output::Event(event) => self.publish(event, &mut deferred),
                Output::Reply(id, outcome) => {
                    let waker = self.settle(id, outcome);
                    match caller == Some(id) {
                        true => (deferred.settled, deferred.spared) = (true, waker),
                        false => deferred.wakers.extend(waker),
                    }
                }
                Output::Closed(reason) => {
                    deferred.wakers.extend(self.waiting.take_all());
                    deferred
                        .wakers
                        .extend(self.subscribers.drain(..).filter_map(|queue| queue.end()));
                    deferred.ended = Some((reason, std::mem::take(&mut self.event_waiters)));
                }
                Output::Ready(_) => deferred.wakers.extend(self.waiting.take(Moment::Ready)),
                _ => {}
            }
        }
        if self.connection.is_idle() {
            deferred.wakers.extend(self.waiting.take(Moment::Idle));
        }
        deferred
    }

    /// The last one gets the event itself. Copies share its bytes, which takes an allocation.
    fn publish(&mut self, event: Event, deferred: &mut Deferred) {
        let watched = self.event_waiters.iter().any(|watch| watch.is_watching());
        let last = if watched { None } else { self.subscribers.pop() };
        self.subscribers.retain(|queue| match queue.push(Cow::Borrowed(&event)) {
            Ok(waker) => {
                deferred.wakers.extend(waker);
                true
            }
            Err(_) => false,
        });
        if let Some(queue) = last {
            if let Ok(waker) = queue.push(Cow::Owned(event)) {
                deferred.wakers.extend(waker);
                self.subscribers.push(queue);
            }
        } else if watched {
            let event_waiters = self.event_waiters.iter().filter(|watch| watch.is_watching());
            deferred.watched = Some((event, event_waiters.cloned().collect()));
        }
    }

    /// Tells whom to wake for it.
    fn settle(&mut self, id: CommandId, outcome: Result<Raw, ExecuteError>) -> Option<Waker> {
        for watch in self.event_waiters.iter().filter(|watch| watch.command == id) {
            watch.begin();
        }
        let outcome = outcome.map_err(|error| self.explained(error));
        let slot = self.slots.get_mut(&id)?;
        match std::mem::replace(slot, Slot::Done(outcome)) {
            Slot::Waiting(waker) => waker,
            Slot::Done(_) => None,
        }
    }
}
