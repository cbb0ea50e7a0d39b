//! One side's stream cut into the lines of a trace, for a replay.

use core::time::Duration;

use super::entry::{Direction, Entry, Payload};
use super::joiner::Joiner;
use super::splitter::{Piece, Splitter};

/// Cuts a stream into lines. Holds at most one message.
pub struct Lines(Joiner);

/// One line.
pub struct Line<'a>(Piece<'a>);

impl Lines {
    /// For messages of at most so many bytes. Short lines are joined as by a recorder, or never.
    pub fn new(max_message: usize, joins: bool) -> Self {
        let splitter = Splitter::new(max_message);
        Self(if joins { Joiner::new(splitter) } else { Joiner::never(splitter) })
    }

    /// Takes one line's bytes from the front of `input`, or all of `input` if no line ends in it.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Line<'a>> {
        self.0.next(input).map(Line)
    }

    /// The bytes that have come and are not a line yet.
    pub fn finish(&mut self) -> Option<Line<'static>> {
        self.0.finish().map(Line)
    }
}

impl Line<'_> {
    /// As they came.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// As a trace has it.
    pub fn into_payload(self) -> Payload {
        Entry::of(Duration::ZERO, Direction::ToServer, self.0).payload
    }
}
