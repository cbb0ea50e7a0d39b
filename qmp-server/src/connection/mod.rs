//! The server's end of a connection, as a state machine.
//!
//! A client's bytes come in (`intake`, `envelope`), commands run in order (`progress`), and messages go out (`message`,
//! `layout`, `number`). `config` has what goes in at the start, and `output` what comes out.

pub(crate) mod config;
mod intake;
mod envelope;
mod progress;
mod message;
mod layout;
mod number;
pub(crate) mod output;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::convert::Infallible;

use qmp_proto::__server::SendBuffer;
use qmp_proto::{CommandError, Event, IoFailure};
use serde::Serialize;

use self::config::Config;
use self::intake::Intake;
use self::output::{CloseReason, Output, RespondError, Ticket};
use self::progress::{Running, Waiting};

/// The server's end of a QMP connection: bytes in, commands out; answers and events in, bytes out.
///
/// It does no I/O, keeps no clock and starts no thread. Its methods fall into classes:
///
/// - from the transport, `handle_…`: [`handle_input`](Self::handle_input) while it
///   [wants input](Self::wants_input), [`handle_descriptor`](Self::handle_descriptor) before the
///   bytes that a descriptor rides with, [`handle_eof`](Self::handle_eof),
///   [`handle_failure`](Self::handle_failure);
/// - to the application: [`poll_output`](Self::poll_output), until it gives `None`;
/// - from the application: [`respond`](Self::respond), [`event`](Self::event),
///   [`close`](Self::close), [`turn_away`](Self::turn_away);
/// - to the transport: [`transmit`](Self::transmit), then [`advance`](Self::advance). The first
///   thing to send, the greeting, is there from the start.
///
/// What the protocol asks is done here: the greeting, the negotiation, refusing what is no command,
/// the order of answers, ids. What the commands do is the application's, or a
/// [`Machine`](super::Machine)'s.
///
/// `F` is what rides along with a command, an `OwnedFd` on Unix. Without descriptors, write
/// `<Connection>::new(…)`.
#[derive(Debug)]
pub struct Connection<F = Infallible> {
    config: Config,
    phase: Phase,
    oob: bool,
    intake: Intake<F>,
    /// In-band input that waits for its turn, faults included: they are answered in order.
    queue: VecDeque<Waiting>,
    running: Vec<Running>,
    next_ticket: u64,
    wire: SendBuffer<Infallible>,
    outputs: VecDeque<Output>,
    close_reason: Option<CloseReason>,
}

/// Where a server's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// `qmp_capabilities` is awaited; every other command is refused, and no event is sent.
    Negotiating,
    /// Commands are executed, events are sent.
    Ready,
    /// Nothing is read any more; what is left is sent.
    Closing,
    /// The connection has ended, once and for all.
    Closed,
}

impl<F> Connection<F> {
    /// A connection to which a client has just come.
    pub fn new(config: Config) -> Self {
        let mut wire = SendBuffer::new();
        message::greeting(wire.text(), &config);
        let rules = config.rules();
        Self {
            config,
            phase: Phase::Negotiating,
            oob: false,
            intake: Intake::new(rules),
            queue: VecDeque::new(),
            running: Vec::new(),
            next_ticket: 0,
            wire,
            outputs: VecDeque::new(),
            close_reason: None,
        }
    }

    /// Whether to go on reading from the transport. While it does not want input, the client has to
    /// wait: as many commands run or wait as may, or it does not read its answers. Nor is anything
    /// wanted behind the end of the stream.
    pub fn wants_input(&self) -> bool {
        self.may_read() && self.intake.wants_more()
    }

    /// Takes in bytes that the transport received, in pieces of any size.
    ///
    /// Bytes that come although no input is wanted are kept until it is.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        if self.is_open() {
            self.intake.push(bytes);
            self.progress();
        }
    }

    /// Takes in a descriptor that rides with the byte that comes next.
    ///
    /// There is one place for a descriptor, as in QEMU: it stays there until it is
    /// [taken](Self::take_descriptor), or the next one replaces it.
    pub fn handle_descriptor(&mut self, descriptor: F) {
        if self.is_open() {
            self.intake.push_descriptor(descriptor);
        }
    }

    /// Takes in the end of the stream: the client sends nothing any more, but may still read.
    ///
    /// As in QEMU, it counts where it stands in the stream. Without out-of-band execution what came
    /// before it is executed and answered first, and the connection ends when that is done. With
    /// out-of-band execution it is read while commands run: the connection ends as soon as everything
    /// before it was read, and what runs or waits then is not answered any more.
    pub fn handle_eof(&mut self) {
        self.intake.finish();
        self.progress();
    }

    /// Takes in that the transport failed, which ends the connection at once. [`IoFailure::Eof`] is an end of
    /// the stream.
    pub fn handle_failure(&mut self, failure: IoFailure) {
        if failure == IoFailure::Eof {
            return self.handle_eof();
        }
        self.wire.clear();
        self.leave(CloseReason::Failed(failure));
    }

    /// The last descriptor that came, for a command such as `getfd` that consumes it.
    pub fn take_descriptor(&mut self) -> Option<F> {
        self.intake.take_descriptor()
    }

    /// Answers a command. What is returned is anything that serializes to JSON; a command that has
    /// nothing to say returns an empty object, [`Empty`](qmp_proto::Empty) for instance.
    ///
    /// # Errors
    ///
    /// Where no such command waits for an answer, as after the connection's end, or where what is
    /// returned cannot be written; the client gets a `GenericError` then.
    pub fn respond<T: Serialize>(
        &mut self,
        ticket: Ticket,
        outcome: Result<T, CommandError>,
    ) -> Result<(), RespondError> {
        let waits = self.running.iter().position(|running| running.ticket == ticket);
        let at = waits.ok_or(RespondError::NotOutstanding)?;
        let Running { id, .. } = self.running.swap_remove(at);
        let written = match outcome {
            Ok(value) => self.succeed(&value, id.as_ref()),
            Err(error) => {
                self.refuse(&error, id.as_ref());
                Ok(())
            }
        };
        self.progress();
        written
    }

    /// Sends an event. Tells whether it goes out: not before the client has negotiated, not after
    /// [`close`](Self::close), not while too much waits for a client that does not read, and not if
    /// its data is no JSON.
    pub fn event(&mut self, event: &Event) -> bool {
        self.phase == Phase::Ready
            && self.has_room()
            && message::event(self.wire.text(), event, self.config.pretty).is_some()
    }

    /// Ends the connection in an orderly way, as QEMU does after `quit`: nothing is read any more,
    /// commands that were not answered are not answered any more, and when everything written has
    /// been sent, [`Output::Closed`] comes.
    ///
    /// Close the transport in two steps then. End its stream to the client, then read and drop what comes
    /// until the client leaves, for a second at most. A client that writes a command and its newline in two
    /// writes gets an error otherwise, and over TCP it loses the last reply.
    pub fn close(&mut self) {
        self.leave(CloseReason::Requested);
    }

    /// Sends an error without an id, and ends the connection as [`close`](Self::close) does. It names the reason
    /// why a client is not served, for instance that there are too many.
    pub fn turn_away(&mut self, reason: &CommandError) {
        if self.is_open() {
            self.refuse(reason, None);
            self.close();
        }
    }

    /// What to send now; `None` if nothing.
    pub fn transmit(&self) -> Option<&[u8]> {
        self.wire.lend().map(|transmit| transmit.bytes)
    }

    /// Notes that the transport took the first `n` bytes of what [`transmit`](Self::transmit) lent.
    ///
    /// A count beyond what was lent is taken as all of it.
    pub fn advance(&mut self, n: usize) {
        self.wire.advance(n);
        self.end_if_sent();
        self.progress();
    }

    /// What has happened, the oldest first. Call it until it gives `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Where the connection stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the client enabled out-of-band execution.
    pub fn oob_enabled(&self) -> bool {
        self.oob
    }

    /// How the connection ended, once it has.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.close_reason.as_ref().filter(|_| self.phase == Phase::Closed)
    }
}
