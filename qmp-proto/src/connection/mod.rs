//! The client's end of a connection, as a state machine. This file has the calls of an embedder.
//!
//! `config` is passed in at the start. `phase` has every phase and transition. `opening` and `negotiation` lead from the
//! first byte to ready. `inbound` handles received messages, and `outbound` sends commands. `guest_agent` has the sessions
//! of a guest agent. `output` is passed out; `close` has the reasons for an end, and `evidence` has messages that explain
//! one.

pub(crate) mod config;
pub(crate) mod phase;
pub(crate) mod opening;
pub(crate) mod negotiation;
pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod guest_agent;
pub(crate) mod output;
pub(crate) mod close;
pub(crate) mod evidence;

use alloc::collections::VecDeque;
use core::convert::Infallible;

use serde::Serialize;

use crate::codec::encode::Prepared;
use crate::codec::framer::Framer;
use crate::codec::message::Greeting;
use crate::connection::close::{CloseReason, IoFailure};
use crate::connection::config::{Config, Dialect};
use crate::connection::evidence::Evidence;
use crate::connection::guest_agent::Sync;
use crate::connection::negotiation::Negotiation;
use crate::connection::opening::Opening;
use crate::connection::outbound::in_flight::Window;
use crate::connection::outbound::queue::Queue;
use crate::connection::outbound::send_buffer::{Transmit, Wire};
use crate::connection::output::{Cancelled, Output};
use crate::connection::phase::{Phase, Trigger};
use crate::payload::command::{CommandId, Request};
use crate::payload::error::{ExecuteError, Refusal};
use crate::payload::no_reply::NoReply;
use crate::payload::raw::Raw;

/// How many outputs there is room for when none waits.
const KEPT_OUTPUTS: usize = 64;

/// The client's end of a QMP connection: bytes in, greetings, replies and events out.
///
/// It does no I/O, keeps no clock and starts no thread. Its methods fall into classes:
///
/// - from the application: [`execute`](Self::execute), [`cancel`](Self::cancel),
///   [`close`](Self::close);
/// - from the transport, `handle_…`: [`handle_input`](Self::handle_input),
///   [`handle_eof`](Self::handle_eof), [`handle_failure`](Self::handle_failure);
/// - to the transport: [`transmit`](Self::transmit), then [`advance`](Self::advance);
/// - to the application: [`poll_output`](Self::poll_output), until it gives `None`.
///
/// After any call of the first two classes, see what there is to transmit and to tell: that is the
/// whole loop, shown running in [the crate's documentation](crate).
///
/// `F` is what rides along with a command, an `OwnedFd` on Unix. The connection carries it and
/// never looks at it. Without descriptors, write `<Connection>::new(…)`.
#[derive(Debug)]
pub struct Connection<F = Infallible> {
    pub(crate) config: Config,
    pub(crate) phase: Phase,
    pub(crate) opening: Opening,
    pub(crate) framer: Framer,
    pub(crate) greeting: Option<Greeting>,
    /// A guest agent's part of what is before `Ready`.
    pub(crate) sync: Sync,
    pub(crate) told_ready: bool,
    pub(crate) negotiation: Negotiation,
    /// What came before `Ready` in place of what was awaited.
    pub(crate) evidence: Option<Evidence>,
    /// How far commands had gone out when the message that is being received began to come.
    pub(crate) message_began: u64,
    pub(crate) next_id: u64,
    pub(crate) in_band: Queue<F>,
    pub(crate) out_of_band: Queue<F>,
    pub(crate) window: Window,
    pub(crate) wire: Wire<F>,
    /// An error without an id was attributed: until the next reply of ours, no other is.
    pub(crate) attributed: bool,
    /// `SHUTDOWN` came after `quit` was sent.
    pub(crate) shutting_down: bool,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) strays: u64,
    pub(crate) close_reason: Option<CloseReason>,
}

impl<F> Connection<F> {
    /// A connection on which nothing has happened yet.
    ///
    /// The nonce sets the id of `qmp_capabilities` apart from those of whoever used this monitor
    /// before: QEMU may still answer them, and does so before it answers that. Any number will do that
    /// is not the same each time; it needs no secrecy.
    ///
    /// To a guest agent we speak first: there is something to [`transmit`](Self::transmit) at once.
    pub fn new(config: Config, nonce: u64) -> Self {
        // 52 bits, so that it stays exact in a JSON parser that knows doubles alone. No command gets to
        // the highest.
        let handshake = spread(nonce) >> 12 | 1 << 51;
        let agent = config.dialect == Dialect::GuestAgent;
        let mut connection = Self {
            opening: Opening::default(),
            framer: Framer::new(config.largest_message(), config.max_depth),
            phase: if agent { Phase::Syncing } else { Phase::Greeting },
            greeting: None,
            sync: Sync::default(),
            told_ready: false,
            negotiation: Negotiation::new(handshake),
            evidence: None,
            message_began: 0,
            // QEMU reads a command byte by byte, at some 7 µs each: short ids are the fastest. A guest
            // agent may still send replies to ids of an earlier client's, so its ids are no small ones.
            next_id: if agent { handshake + 1 } else { 1 },
            in_band: Queue::new(config.dialect),
            out_of_band: Queue::new(config.dialect),
            window: Window::new(if agent { Some(1) } else { config.window }),
            wire: Wire::new(),
            attributed: false,
            shutting_down: false,
            outputs: VecDeque::new(),
            strays: 0,
            close_reason: None,
            config,
        };
        if agent {
            connection.begin_session();
        }
        connection
    }

    /// Accepts a command, which goes out as soon as the window has room. Never blocks; the outcome
    /// is a later [`Output::Reply`].
    ///
    /// Commands are accepted before [`Output::Ready`] and wait for it, out-of-band ones excepted.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]: nothing was sent, and a descriptor in the request is dropped.
    pub fn execute<A: Serialize>(&mut self, request: Request<A, F>) -> Result<CommandId, Refusal> {
        self.check_acceptable(request.out_of_band, request.descriptor.is_some())?;
        let id = self.next_id;
        self.queue(request.out_of_band).push(request, id)?;
        self.accepted(id)
    }

    /// As [`execute`](Self::execute), for a request that is encoded already.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]: nothing was sent, and a descriptor in the request is dropped.
    pub fn execute_prepared(&mut self, prepared: Prepared<F>) -> Result<CommandId, Refusal> {
        self.check_acceptable(prepared.out_of_band, prepared.descriptor.is_some())?;
        let id = self.next_id;
        self.queue(prepared.out_of_band).push_prepared(prepared, id);
        self.accepted(id)
    }

    /// Withdraws a command that was not claimed yet, or lets its reply be dropped when it comes.
    ///
    /// With a guest agent, replies are dropped up to where a new session begins, which there will be
    /// something to transmit for.
    pub fn cancel(&mut self, id: CommandId) -> Cancelled<F> {
        if let Some(descriptor) = self.withdraw(id.0) {
            return Cancelled::NeverSent(descriptor);
        }
        let sent = self.is_sent(id);
        let Some(flight) = self.window.get_mut(id.0).filter(|flight| !flight.cancelled) else {
            return Cancelled::Unknown;
        };
        flight.cancelled = true;
        let no_reply = flight.no_reply;
        if self.speaks_to_agent() {
            self.give_up(id);
        }
        if no_reply && sent { Cancelled::NoReplyOwed } else { Cancelled::ReplyDiscarded }
    }

    /// Closes in an orderly way: no command is accepted any more, those not claimed end as
    /// [`NotSent`](ExecuteError::NotSent), replies owed are awaited, then comes
    /// [`Output::Closed`]. Before [`Output::Ready`] that is at once.
    ///
    /// When it comes, drop the transport. How long to wait for it is the application's choice;
    /// [`abort`](Self::abort) ends the wait.
    pub fn close(&mut self) {
        let Some(phase) = self.phase.after(Trigger::CloseAsked) else {
            return;
        };
        if phase == Phase::Closed {
            return self.end(CloseReason::Requested);
        }
        self.phase = phase;
        self.end_queued(&CloseReason::Requested);
        self.close_if_drained();
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
        // What cannot be sent yet is not claimed yet: it can still be withdrawn.
        if self.wire.is_empty() {
            self.keep_in_step();
            while self.claim_next() {}
        }
        self.wire.lend()
    }

    /// Notes that the transport took the first `n` bytes of what [`transmit`](Self::transmit)
    /// lent, and with the first byte the descriptor, which is dropped.
    ///
    /// A count beyond what was lent is taken as all of it.
    ///
    /// A command without a byte noted here counts as [not sent](ExecuteError::NotSent) when the
    /// connection ends. So note what the transport has taken before the connection is told of an end.
    pub fn advance(&mut self, n: usize) {
        self.wire.advance(n);
    }

    /// Takes in bytes that the transport received, in pieces of any size.
    ///
    /// Take the outputs before the next call: what they hold is bounded by what one call was given
    /// and the one message that was unfinished before.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Greeting {
            return self.open(bytes);
        }
        self.receive(bytes);
    }

    /// What comes first says who speaks.
    #[inline(never)]
    fn open(&mut self, mut input: &[u8]) {
        match self.opening.read(&mut input) {
            Ok(()) => self.receive(input),
            Err(speaker) => self.end(CloseReason::NotQmp(speaker)),
        }
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
        let reason = match self.opening.at_eof() {
            Err(speaker) => CloseReason::NotQmp(speaker),
            Ok(()) if self.quit_sent() => CloseReason::Quit,
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
        !negotiating && self.queued_commands() == 0 && self.window.is_empty()
    }

    /// Whether the first byte of this command has gone out and its reply has not come.
    pub fn has_begun(&self, id: CommandId) -> bool {
        let flight = self.window.get(id.0);
        flight.is_some_and(|flight| flight.start < self.wire.position())
    }

    /// The oldest command of which the first byte has gone out and whose reply has not come.
    pub fn begun(&self) -> Option<CommandId> {
        self.window.two_begun(self.wire.position())[0].map(CommandId)
    }

    /// Whether all of this command has gone out and its reply has not come.
    pub fn is_sent(&self, id: CommandId) -> bool {
        let flight = self.window.get(id.0);
        flight.is_some_and(|flight| flight.end <= self.wire.position())
    }

    /// Where the connection stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What the server said first, once it has.
    pub fn greeting(&self) -> Option<&Greeting> {
        self.greeting.as_ref()
    }

    /// Unexpected input before the connection was ready: the last message, or else the number of bytes. `None` if
    /// there was none, and once the connection is ready.
    ///
    /// Names the cause if the wait fails, or if the connection ends before it is ready.
    pub fn evidence(&self) -> Option<Evidence> {
        let bytes = match self.phase {
            Phase::Syncing => return self.sync.overheard.evidence(),
            Phase::Greeting | Phase::Negotiating => {
                (self.opening.undecided() + self.framer.unfinished()) as u64
            }
            _ => 0,
        };
        self.evidence.clone().or((bytes > 0).then_some(Evidence::Noise(bytes)))
    }

    /// Which of QEMU's servers is spoken to.
    pub fn dialect(&self) -> Dialect {
        self.config.dialect
    }

    /// Whether out-of-band execution was negotiated.
    pub fn oob_enabled(&self) -> bool {
        self.window.oob()
    }

    /// How the connection ended, once it has.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.close_reason.as_ref()
    }

    /// How many replies came that were nobody's.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// Whether all of `quit` has gone out. Nothing goes behind it, so the wire is empty then.
    pub(crate) fn quit_sent(&self) -> bool {
        self.window.quitting() && self.wire.is_empty()
    }

    /// Whether this connection has given out that id.
    pub(crate) fn is_ours(&self, id: u64) -> bool {
        (1..self.next_id).contains(&id) || self.negotiation.is_ours(id)
    }

    /// A reply has left the window: an orderly close may be complete.
    pub(crate) fn close_if_drained(&mut self) {
        if self.window.is_empty() && self.phase.after(Trigger::Drained).is_some() {
            self.end(CloseReason::Requested);
        }
    }

    /// The connection has ended: everyone who waits is told, then that it has. The first reason
    /// stays.
    pub(crate) fn end(&mut self, reason: CloseReason) {
        let Some(closed) = self.phase.after(Trigger::Ended) else { return };
        // These reasons describe the input themselves.
        let is_described = matches!(reason, CloseReason::NotQmp(_) | CloseReason::Violation(_));
        if !is_described && !self.told_ready {
            self.evidence = self.evidence();
        }
        self.phase = closed;
        let sent = self.wire.position();
        // Half a reply may be half an error.
        let silent = reason.is_by_server() && !self.framer.mid_message();
        for flight in self.window.clear() {
            let outcome = if flight.start >= sent {
                Err(ExecuteError::NotSent(reason.clone()))
            } else if flight.quit && self.shutting_down && reason == CloseReason::Quit {
                Ok(Raw::from_static("{}"))
            } else if flight.no_reply && silent && flight.end <= sent {
                Ok(NoReply::Closed.into())
            } else {
                Err(ExecuteError::Unanswered(reason.clone()))
            };
            if !flight.cancelled {
                self.outputs.push_back(Output::Reply(CommandId(flight.id), outcome));
            }
        }
        self.end_queued(&reason);
        self.wire.clear();
        self.framer = Framer::new(0, 0);
        self.close_reason = Some(reason.clone());
        self.outputs.push_back(Output::Closed(reason));
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
