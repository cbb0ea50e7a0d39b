//! A stream cut into the payloads of a trace.

use core::time::Duration;

use super::entry::{Direction, Entry, Payload};
use super::joiner::Joiner;
use super::splitter::{Piece, Splitter};

/// Cuts a stream into payloads. Holds at most one message.
pub struct Payloads(Joiner);

impl Payloads {
    /// For messages of at most so many bytes. Short lines are `joined` as a recorder does, or not at all.
    pub fn new(max_message: usize, joined: bool) -> Self {
        let splitter = Splitter::new(max_message);
        Self(if joined { Joiner::new(splitter) } else { Joiner::never(splitter) })
    }

    /// Takes one payload from the front of `input`, or all of `input` if none ends in it.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Payload> {
        self.0.next(input).map(payload)
    }

    /// The unfinished rest.
    pub fn finish(&mut self) -> Option<Payload> {
        self.0.finish().map(payload)
    }
}

fn payload(piece: Piece<'_>) -> Payload {
    Entry::of(Duration::ZERO, Direction::ToServer, piece).payload
}
