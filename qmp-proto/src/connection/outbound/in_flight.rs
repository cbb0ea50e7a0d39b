//! Commands in flight: committed, and not answered.
//!
//! A command is in flight until its reply comes, even if it was cancelled. With out-of-band execution QEMU suspends its
//! parser when eight in-band commands are in flight, and an out-of-band command then waits for all of them. So one
//! fewer is the default there.

use alloc::collections::VecDeque;
use core::ops::Range;

use crate::codec::encode::Prepared;
use crate::connection::outbound::queue::Queued;
use crate::connection::timers::Instant;

/// QEMU's queue with out-of-band execution on, the running command included.
const OOB_LIMIT: usize = 8;
const OOB_DEFAULT: usize = 7;
const DEFAULT: usize = 64;

#[derive(Debug)]
pub(crate) struct InFlight {
    /// The limit that the application asked for.
    wanted: Option<usize>,
    oob: bool,
    /// In the order of their ids.
    commands: VecDeque<Committed>,
    in_band: usize,
    descriptors: usize,
    /// The id of a `quit` that was not refused: no command follows it.
    quit: Option<u64>,
}

/// A committed command.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) id: u64,
    pub(crate) quit: bool,
    /// The application does not wait for the reply.
    pub(crate) cancelled: bool,
    /// A success may have no reply.
    pub(crate) no_reply: bool,
    /// Its bytes on the wire.
    pub(crate) positions: Range<u64>,
    pub(crate) deadline: Option<Instant>,
    out_of_band: bool,
    descriptor: bool,
}

impl InFlight {
    pub(crate) fn new(wanted: Option<usize>) -> Self {
        Self {
            wanted,
            oob: false,
            commands: VecDeque::new(),
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

    /// Whether this command may be committed now.
    pub(crate) fn admits<F>(&self, command: &Prepared<F>) -> bool {
        // QEMU keeps one descriptor per connection, and with out-of-band execution on it installs
        // the wrong one if a second arrives before the first is used.
        let barrier = self.oob && self.descriptors > 0 && command.descriptor.is_some();
        let room = command.out_of_band || self.in_band < self.limit();
        self.quit.is_none() && room && !barrier
    }

    /// A command was committed, with its bytes at `positions`.
    pub(crate) fn add<F>(&mut self, queued: &Queued<F>, positions: Range<u64>) {
        let (id, command) = (queued.id, &queued.command);
        let committed = Committed {
            id,
            quit: command.quit,
            cancelled: false,
            no_reply: command.no_reply,
            positions,
            deadline: queued.deadline,
            out_of_band: command.out_of_band,
            descriptor: command.descriptor.is_some(),
        };
        self.in_band += usize::from(!committed.out_of_band);
        self.descriptors += usize::from(committed.descriptor);
        if committed.quit {
            self.quit = Some(id);
        }
        let at = self.commands.partition_point(|other| other.id < id);
        self.commands.insert(at, committed);
    }

    /// Removes an answered command. After an error to `quit` the server lives on, and commands are sent again.
    pub(crate) fn remove(&mut self, id: u64, success: bool) -> Option<Committed> {
        let committed = match self.find(id)? {
            // In order, as a rule.
            0 => self.commands.pop_front()?,
            at => self.commands.remove(at)?,
        };
        self.in_band -= usize::from(!committed.out_of_band);
        self.descriptors -= usize::from(committed.descriptor);
        if committed.quit && !success {
            self.quit = None;
        }
        Some(committed)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Committed> {
        self.commands.get(self.find(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Committed> {
        let at = self.find(id)?;
        self.commands.get_mut(at)
    }

    fn find(&self, id: u64) -> Option<usize> {
        match self.commands.front()?.id {
            first if first == id => Some(0),
            _ => self.commands.binary_search_by_key(&id, |command| command.id).ok(),
        }
    }

    /// Whether `quit` was committed and not refused by the server.
    pub(crate) fn quitting(&self) -> bool {
        self.quit.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    /// The id of the first command: of the only one, with a guest agent.
    pub(crate) fn first(&self) -> Option<u64> {
        self.commands.front().map(|command| command.id)
    }

    /// The ids of the first two commands that begin before `position`.
    pub(crate) fn two_before(&self, position: u64) -> [Option<u64>; 2] {
        let before = self.commands.iter().filter(|command| command.positions.start < position);
        let mut ids = before.map(|command| command.id);
        [ids.next(), ids.next()]
    }

    /// Removes all commands.
    pub(crate) fn clear(&mut self) -> VecDeque<Committed> {
        self.in_band = 0;
        self.descriptors = 0;
        core::mem::take(&mut self.commands)
    }
}
