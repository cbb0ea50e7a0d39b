//! Joins short pieces of one side's stream, so that a recording is a small multiple of the stream.
//!
//! A piece becomes a line with a time. That is far more than a piece of one byte. So each line costs some bytes of credit, and each byte
//! of the stream earns one. Without credit for a line, a piece is held and joined to the next one, as bytes.
//!
//! The splitter does not notice it: a message that is joined is still cut as a message, with all that is in it. So a secret
//! stays where it is known as one, and a flood does not change how the stream is read.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::{fmt, mem};

use super::splitter::{Piece, Splitter};

/// Cost of a line, in bytes of credit. The shortest reply, `{"return":{}}`, has 13 bytes.
const COST: usize = 12;

/// Credit at the beginning, and at most after a line.
const ALLOWANCE: usize = 4096;

/// Pieces of a stream, of which short ones are joined. Holds at most `max_message` bytes, and less than a line costs.
pub(super) struct Joiner {
    splitter: Splitter,
    allowance: usize,
    /// Bytes of credit left.
    credit: usize,
    /// Pieces without credit. Each byte has earned one, so they are fewer than a line costs.
    held: Vec<u8>,
}

impl Joiner {
    pub(super) fn new(splitter: Splitter) -> Self {
        Self { splitter, allowance: ALLOWANCE, credit: ALLOWANCE, held: Vec::new() }
    }

    /// Joins nothing.
    pub(super) fn never(splitter: Splitter) -> Self {
        Self { allowance: usize::MAX, credit: usize::MAX, ..Self::new(splitter) }
    }

    /// See [`Splitter::resynchronising`].
    pub(super) fn resynchronising(self) -> Self {
        Self { splitter: self.splitter.resynchronising(), ..self }
    }

    /// Takes one line's bytes from the front of `input`, or all of `input` if no line ends in it.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        loop {
            let before = input.len();
            let piece = self.splitter.next(input);
            self.credit = self.credit.saturating_add(before - input.len());
            let piece = piece?;
            if let Some(rest) = self.credit.checked_sub(COST) {
                self.credit = rest.min(self.allowance);
                return Some(self.with_held(piece));
            }
            self.held.extend_from_slice(piece.bytes());
        }
    }

    /// The bytes that have come and are not a line yet.
    pub(super) fn finish(&mut self) -> Option<Piece<'static>> {
        let rest = self.splitter.finish().unwrap_or(Piece::Other(Cow::Borrowed(b"")));
        let piece = self.with_held(rest);
        (!piece.bytes().is_empty()).then_some(piece)
    }

    fn with_held<'a>(&mut self, piece: Piece<'a>) -> Piece<'a> {
        if self.held.is_empty() {
            return piece;
        }
        let mut bytes = mem::take(&mut self.held);
        bytes.extend_from_slice(piece.bytes());
        Piece::Other(Cow::Owned(bytes))
    }
}

/// Lengths only: the bytes may hold secrets.
impl fmt::Debug for Joiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Joiner({} bytes are held, {:?})", self.held.len(), self.splitter)
    }
}

#[cfg(test)]
mod tests;
