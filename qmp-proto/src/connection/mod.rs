//! The client's end of a connection, as a state machine. This file has the calls of an embedder.
//!
//! `config` is passed in at the start. `phase` has every phase and transition. A peer is a monitor, for which `opening` and
//! `negotiation` lead from the first byte to ready and `monitor` has the rest, or a `guest_agent` with its sessions.
//! `inbound` handles received messages, and `outbound` sends commands. `timers` has deadlines, and `ending` the end. `output`
//! is passed out; `close` has the reasons for an end, and `evidence` has messages that explain one.

pub(crate) mod config;
pub(crate) mod phase;
pub(crate) mod opening;
pub(crate) mod negotiation;
pub(crate) mod monitor;
pub(crate) mod guest_agent;
pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod timers;
mod ending;
pub(crate) mod output;
pub(crate) mod close;
pub(crate) mod evidence;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::convert::Infallible;

use serde::Serialize;

use crate::codec::encode::Prepared;
use crate::codec::framer::Framer;
use crate::codec::message::Greeting;
use crate::connection::close::{CloseReason, IoFailure};
use crate::connection::config::{Config, Dialect};
use crate::connection::evidence::Evidence;
use crate::connection::guest_agent::Agent;
use crate::connection::monitor::Monitor;
use crate::connection::outbound::send_buffer::Transmit;
use crate::connection::outbound::{Outbound, Sent};
use crate::connection::output::{Cancelled, Output};
use crate::connection::phase::{Phase, Trigger};
use crate::connection::timers::Instant;
use crate::payload::command::{CommandId, Request};
#[cfg(doc)]
use crate::payload::error::ExecuteError;
use crate::payload::error::Refusal;

/// How many outputs there is room for when none waits.
const KEPT_OUTPUTS: usize = 64;

/// The client's end of a QMP connection: bytes in, greetings, replies and events out.
///
/// It does no I/O, has no clock and starts no thread. Its methods fall into classes:
///
/// - from the application: [`execute`](Self::execute), [`cancel`](Self::cancel),
///   [`close`](Self::close);
/// - from the clock: [`poll_timeout`](Self::poll_timeout), [`handle_timeout`](Self::handle_timeout);
/// - from the transport, `handle_…`: [`handle_input`](Self::handle_input),
///   [`handle_eof`](Self::handle_eof), [`handle_failure`](Self::handle_failure);
/// - to the transport: [`transmit`](Self::transmit), then [`advance`](Self::advance);
/// - to the application: [`poll_output`](Self::poll_output), until it gives `None`.
///
/// After any call of the first three classes, see what there is to transmit and to tell, and ask for the next timeout:
/// that is the whole loop, shown running in [the crate's documentation](crate).
///
/// `F` is what rides along with a command, an `OwnedFd` on Unix. The connection carries it and
/// never looks at it. Without descriptors, write `<Connection>::new(…)`.
#[derive(Debug)]
pub struct Connection<F = Infallible> {
    config: Config,
    /// [`enter`](Self::enter) changes it, and nothing else does.
    phase: Phase,
    side: Side,
    framer: Framer,
    outbound: Outbound<F>,
    outputs: VecDeque<Output>,
    unmatched: u64,
    close_reason: Option<CloseReason>,
}

/// The state that depends on which server the peer is.
#[derive(Debug)]
enum Side {
    Monitor(Monitor),
    Agent(Box<Agent>),
}

impl<F> Connection<F> {
    /// A connection on which nothing has happened yet.
    ///
    /// The nonce makes the id of `qmp_capabilities` differ from the ids of this monitor's previous clients: QEMU may
    /// still answer those, and does so before it answers `qmp_capabilities`. Any number will do that differs each
    /// time; it need not be secret.
    ///
    /// With a guest agent the client speaks first: there is something to [`transmit`](Self::transmit) at once.
    pub fn new(config: Config, nonce: u64) -> Self {
        // 52 bits, so that it stays exact in a JSON parser whose numbers are all doubles. No command's id
        // is that high.
        let handshake = spread(nonce) >> 12 | 1 << 51;
        let framer = Framer::new(config.largest_message(), config.max_depth);
        let (phase, side, outbound) = match config.dialect {
            // QEMU reads a command byte by byte, at some 7 µs each: short ids are the fastest.
            Dialect::Qmp => (
                Phase::Greeting,
                Side::Monitor(Monitor::new(handshake)),
                Outbound::new(1, config.window),
            ),
            // An agent may still send replies with the ids of an earlier client, so its ids are not small.
            Dialect::GuestAgent => {
                (Phase::Syncing, Side::Agent(Box::default()), Outbound::new(handshake + 1, Some(1)))
            }
        };
        let mut connection = Self {
            config,
            phase,
            side,
            framer,
            outbound,
            outputs: VecDeque::new(),
            unmatched: 0,
            close_reason: None,
        };
        connection.begin_first_session();
        connection
    }

    /// Accepts a command, which goes out as soon as the window has room. Never blocks; the outcome
    /// is a later [`Output::Reply`].
    ///
    /// Commands are accepted before [`Output::Ready`] and wait for it, out-of-band ones excepted.
    ///
    /// At its `deadline` the command ends as [`TimedOut`](ExecuteError::TimedOut), if no reply has come:
    /// [`handle_timeout`](Self::handle_timeout) does that. A deadline that has passed already is allowed.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]: nothing was sent, and a descriptor in the request is dropped.
    pub fn execute<A: Serialize>(
        &mut self,
        request: Request<A, F>,
        deadline: Option<Instant>,
    ) -> Result<CommandId, Refusal> {
        self.check_acceptable(request.out_of_band, request.descriptor.is_some())?;
        self.outbound.push(request.prepare()?, deadline, self.config.max_queued_bytes)
    }

    /// As [`execute`](Self::execute), for a request that is encoded already.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]: nothing was sent, and a descriptor in the request is dropped.
    pub fn execute_prepared(
        &mut self,
        prepared: Prepared<F>,
        deadline: Option<Instant>,
    ) -> Result<CommandId, Refusal> {
        self.check_acceptable(prepared.out_of_band, prepared.descriptor.is_some())?;
        self.outbound.push(prepared, deadline, self.config.max_queued_bytes)
    }

    /// Withdraws a command that is not committed, or drops its reply when that comes.
    ///
    /// With a guest agent, replies are dropped up to the beginning of a new session, for which there will be something
    /// to transmit.
    pub fn cancel(&mut self, id: CommandId) -> Cancelled<F> {
        let cancelled = self.mark_cancelled(id);
        self.give_up_if_in_flight(id, &cancelled);
        cancelled
    }

    fn mark_cancelled(&mut self, id: CommandId) -> Cancelled<F> {
        if let Some(command) = self.outbound.withdraw(id) {
            return Cancelled::NeverSent(command.descriptor);
        }
        let sent = self.outbound.sent_of(id);
        match self.outbound.cancel(id) {
            None => Cancelled::Unknown,
            Some(command) if command.no_reply && sent == Some(Sent::All) => Cancelled::NoReplyOwed,
            Some(_) => Cancelled::ReplyDiscarded,
        }
    }

    /// A guest agent's next reply would be that to the cancelled command.
    fn give_up_if_in_flight(&mut self, id: CommandId, cancelled: &Cancelled<F>) {
        let in_flight = matches!(cancelled, Cancelled::ReplyDiscarded | Cancelled::NoReplyOwed);
        if in_flight && self.speaks_to_agent() {
            self.give_up(id);
        }
    }

    /// Closes in an orderly way: no command is accepted any more, those not claimed end as
    /// [`NotSent`](ExecuteError::NotSent), replies owed are awaited, then comes
    /// [`Output::Closed`]. Before [`Output::Ready`] that is at once.
    ///
    /// When it comes, drop the transport. How long to wait for it is the application's choice;
    /// [`abort`](Self::abort) ends the wait.
    pub fn close(&mut self) {
        if self.phase.after(Trigger::CloseAsked) == Some(Phase::Closed) {
            return self.end(CloseReason::Requested);
        }
        if self.enter(Trigger::CloseAsked) {
            self.end_queued(&CloseReason::Requested);
            self.close_if_drained();
        }
    }

    /// Ends the connection here and now; drop the transport then. Replies owed are not awaited, and
    /// what was claimed in part stays torn on the wire.
    pub fn abort(&mut self) {
        self.abort_with(CloseReason::Requested);
    }

    /// As [`abort`](Self::abort), for a reason that the application has.
    pub fn abort_with(&mut self, reason: CloseReason) {
        self.end(reason);
    }

    /// What to send now: as many commands as may share one write. `None` if nothing.
    ///
    /// What is lent is claimed. It stays here until [`advance`](Self::advance) says that the
    /// transport took it, and goes out whole unless the connection ends. Until all of it has gone,
    /// nothing more is claimed. Where the transport is full, leave it at that, and call this again
    /// when it takes more.
    pub fn transmit(&mut self) -> Option<Transmit<'_, F>> {
        // A command that cannot be sent yet is not committed yet: it can still be withdrawn.
        if self.outbound.all_sent() {
            self.resynchronise_if_needed();
            let with_ids = self.gives_ids();
            while self.phase == Phase::Ready && self.outbound.commit_next(with_ids) {}
        }
        self.outbound.transmit()
    }

    /// Notes that the transport took the first `n` bytes of what [`transmit`](Self::transmit)
    /// lent, and with the first byte the descriptor, which is dropped.
    ///
    /// A count beyond what was lent is taken as all of it.
    ///
    /// A command without a byte noted here counts as [not sent](ExecuteError::NotSent) when the
    /// connection ends. So note what the transport has taken before the connection is told of an end.
    pub fn advance(&mut self, n: usize) {
        self.outbound.advance(n);
    }

    /// Takes in bytes that the transport received, in pieces of any size.
    ///
    /// Take the outputs before the next call: what they hold is bounded by what one call was given
    /// and the one message that was unfinished before.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        self.receive(bytes);
    }

    /// Takes in the end of the stream.
    pub fn handle_eof(&mut self) {
        self.end_by_server(CloseReason::Eof { mid_message: self.framer.mid_message() });
    }

    /// Takes in that the transport failed, which ends the connection at once.
    ///
    /// Where it was a write that failed, read on first, up to the end of the stream: the server's
    /// last words may still be there. With `std`, an `io::Error` converts to an [`IoFailure`].
    pub fn handle_failure(&mut self, failure: IoFailure) {
        match failure {
            IoFailure::Eof => self.handle_eof(),
            IoFailure::Reset => self.end_by_server(CloseReason::Failed(IoFailure::Reset)),
            failure => self.end(CloseReason::Failed(failure)),
        }
    }

    /// The server closed the stream, by an end or by a reset. The `plain` reason is reported unless
    /// a better one is known.
    fn end_by_server(&mut self, plain: CloseReason) {
        let opening = match &self.side {
            Side::Monitor(monitor) => monitor.opening.at_eof(),
            Side::Agent(_) => Ok(()),
        };
        let reason = match opening {
            Err(speaker) => CloseReason::NotQmp(speaker),
            Ok(()) if self.outbound.quit_sent() => CloseReason::Quit,
            Ok(()) => plain,
        };
        self.end(reason);
    }

    /// What has happened, the oldest first. Call it until it gives `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            if self.outputs.capacity() > KEPT_OUTPUTS {
                self.outputs.shrink_to(KEPT_OUTPUTS);
            }
            return None;
        }
        self.outputs.pop_front()
    }

    /// Whether no command waits for its turn and no reply is owed, those of cancelled commands, of the
    /// negotiation and of a guest agent's synchronisation included.
    pub fn is_idle(&self) -> bool {
        let negotiating =
            matches!(self.phase, Phase::Greeting | Phase::Negotiating | Phase::Syncing);
        !negotiating && self.outbound.outstanding() == 0
    }

    /// Whether the first byte of this command has been sent and its reply has not come.
    pub fn has_begun(&self, id: CommandId) -> bool {
        self.outbound.sent_of(id).is_some_and(|sent| sent != Sent::Nothing)
    }

    /// The oldest command of which the first byte has been sent and whose reply has not come.
    pub fn begun(&self) -> Option<CommandId> {
        self.outbound.two_begun()[0].map(CommandId)
    }

    /// Whether all of this command has been sent and its reply has not come.
    pub fn is_sent(&self, id: CommandId) -> bool {
        self.outbound.sent_of(id) == Some(Sent::All)
    }

    /// Where the connection stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What the server said first, once it has.
    pub fn greeting(&self) -> Option<&Greeting> {
        match &self.side {
            Side::Monitor(monitor) => monitor.greeting.as_ref(),
            Side::Agent(_) => None,
        }
    }

    /// What came in place of what this connection waits for, as long as it is not ready: the last that
    /// could be read, or else how many bytes came. `None` if nothing did, and once it is ready.
    ///
    /// Names the cause if the wait fails.
    pub fn evidence(&self) -> Option<Evidence> {
        match &self.side {
            Side::Monitor(monitor) => monitor.evidence(self.phase, self.framer.unfinished()),
            Side::Agent(agent) => agent.evidence(self.phase),
        }
    }

    /// Which of QEMU's servers is spoken to.
    pub fn dialect(&self) -> Dialect {
        self.config.dialect
    }

    /// Whether out-of-band execution was negotiated.
    pub fn oob_enabled(&self) -> bool {
        self.outbound.in_flight().oob()
    }

    /// How the connection ended, once it has.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.close_reason.as_ref()
    }

    /// How many replies came that were nobody's.
    pub fn strays(&self) -> u64 {
        self.unmatched
    }

    /// Changes the phase. Returns whether the trigger does so in this phase.
    fn enter(&mut self, trigger: Trigger) -> bool {
        let Some(phase) = self.phase.after(trigger) else { return false };
        self.phase = phase;
        true
    }

    fn check_acceptable(&self, out_of_band: bool, descriptor: bool) -> Result<(), Refusal> {
        match &self.close_reason {
            Some(reason) => return Err(Refusal::Closed(reason.clone())),
            None if self.phase == Phase::Closing => return Err(Refusal::Closing),
            None => {}
        }
        if (out_of_band || descriptor) && self.speaks_to_agent() {
            return Err(Refusal::NotForGuestAgent);
        }
        if out_of_band && !self.oob_enabled() {
            return Err(Refusal::OobNotNegotiated);
        }
        if descriptor && !self.config.descriptors {
            return Err(Refusal::NoDescriptors);
        }
        if descriptor && out_of_band {
            return Err(Refusal::DescriptorOutOfBand);
        }
        if self.outbound.outstanding() >= self.config.max_queued {
            return Err(Refusal::QueueFull);
        }
        Ok(())
    }
}

/// Nonces may be close together, 1, 2 and 3; the ids that follow from them may not. This is the
/// last step of splitmix64.
fn spread(nonce: u64) -> u64 {
    let mut bits = nonce.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
