//! Commands on their way out: queued in `queue`, committed once `in_flight` admits them, and kept in `send_buffer` until
//! the transport has taken their bytes.
//!
//! This file has the way from one to the next.

pub(crate) mod queue;
pub(crate) mod in_flight;
pub(crate) mod send_buffer;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::Serialize;

use crate::codec::encode::{self, Prepared};
use crate::connection::outbound::in_flight::{Committed, InFlight};
use crate::connection::outbound::queue::{Queue, Queued};
use crate::connection::outbound::send_buffer::{SendBuffer, Transmit};
use crate::connection::timers::{Deadlines, Instant};
use crate::payload::command::{CommandId, Request};
use crate::payload::error::Refusal;

/// All commands of a connection that have not ended, and their bytes.
#[derive(Debug)]
pub(crate) struct Outbound<F> {
    /// Ids are given in this order, and none twice.
    next_id: u64,
    in_band: Queue<F>,
    out_of_band: Queue<F>,
    in_flight: InFlight,
    deadlines: Deadlines,
    send_buffer: SendBuffer<F>,
}

/// How much of a committed command has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Nothing,
    Part,
    All,
}

impl<F> Outbound<F> {
    pub(crate) fn new(first_id: u64, in_flight_limit: Option<usize>) -> Self {
        Self {
            next_id: first_id,
            in_band: Queue::new(),
            out_of_band: Queue::new(),
            in_flight: InFlight::new(in_flight_limit),
            deadlines: Deadlines::default(),
            send_buffer: SendBuffer::new(),
        }
    }

    /// The commands in flight.
    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Out-of-band execution was negotiated.
    pub(crate) fn enable_oob(&mut self) {
        self.in_flight.enable_oob();
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Whether an id below the next one is a command's.
    pub(crate) fn has_given(&self, id: u64) -> bool {
        (1..self.next_id).contains(&id)
    }

    /// How many commands are queued.
    pub(crate) fn queued(&self) -> usize {
        self.in_band.len() + self.out_of_band.len()
    }

    /// How many commands are queued or in flight.
    pub(crate) fn outstanding(&self) -> usize {
        self.queued() + self.in_flight.len()
    }

    /// Queues a command, if all queued texts have at most so many bytes. One command alone is always taken.
    pub(crate) fn push(
        &mut self,
        command: Prepared<F>,
        deadline: Option<Instant>,
        max_bytes: usize,
    ) -> Result<CommandId, Refusal> {
        let bytes = self.in_band.bytes() + self.out_of_band.bytes() + command.text.len();
        if bytes > max_bytes && self.queued() > 0 {
            return Err(Refusal::QueueFull);
        }
        let id = self.next_id();
        self.deadlines.insert(deadline, id);
        let queue = if command.out_of_band { &mut self.out_of_band } else { &mut self.in_band };
        queue.push(Queued { id, command, deadline });
        Ok(CommandId(id))
    }

    /// Removes a queued command.
    pub(crate) fn withdraw(&mut self, id: CommandId) -> Option<Prepared<F>> {
        let queued = self.in_band.withdraw(id.0).or_else(|| self.out_of_band.withdraw(id.0))?;
        self.deadlines.remove(queued.deadline, id.0);
        Some(queued.command)
    }

    /// Commits the next command, out-of-band ones first, if one is admitted. Its id is written if the peer is to
    /// get one.
    pub(crate) fn commit_next(&mut self, with_id: bool) -> bool {
        let in_flight = &self.in_flight;
        let admitted =
            |queue: &&mut Queue<F>| queue.front().is_some_and(|command| in_flight.admits(command));
        let mut queues = [&mut self.out_of_band, &mut self.in_band].into_iter();
        let Some(mut queued) = queues.find(admitted).and_then(Queue::pop) else {
            return false;
        };
        let start = self.send_buffer.end();
        let text = self.send_buffer.append(core::mem::take(&mut queued.command.text));
        encode::finish(text, with_id.then_some(queued.id), queued.command.quit);
        self.in_flight.add(&queued, start..self.send_buffer.end());
        if let Some(descriptor) = queued.command.descriptor {
            self.send_buffer.attach(descriptor, start);
        }
        true
    }

    /// Commits a command of the connection's own, which is not in flight: `qmp_capabilities` or
    /// `guest-sync-delimited`, after a `prefix`.
    pub(crate) fn commit_own(
        &mut self,
        prefix: &[u8],
        name: &'static str,
        arguments: impl Serialize,
        id: Option<u64>,
    ) {
        let text = self.send_buffer.text();
        text.extend_from_slice(prefix);
        // Neither name nor arguments can be refused.
        let _ = encode::append(text, &Request::<_, F>::new(name).arguments(arguments));
        encode::finish(text, id, false);
    }

    pub(crate) fn transmit(&self) -> Option<Transmit<'_, F>> {
        self.send_buffer.lend()
    }

    pub(crate) fn advance(&mut self, n: usize) {
        self.send_buffer.advance(n);
    }

    /// Whether all committed bytes have been sent.
    pub(crate) fn all_sent(&self) -> bool {
        self.send_buffer.is_empty()
    }

    /// How many bytes have been sent since the connection began.
    pub(crate) fn position(&self) -> u64 {
        self.send_buffer.position()
    }

    /// How much of a command in flight has been sent.
    pub(crate) fn sent(&self, command: &Committed) -> Sent {
        match self.position() {
            sent if sent <= command.positions.start => Sent::Nothing,
            sent if sent < command.positions.end => Sent::Part,
            _ => Sent::All,
        }
    }

    /// How much of the command with this id has been sent, if it is in flight.
    pub(crate) fn sent_of(&self, id: CommandId) -> Option<Sent> {
        self.in_flight.get(id.0).map(|command| self.sent(command))
    }

    /// The first two commands in flight of which a byte has been sent.
    pub(crate) fn two_begun(&self) -> [Option<u64>; 2] {
        self.in_flight.two_before(self.position())
    }

    /// Whether all of `quit` has been sent. No command follows it.
    pub(crate) fn quit_sent(&self) -> bool {
        self.in_flight.quitting() && self.all_sent()
    }

    /// Marks a command in flight as cancelled. `None` if there is none, or if it is cancelled already.
    pub(crate) fn cancel(&mut self, id: CommandId) -> Option<&Committed> {
        let command = self.in_flight.get_mut(id.0).filter(|command| !command.cancelled)?;
        command.cancelled = true;
        self.deadlines.remove(command.deadline.take(), id.0);
        Some(command)
    }

    /// A reply came. Returns its command, if that is in flight.
    pub(crate) fn answered(&mut self, id: u64, success: bool) -> Option<Committed> {
        let command = self.in_flight.remove(id, success)?;
        self.deadlines.remove(command.deadline, id);
        Some(command)
    }

    /// Removes all queued commands; returns their ids in order.
    pub(crate) fn clear_queued(&mut self) -> Vec<u64> {
        let mut ids = Vec::with_capacity(self.queued());
        for queued in self.in_band.clear().chain(self.out_of_band.clear()) {
            self.deadlines.remove(queued.deadline, queued.id);
            ids.push(queued.id);
        }
        ids.sort_unstable();
        ids
    }

    /// Removes all commands in flight. [`sent`](Self::sent) still tells how much of each was sent.
    pub(crate) fn clear_in_flight(&mut self) -> VecDeque<Committed> {
        let commands = self.in_flight.clear();
        for command in &commands {
            self.deadlines.remove(command.deadline, command.id);
        }
        commands
    }

    /// The earliest deadline of a command.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// A command whose deadline has passed. It is returned once.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<CommandId> {
        self.deadlines.pop_due(now)
    }

    /// Drops the committed bytes that are not sent.
    pub(crate) fn clear_send_buffer(&mut self) {
        self.send_buffer.clear();
    }
}
