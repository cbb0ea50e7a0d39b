//! Whose turn it is to receive, where callers are tasks: a caller's while its command is the only one,
//! and else the driver's.
//!
//! A caller that has the turn receives its reply itself, and leaves it at that. What else may come is the
//! driver's, who looks after a moment whether callers still come, and receives when none has. So it is
//! also when one has the turn and is never polled again. With several commands outstanding it does not
//! wait that long. While a task waits for an event or for a state of the connection, no caller takes the
//! turn: the driver receives everything.

use std::task::Waker;

use qmp_proto::CommandId;

use super::SharedConnection;
use super::slots::Slot;

#[derive(Debug)]
pub(super) struct Turn {
    /// The caller who has it. If none, it is the driver's.
    pub(super) caller: Option<CommandId>,
    /// How many callers have had it.
    taken: u64,
    /// How many commands in a row were the only one, each in its time.
    lone: u32,
    /// The driver will look before long whether callers still come.
    watched: bool,
}

/// After so many lone commands in a row, the next one is taken for one too.
const LONE: u32 = 4;

/// So often a caller lets other tasks run before it receives: they may have commands too.
const YIELDS: u64 = 32;

/// What the caller does whose command is the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It leaves it to the driver: others came lately, and may again, so that all go in one write.
    Leaves,
    /// It sends, and the driver receives.
    Sends,
    /// It sends, and lets other tasks run before it receives.
    Yields,
    /// It sends and receives.
    AtOnce,
}

impl Manner {
    /// Returns whether the caller takes the turn.
    pub(crate) fn receives(self) -> bool {
        matches!(self, Self::Yields | Self::AtOnce)
    }
}

impl Turn {
    pub(super) fn new() -> Self {
        // What the first command shall be taken for: the second lone one.
        Self { caller: None, taken: 0, lone: 1, watched: false }
    }

    fn manner(&self) -> Manner {
        match self.lone {
            0 | 1 => Manner::Leaves,
            ..=LONE => Manner::Yields,
            _ if self.taken % YIELDS == 0 => Manner::Yields,
            _ => Manner::AtOnce,
        }
    }

    /// A command was accepted, alone or not.
    pub(super) fn note(&mut self, alone: bool) {
        self.lone = if alone { self.lone.saturating_add(1) } else { 0 };
    }
}

impl SharedConnection {
    /// Hands the turn to a caller whose command is the only one, unless a task waits for more than replies.
    /// Returns what the caller does, and whether the driver already event_waiters for callers.
    pub(crate) fn take_turn(&self, id: CommandId) -> (Manner, bool) {
        let mut state = self.lock();
        let manner = match state.turn.manner() {
            Manner::Yields | Manner::AtOnce if state.awaits_more() => Manner::Sends,
            manner => manner,
        };
        if manner.receives() {
            state.turn.caller = Some(id);
            state.turn.taken += 1;
        }
        (manner, state.turn.watched)
    }

    /// Returns whether the driver leaves receiving to callers.
    pub(crate) fn is_left_to_callers(&self) -> bool {
        self.lock().turn.watched
    }

    /// There is something to receive: whom to wake for it, if not the driver. Who has the turn and left
    /// no waker has lost it.
    pub(crate) fn summon(&self) -> Option<Waker> {
        let mut state = self.lock();
        let caller = state.turn.caller?;
        let waker = match state.slots.get_mut(&caller) {
            Some(Slot::Waiting(waker)) => waker.take(),
            _ => None,
        };
        if waker.is_none() {
            state.turn.caller = None;
        }
        waker
    }

    /// For the driver: whether it is to receive. Unless it `has_to`, it leaves that to callers while they
    /// come one at a time.
    pub(crate) fn relieve(&self, has_to: bool) -> bool {
        let mut state = self.lock();
        let relieves = has_to || !state.turn.watched || state.slots.len() > 1;
        if relieves {
            state.turn.caller = None;
        }
        relieves
    }

    /// For the driver, when its patience is over: whether callers have come since it had seen so many, and
    /// no task waits for more than replies. It will be patient once more then. Otherwise the turn is its own.
    pub(crate) fn callers_come(&self, seen: &mut u64) -> bool {
        let mut state = self.lock();
        let come = state.turn.taken != *seen && !state.awaits_more();
        *seen = state.turn.taken;
        state.turn.watched = come;
        if !come {
            state.turn.caller = None;
        }
        come
    }
}
