//! How many commands may be in flight, and which may go next.
//!
//! In flight is what was claimed for sending and has not been answered, whether or not anybody
//! still waits for the answer. With out-of-band execution QEMU suspends its parser when eight
//! in-band commands are in flight, and then an out-of-band command waits behind all of them; so
//! one fewer is the default there.

use alloc::collections::VecDeque;
use core::ops::Range;

use crate::connection::outbound::queue::Queued;

/// QEMU's queue with out-of-band execution on, the running command included.
const OOB_LIMIT: usize = 8;
const OOB_DEFAULT: usize = 7;
const DEFAULT: usize = 64;

/// The commands in flight.
#[derive(Debug)]
pub(crate) struct Window {
    wanted: Option<usize>,
    oob: bool,
    /// In the order of their ids.
    flights: VecDeque<Flight>,
    in_band: usize,
    descriptors: usize,
    /// `quit` is on its way, or done: nothing goes behind it.
    quit: Option<u64>,
}

/// A command in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) id: u64,
    pub(crate) quit: bool,
    /// Nobody waits for the reply any more.
    pub(crate) cancelled: bool,
    /// A success may have no reply.
    pub(crate) no_reply: bool,
    /// The position of its first byte on the wire, and that behind its last.
    pub(crate) start: u64,
    pub(crate) end: u64,
    out_of_band: bool,
    descriptor: bool,
}

impl Window {
    pub(crate) fn new(wanted: Option<usize>) -> Self {
        Self {
            wanted,
            oob: false,
            flights: VecDeque::new(),
            in_band: 0,
            descriptors: 0,
            quit: None,
        }
    }

    /// Out-of-band execution was negotiated.
    pub(crate) fn enable_oob(&mut self) {
        self.oob = true;
    }

    pub(crate) fn oob(&self) -> bool {
        self.oob
    }

    /// How many in-band commands may be in flight.
    fn limit(&self) -> usize {
        match self.oob {
            true => self.wanted.unwrap_or(OOB_DEFAULT).clamp(1, OOB_LIMIT),
            false => self.wanted.unwrap_or(DEFAULT).max(1),
        }
    }

    /// Whether this command may be claimed now.
    pub(crate) fn admits<F>(&self, command: &Queued<F>) -> bool {
        // QEMU keeps one descriptor a connection, and with out-of-band execution on it installs
        // the wrong one when a second arrives before the first is used.
        let barrier = self.oob && self.descriptors > 0 && command.descriptor.is_some();
        let room = command.out_of_band || self.in_band < self.limit();
        self.quit.is_none() && room && !barrier
    }

    /// A command was claimed; its bytes are at `positions`.
    pub(crate) fn enter<F>(&mut self, command: &Queued<F>, positions: Range<u64>) {
        let flight = Flight {
            id: command.id,
            quit: command.quit,
            cancelled: false,
            no_reply: command.no_reply,
            start: positions.start,
            end: positions.end,
            out_of_band: command.out_of_band,
            descriptor: command.descriptor.is_some(),
        };
        self.in_band += usize::from(!flight.out_of_band);
        self.descriptors += usize::from(flight.descriptor);
        if flight.quit {
            self.quit = Some(flight.id);
        }
        let at = self.flights.partition_point(|other| other.id < flight.id);
        self.flights.insert(at, flight);
    }

    /// A reply came. After an error to `quit` the machine lives on, and sending too.
    pub(crate) fn leave(&mut self, id: u64, success: bool) -> Option<Flight> {
        let flight = match self.find(id)? {
            // In order, as a rule.
            0 => self.flights.pop_front()?,
            at => self.flights.remove(at)?,
        };
        self.in_band -= usize::from(!flight.out_of_band);
        self.descriptors -= usize::from(flight.descriptor);
        if flight.quit && !success {
            self.quit = None;
        }
        Some(flight)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Flight> {
        self.flights.get(self.find(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Flight> {
        let at = self.find(id)?;
        self.flights.get_mut(at)
    }

    fn find(&self, id: u64) -> Option<usize> {
        match self.flights.front()?.id {
            first if first == id => Some(0),
            _ => self.flights.binary_search_by_key(&id, |flight| flight.id).ok(),
        }
    }

    /// Whether `quit` was claimed and not refused by the server.
    pub(crate) fn quitting(&self) -> bool {
        self.quit.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.flights.len()
    }

    /// The ids of two commands in flight that begin before `position`, as far as there are any.
    pub(crate) fn two_begun(&self, position: u64) -> [Option<u64>; 2] {
        let begun = self.flights.iter().filter(|flight| flight.start < position);
        let mut ids = begun.map(|flight| flight.id);
        [ids.next(), ids.next()]
    }

    /// Takes all of them out.
    pub(crate) fn clear(&mut self) -> VecDeque<Flight> {
        self.in_band = 0;
        self.descriptors = 0;
        core::mem::take(&mut self.flights)
    }
}
