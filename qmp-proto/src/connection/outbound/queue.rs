//! Queued commands: accepted, encoded, and not committed yet.

use alloc::collections::VecDeque;
use core::fmt;

use crate::codec::encode::Prepared;

/// How many commands there is room for when none is queued.
const KEPT: usize = 64;

/// Commands in the order in which they were accepted.
pub(crate) struct Queue<F> {
    /// In the order of their ids. The first one is never withdrawn.
    commands: VecDeque<Queued<F>>,
    /// The withdrawn ones among them. Once they are the majority, they are removed, so withdrawing takes
    /// constant time on average.
    withdrawn: usize,
    bytes: usize,
}

struct Queued<F> {
    id: u64,
    /// `None` if it was withdrawn.
    command: Option<Prepared<F>>,
}

impl<F> Queue<F> {
    pub(crate) fn new() -> Self {
        Self { commands: VecDeque::new(), withdrawn: 0, bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.commands.len() - self.withdrawn
    }

    /// The length of all texts.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn front(&self) -> Option<&Prepared<F>> {
        self.commands.front()?.command.as_ref()
    }

    pub(crate) fn push(&mut self, id: u64, command: Prepared<F>) {
        self.bytes += command.text.len();
        self.commands.push_back(Queued { id, command: Some(command) });
    }

    /// Removes the first command; returns it with its id.
    pub(crate) fn pop(&mut self) -> Option<(u64, Prepared<F>)> {
        let Queued { id, command } = self.commands.pop_front()?;
        let command = command?;
        self.bytes -= command.text.len();
        self.drop_withdrawn();
        if self.commands.is_empty() {
            self.commands.shrink_to(KEPT);
        }
        Some((id, command))
    }

    /// Removes a command wherever it stands.
    pub(crate) fn withdraw(&mut self, id: u64) -> Option<Prepared<F>> {
        let index = self.commands.binary_search_by_key(&id, |queued| queued.id).ok()?;
        let command = self.commands.get_mut(index)?.command.take()?;
        self.bytes -= command.text.len();
        self.withdrawn += 1;
        self.drop_withdrawn();
        Some(command)
    }

    fn drop_withdrawn(&mut self) {
        while self.commands.front().is_some_and(|queued| queued.command.is_none()) {
            self.commands.pop_front();
            self.withdrawn -= 1;
        }
        if self.withdrawn > self.commands.len() / 2 {
            self.commands.retain(|queued| queued.command.is_some());
            self.withdrawn = 0;
        }
    }

    /// Removes all commands; returns their ids.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = u64> + use<F> {
        let commands = core::mem::replace(self, Self::new()).commands;
        commands.into_iter().filter(|queued| queued.command.is_some()).map(|queued| queued.id)
    }
}

/// Counts only: arguments may hold secrets.
impl<F> fmt::Debug for Queue<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} commands, {} bytes)", self.len(), self.bytes)
    }
}
