//! Commands that wait for their turn, encoded already.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;

use crate::codec::encode::{self, Prepared};
use crate::connection::config::Dialect;
use crate::payload::command::Request;
use crate::payload::error::Refusal;

/// Commands in the order in which they were asked for. Their texts stand in one buffer, so that
/// many of them go out in one write.
pub(crate) struct Queue<F> {
    dialect: Dialect,
    text: Vec<u8>,
    /// What stands before this in `text` was taken already.
    head: usize,
    /// In the order of their ids. Withdrawn ones stay until they come to the front or are most of
    /// all, so that withdrawing costs little; the first one is never withdrawn.
    commands: VecDeque<Queued<F>>,
    live: usize,
    live_bytes: usize,
}

/// A command that is not claimed yet.
#[derive(Debug)]
pub(crate) struct Queued<F> {
    pub(crate) id: u64,
    pub(crate) quit: bool,
    pub(crate) out_of_band: bool,
    pub(crate) no_reply: bool,
    pub(crate) descriptor: Option<F>,
    length: usize,
    withdrawn: bool,
}

impl<F> Queue<F> {
    pub(crate) fn new(dialect: Dialect) -> Self {
        let (text, commands) = (Vec::new(), VecDeque::new());
        Self { dialect, text, head: 0, commands, live: 0, live_bytes: 0 }
    }

    pub(crate) fn commands(&self) -> usize {
        self.live
    }

    pub(crate) fn bytes(&self) -> usize {
        self.live_bytes
    }

    pub(crate) fn front(&self) -> Option<&Queued<F>> {
        self.commands.front()
    }

    /// Encodes a request behind the others.
    pub(crate) fn push<A: Serialize>(
        &mut self,
        request: Request<A, F>,
        id: u64,
    ) -> Result<(), Refusal> {
        let start = self.text.len();
        encode::append(&mut self.text, &request).inspect_err(|_| self.give_back_room())?;
        let command = Queued {
            id,
            quit: request.is_quit(),
            out_of_band: request.out_of_band,
            no_reply: request.no_reply,
            descriptor: request.descriptor,
            length: 0,
            withdrawn: false,
        };
        self.finish(start, command);
        Ok(())
    }

    /// Puts an encoded request behind the others.
    pub(crate) fn push_prepared(&mut self, prepared: Prepared<F>, id: u64) {
        let Prepared { text, quit, out_of_band, no_reply, descriptor, .. } = prepared;
        let start = self.text.len();
        self.text.extend_from_slice(&text);
        let (length, withdrawn) = (0, false);
        let command = Queued { id, quit, out_of_band, no_reply, descriptor, length, withdrawn };
        self.finish(start, command);
    }

    /// Ends the command whose text begins at `start`. Whether a guest agent gets its id is decided only
    /// when the command is claimed, so its text has no end before that.
    fn finish(&mut self, start: usize, mut command: Queued<F>) {
        if self.dialect == Dialect::Qmp {
            encode::finish(&mut self.text, Some(command.id), command.quit);
        }
        command.length = self.text.len() - start;
        self.live += 1;
        self.live_bytes += command.length;
        self.commands.push_back(command);
    }

    /// Moves the first command's text to the end of `wire`. A guest agent that echoes ids gets one.
    pub(crate) fn pop_into(&mut self, wire: &mut Vec<u8>, echoes: bool) -> Option<Queued<F>> {
        let command = self.pop_text_into(wire)?;
        if self.dialect == Dialect::GuestAgent {
            encode::finish(wire, echoes.then_some(command.id), command.quit);
        }
        Some(command)
    }

    fn pop_text_into(&mut self, wire: &mut Vec<u8>) -> Option<Queued<F>> {
        let command = self.commands.pop_front()?;
        self.live -= 1;
        self.live_bytes -= command.length;
        if self.commands.is_empty() && self.head == 0 && wire.is_empty() {
            core::mem::swap(wire, &mut self.text);
            return Some(command);
        }
        let end = self.head + command.length;
        wire.extend_from_slice(&self.text[self.head..end]);
        self.head = end;
        self.drop_leading();
        Some(command)
    }

    /// Takes one command out of the middle; gives its descriptor, if it had one.
    pub(crate) fn withdraw(&mut self, id: u64) -> Option<Option<F>> {
        let index = self.commands.binary_search_by_key(&id, |command| command.id).ok()?;
        let command = self.commands.get_mut(index).filter(|command| !command.withdrawn)?;
        command.withdrawn = true;
        let descriptor = command.descriptor.take();
        self.live -= 1;
        self.live_bytes -= command.length;
        self.drop_leading();
        if self.text.len() - self.head > 2 * self.live_bytes + crate::KEPT_BUFFER {
            self.compact();
        }
        Some(descriptor)
    }

    /// Takes all commands out; gives their ids.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = u64> + use<F> {
        let commands = core::mem::replace(self, Self::new(self.dialect)).commands;
        commands.into_iter().filter(|command| !command.withdrawn).map(|command| command.id)
    }

    /// Passes over withdrawn commands at the front, and gives back the room before it.
    fn drop_leading(&mut self) {
        while let Some(command) = self.commands.front().filter(|command| command.withdrawn) {
            self.head += command.length;
            self.commands.pop_front();
        }
        self.give_back_room();
    }

    fn give_back_room(&mut self) {
        if self.commands.is_empty() {
            self.text.clear();
            self.text.shrink_to(crate::KEPT_BUFFER);
            self.head = 0;
        } else if self.head > self.text.len() / 2 {
            self.text.drain(..self.head);
            self.head = 0;
        }
    }

    /// Writes the text anew without what was withdrawn.
    fn compact(&mut self) {
        let mut text = Vec::with_capacity(self.live_bytes);
        let mut at = self.head;
        for command in &self.commands {
            if !command.withdrawn {
                text.extend_from_slice(&self.text[at..at + command.length]);
            }
            at += command.length;
        }
        self.commands.retain(|command| !command.withdrawn);
        self.text = text;
        self.head = 0;
    }
}

/// Counts alone: arguments may hold secrets.
impl<F> fmt::Debug for Queue<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} commands, {} bytes)", self.live, self.live_bytes)
    }
}
