//! Commands that wait for their turn, encoded already.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::Serialize;

use crate::command::Request;
use crate::encode::{self, Prepared};
use crate::error::Refusal;

/// Commands in the order in which they were asked for. Their texts stand in one buffer, so that
/// many of them go out in one write.
#[derive(Debug)]
pub(crate) struct Queue<F> {
    text: Vec<u8>,
    /// What stands before this in `text` was taken already.
    head: usize,
    commands: VecDeque<Queued<F>>,
}

/// A command that is not claimed yet.
#[derive(Debug)]
pub(crate) struct Queued<F> {
    pub(crate) id: u64,
    pub(crate) quit: bool,
    pub(crate) out_of_band: bool,
    pub(crate) descriptor: Option<F>,
    length: usize,
}

impl<F> Queue<F> {
    pub(crate) fn new() -> Self {
        Self { text: Vec::new(), head: 0, commands: VecDeque::new() }
    }

    pub(crate) fn commands(&self) -> usize {
        self.commands.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len() - self.head
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
        let (quit, out_of_band) = (request.is_quit(), request.out_of_band);
        self.finish(
            Queued { id, quit, out_of_band, descriptor: request.descriptor, length: 0 },
            start,
        );
        Ok(())
    }

    /// Puts an encoded request behind the others.
    pub(crate) fn push_prepared(&mut self, prepared: Prepared<F>, id: u64) {
        let Prepared { text, quit, out_of_band, descriptor } = prepared;
        let start = self.text.len();
        self.text.extend_from_slice(&text);
        self.finish(Queued { id, quit, out_of_band, descriptor, length: 0 }, start);
    }

    fn finish(&mut self, command: Queued<F>, start: usize) {
        encode::finish(&mut self.text, command.id, command.quit);
        let length = self.text.len() - start;
        self.commands.push_back(Queued { length, ..command });
    }

    /// Moves the first command's text to the end of `wire`.
    pub(crate) fn pop_into(&mut self, wire: &mut Vec<u8>) -> Option<Queued<F>> {
        let command = self.commands.pop_front()?;
        if self.commands.is_empty() && self.head == 0 && wire.is_empty() {
            core::mem::swap(wire, &mut self.text);
            return Some(command);
        }
        let end = self.head + command.length;
        wire.extend_from_slice(&self.text[self.head..end]);
        self.head = end;
        self.give_back_room();
        Some(command)
    }

    /// Takes one command out of the middle.
    pub(crate) fn withdraw(&mut self, id: u64) -> Option<Queued<F>> {
        let index = self.commands.iter().position(|command| command.id == id)?;
        let before = self.commands.iter().take(index).map(|command| command.length).sum::<usize>();
        let command = self.commands.remove(index)?;
        let start = self.head + before;
        self.text.drain(start..start + command.length);
        self.give_back_room();
        Some(command)
    }

    /// Takes all commands out.
    pub(crate) fn clear(&mut self) -> VecDeque<Queued<F>> {
        self.text = Vec::new();
        self.head = 0;
        core::mem::take(&mut self.commands)
    }

    fn give_back_room(&mut self) {
        if self.commands.is_empty() {
            self.text.clear();
            self.text.shrink_to(super::KEPT_BUFFER);
            self.head = 0;
        } else if self.head > self.text.len() / 2 {
            self.text.drain(..self.head);
            self.head = 0;
        }
    }
}
