//! What all callers of one connection share: the protocol's state behind a lock, a slot for each
//! reply that somebody waits for, and who has to be woken.
//!
//! The lock is held for short, bounded work: no caller's code runs under it, and nothing under it
//! blocks. A waker is a caller's code too, when it is cloned and dropped as when it is woken: with the
//! last one its task may go, and with that a handle of ours.
//!
//! Waiting is by [`Waker`], so a thread that parks and a task that yields are the same here.
//!
//! This file has what an adapter calls. Behind the lock is `state`, with `slots` for replies, `channel` for a guest agent's
//! commands and `turn` for the task that receives. Callers hold a `pending` command, a `subscription`, an `event_waiter`, or
//! one of the waits in `waiting`. `sync` has the locks and atomics.

mod state;
mod slots;
mod channel;
#[cfg_attr(not(feature = "async"), allow(dead_code, reason = "for tasks alone"))]
mod turn;
pub(crate) mod pending;
pub(crate) mod subscription;
pub(crate) mod event_waiter;
pub(crate) mod waiting;
pub(crate) mod sync;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Poll, Waker};
use std::time::Instant;

use qmp_proto::{
    CloseReason, CommandId, Config, Connection, Dialect, Greeting, IoFailure, Phase, Prepared, Raw,
    Refusal,
};

use self::slots::Slot;
use self::state::State;
#[cfg(feature = "async")]
pub(crate) use self::turn::Manner;
use crate::error::Error;
use crate::recording::Tap;
use crate::shared::event_waiter::{EventWaiter, Matcher};
use crate::shared::pending::{Pending, PendingUntil, Standing};
use crate::shared::subscription::{EventLimits, Subscription};
use crate::shared::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, PoisonError};
use crate::shared::waiting::{Look, Moment, Wait};

/// The shared state of one connection.
///
/// An adapter calls [`flush`](Self::flush) at the start, after each command and whenever its transport takes
/// bytes again, and [`receive`](Self::receive) with what comes.
///
/// ```
/// use std::task::{Poll, Waker};
/// use qmp_client::{Flushed, SharedConnection, Received};
/// use qmp_proto::{Config, Request, commands::QueryName};
///
/// /// What the shared connection sends, and the id in it.
/// fn sent(shared: &SharedConnection) -> (String, String) {
///     let mut sent = String::new();
///     let flushed = shared.flush(|bytes, _descriptor| {
///         sent.push_str(std::str::from_utf8(bytes).unwrap());
///         Ok(bytes.len())
///     });
///     assert_eq!(flushed, Flushed::All);
///     let id = sent.rsplit(':').next().unwrap().trim_end_matches(['}', '\n']).to_owned();
///     (sent, id)
/// }
///
/// let shared = SharedConnection::new(Config::default());
/// shared.receive(Received::Bytes(br#"{"QMP": {"capabilities": []}}"#));
/// let (_, id) = sent(&shared);
/// shared.receive(Received::Bytes(format!(r#"{{"return": {{}}, "id": {id}}}"#).as_bytes()));
///
/// let mut pending = shared.execute(Request::of(&QueryName).prepare()?, None)?;
/// let (text, id) = sent(&shared);
/// assert!(text.starts_with(r#"{"execute":"query-name","id":"#));
/// assert!(pending.poll(Waker::noop()).is_pending());
/// let reply = format!(r#"{{"return": {{"name": "vm"}}, "id": {id}}}"#);
/// shared.receive(Received::Bytes(reply.as_bytes()));
/// let Poll::Ready(Ok(raw)) = pending.poll(Waker::noop()) else { panic!() };
/// assert_eq!(raw.as_bytes(), br#"{"name": "vm"}"#);
/// # Ok::<(), qmp_proto::Refusal>(())
/// ```
#[derive(Debug)]
pub struct SharedConnection {
    state: Mutex<State>,
    /// Claimed bytes wait for the transport to take more. Written under the lock, read without.
    blocked: AtomicBool,
    /// Whether a guest agent is spoken to.
    agent: bool,
    /// Whether anything may be timed: with a guest agent, and once a command has had a deadline. Written under the
    /// lock, read without.
    timed: AtomicBool,
    tap: Option<Tap>,
}

/// What came from the transport.
#[derive(Clone, Debug)]
pub enum Received<'a> {
    /// Some bytes.
    Bytes(&'a [u8]),
    /// The end of the stream.
    Eof,
    /// A failure.
    Failed(IoFailure),
}

/// The meaning of a failed read. A TLS stream that ends without close_notify has ended.
impl From<&io::Error> for Received<'_> {
    fn from(error: &io::Error) -> Self {
        match error.into() {
            IoFailure::Eof => Self::Eof,
            failure => Self::Failed(failure),
        }
    }
}

/// What something received has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The connection goes on.
    None,
    /// It goes on, and the caller's own reply has come.
    Settled,
    /// The connection has ended.
    Ended,
}

/// How far [`SharedConnection::flush`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flushed {
    /// Nothing is left that may be sent now.
    All,
    /// The transport is full: go on when it takes more.
    Blocked,
    /// The transport failed. Shut it down, and take in what it received before.
    Failed,
}

impl SharedConnection {
    /// A shared connection for a new connection.
    pub fn new(config: Config) -> Arc<Self> {
        Self::with_tap(config, None)
    }

    /// A shared connection for a new connection, whose messages are seen by a tap as well.
    pub fn with_tap(config: Config, tap: Option<Tap>) -> Arc<Self> {
        let tap = Tap::with_log(tap, &config);
        // Not the same each time, as the ids that follow from it must not be.
        let nonce = RandomState::new().build_hasher().finish();
        let agent = config.dialect == Dialect::GuestAgent;
        let state = Mutex::new(State::new(config, nonce));
        let (blocked, timed) = (AtomicBool::new(false), AtomicBool::new(agent));
        Arc::new(Self { state, blocked, agent, timed, tap })
    }

    /// Accepts a command. Call [`flush`](Self::flush) to send it.
    ///
    /// At its deadline [`handle_timeout`](Self::handle_timeout) ends it. Without a deadline it ends by
    /// [`Pending::give_up`] or by its reply.
    ///
    /// # Errors
    ///
    /// As [`Connection::execute`].
    pub fn execute(
        self: &Arc<Self>,
        prepared: Prepared<OwnedFd>,
        deadline: Option<Instant>,
    ) -> Result<Pending, Refusal> {
        let mut state = self.lock();
        let (id, alone) = state.accept(prepared, deadline)?;
        if deadline.is_some() {
            self.timed.store(true, Ordering::Relaxed);
        }
        Ok(Pending::new(self.clone(), id, alone))
    }

    /// Accepts a command together with a wait for an event, so that the event cannot come between
    /// the two.
    ///
    /// # Errors
    ///
    /// As [`Connection::execute`].
    pub fn execute_until(
        self: &Arc<Self>,
        prepared: Prepared<OwnedFd>,
        matcher: Matcher,
    ) -> Result<PendingUntil, Refusal> {
        let mut state = self.lock();
        let (id, alone) = state.accept(prepared, None)?;
        let watch = Arc::new(EventWaiter::new(id, matcher));
        state.event_waiters.push(watch.clone());
        Ok(PendingUntil::new(Pending::new(self.clone(), id, alone), watch))
    }

    /// Subscribes to all events from now on.
    pub fn subscribe(&self, limits: EventLimits) -> Subscription {
        self.subscribe_to(limits, None)
    }

    /// Subscribes to the events of one name from now on; others take no room in its queue.
    pub fn subscribe_to(&self, limits: EventLimits, name: Option<String>) -> Subscription {
        let (subscription, queue) = Subscription::new(limits, name);
        self.lock().add_subscriber(queue);
        subscription
    }

    /// Whether to [`receive`](Self::receive) what is there before the next [`flush`](Self::flush): see
    /// [`Connection::reads_first`].
    pub fn reads_first(&self) -> bool {
        self.agent && self.lock().connection.reads_first()
    }

    /// Whether anything may be timed. If not, there is no need to read the clock for
    /// [`poll_timeout`](Self::poll_timeout).
    pub fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Relaxed)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest: a command's deadline, or when a guest agent is
    /// asked again for its session, or probed while it is silent. See [`Connection::poll_timeout`].
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.is_timed().then(|| self.lock().poll_timeout(now)).flatten()
    }

    /// Does what is due: see [`Connection::handle_timeout`]. Call [`flush`](Self::flush) then.
    pub fn handle_timeout(&self, now: Instant) {
        let mut state = self.lock();
        state.handle_timeout(now);
        self.dispatch(state, None);
    }

    /// Ends the connection in an orderly way: see [`Connection::close`].
    pub fn close(&self) {
        let mut state = self.lock();
        state.connection.close();
        self.dispatch(state, None);
    }

    /// Ends the connection at once: nobody waits for its replies any more, or not any longer.
    pub fn abort(&self) {
        self.abort_with(CloseReason::Requested);
    }

    /// As [`abort`](Self::abort), for a reason that the adapter has.
    pub fn abort_with(&self, reason: CloseReason) {
        let mut state = self.lock();
        state.connection.abort_with(reason);
        self.dispatch(state, None);
    }

    /// Waits until commands are sent, and gives the greeting, which a guest agent does without; gives
    /// the reason if the connection ends before.
    pub fn ready(self: &Arc<Self>) -> Wait<Result<Option<Greeting>, CloseReason>> {
        Wait::new(self.clone(), Moment::Ready, |connection| match connection.phase() {
            Phase::Greeting | Phase::Negotiating | Phase::Syncing => None,
            _ => Some(match connection.close_reason() {
                Some(reason) => Err(reason.clone()),
                None => Ok(connection.greeting().cloned()),
            }),
        })
    }

    /// Waits until no command waits and no reply is owed.
    pub fn idle(self: &Arc<Self>) -> Wait<()> {
        Wait::new(self.clone(), Moment::Idle, |connection| connection.is_idle().then_some(()))
    }

    /// Waits for the connection's end, and tells how it ended.
    pub fn closed(self: &Arc<Self>) -> Wait<CloseReason> {
        Wait::new(self.clone(), Moment::Closed, |connection| connection.close_reason().cloned())
    }

    /// Reads something off the connection's state.
    pub fn inspect<T>(&self, read: impl FnOnce(&Connection<OwnedFd>) -> T) -> T {
        read(&self.lock().connection)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.lock().connection.close_reason().is_some()
    }

    /// Takes in what came from the transport, and wakes whom it concerns. Tells whether the
    /// connection goes on: if not, drop the transport.
    pub fn receive(&self, received: Received<'_>) -> bool {
        self.receive_as(received, None) != Effect::Ended
    }

    /// As [`receive`](Self::receive), by a caller who waits for a reply himself: for that one he is not
    /// woken, and has to look after this.
    pub(crate) fn receive_as(&self, received: Received<'_>, caller: Option<CommandId>) -> Effect {
        let mut state = self.lock();
        if let Some(tap) = &self.tap {
            tap.received(&received);
        }
        let open = state.receive(received);
        let settled = self.dispatch(state, caller);
        match open {
            false => Effect::Ended,
            true if settled => Effect::Settled,
            true => Effect::None,
        }
    }

    /// Sends what may be sent now. `send` must not block; it gives back how many bytes it took.
    ///
    /// A failure to send does not end the connection yet: what the server said before is still to
    /// be received, and the end of the stream behind it ends the connection with this failure.
    pub fn flush(
        &self,
        mut send: impl FnMut(&[u8], Option<BorrowedFd<'_>>) -> io::Result<usize>,
    ) -> Flushed {
        let mut state = self.lock();
        let flushed = state.flush(|bytes, descriptor| {
            let sent = send(bytes, descriptor)?;
            if let Some(tap) = &self.tap {
                tap.sent(bytes.get(..sent).unwrap_or(bytes));
            }
            Ok(sent)
        });
        self.blocked.store(flushed == Flushed::Blocked, Ordering::Relaxed);
        drop(state);
        self.tell_tap();
        flushed
    }

    /// Whether the last [`flush`](Self::flush) found the transport full.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    pub(crate) fn poll_wait<T>(
        &self,
        moment: Moment,
        key: &mut Option<u64>,
        look: Look<T>,
        waker: &Waker,
    ) -> Poll<T> {
        let waker = waker.clone();
        let mut state = self.lock();
        if let Some(found) = look(&state.connection) {
            return Poll::Ready(found);
        }
        let replaced = state.waiting.note(moment, key, waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    pub(crate) fn stop_waiting(&self, moment: Moment, key: u64) {
        let forgotten = self.lock().waiting.forget(moment, key);
        drop(forgotten);
    }

    pub(crate) fn poll_reply(
        &self,
        id: CommandId,
        waker: &Waker,
        standing: &mut Standing,
    ) -> Poll<Result<Raw, Error>> {
        let waker = waker.clone();
        let mut state = self.lock();
        standing.begun = standing.begun || state.connection.has_begun(id);
        standing.has_turn = state.turn.caller == Some(id);
        if let Some(Slot::Waiting(waiting)) = state.slots.get_mut(&id) {
            let replaced = waiting.replace(waker);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        standing.ended_alone = standing.has_turn && state.connection.is_idle();
        standing.has_turn = false;
        match state.forget(id) {
            Some(Slot::Done(outcome)) => Poll::Ready(outcome),
            _ => Poll::Pending,
        }
    }

    /// Nobody waits for this reply any more, as the deadline has passed: how the command ended with
    /// that. Those behind it may be sent now.
    pub(crate) fn give_up(&self, id: CommandId) -> Result<Raw, Error> {
        let mut state = self.lock();
        // Dropped without the lock: its waker is not ours.
        let slot = state.forget(id);
        let outcome = state.give_up(id);
        // Withdrawing the last one may have made the connection idle.
        self.dispatch(state, None);
        match slot {
            Some(Slot::Done(ended)) => ended,
            _ => outcome,
        }
    }

    pub(crate) fn remove_event_waiter(&self, watch: &Arc<EventWaiter>) {
        self.lock().event_waiters.retain(|other| !Arc::ptr_eq(other, watch));
    }

    /// What follows every change: hands out what the connection has to tell, and lets the tap tell
    /// what it has noted. Tells whether the caller's reply was there.
    fn dispatch<'a>(&'a self, state: MutexGuard<'a, State>, caller: Option<CommandId>) -> bool {
        if let Some(tap) = &self.tap {
            tap.look_at(&state.connection);
        }
        let settled = self.hand_out(state, caller);
        self.tell_tap();
        settled
    }

    fn tell_tap(&self) {
        if let Some(tap) = &self.tap {
            tap.tell();
        }
    }

    /// Hands out what the connection has to tell, in order. One thread does so at a time, so that
    /// an event's matchers have run before what came after it is told.
    ///
    /// Only events keep it busy, and only [`receive`](Self::receive) brings those: so who receives
    /// has handed out everything before it receives, and perhaps blocks, again. That is why the
    /// lock comes from the caller and is not let go in between.
    fn hand_out<'a>(&'a self, mut state: MutexGuard<'a, State>, caller: Option<CommandId>) -> bool {
        let mut settled = false;
        if state.dispatching {
            return settled;
        }
        state.dispatching = true;
        loop {
            let deferred = state.hand_out(caller);
            state.dispatching = deferred.has_more();
            settled |= deferred.settled;
            drop(state);
            if !deferred.run() {
                return settled;
            }
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
