//! Top-level JSON objects out of a byte stream, by bracket and string.
//!
//! An object that lies whole in the input is lent from there; of one that does not, the bytes are
//! kept. Where it ends, and where its members are, is found by the scanner on the way, so that nobody
//! has to look again.
//!
//! Brackets and limits are checked, nothing else: whether the text between them is JSON is found out
//! by whoever decodes it.

use alloc::vec::Vec;
use core::{fmt, mem};

use bytes::Bytes;

use crate::codec::scanner::Scanner;
pub(crate) use crate::codec::scanner::{MAX_DEPTH, Member};
use crate::codec::text::Text;
use crate::connection::close::Violation;

/// What comes in pieces mostly has as many bytes: so a buffer begins with room for them.
pub(crate) const LEAST_BUFFER: usize = 256;

/// An object that has come whole: its bytes, and where its members are.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) text: Text<'a>,
    pub(crate) members: &'a [Member],
}

/// Finds the objects. Holds at most one unfinished object of at most `max_message` bytes.
pub(crate) struct Framer {
    max_message: usize,
    scanner: Scanner,
    /// What has come of an object whose end has not, or the last object.
    buffer: Vec<u8>,
    /// The object in the buffer has ended.
    ended: bool,
}

impl Framer {
    pub(crate) fn new(max_message: usize, max_depth: usize) -> Self {
        Self { max_message, scanner: Scanner::new(max_depth), buffer: Vec::new(), ended: false }
    }

    /// Whether the stream stands inside an object.
    pub(crate) fn mid_message(&self) -> bool {
        !self.buffer.is_empty() && !self.ended
    }

    /// How many bytes have come of an object whose end has not.
    pub(crate) fn unfinished(&self) -> usize {
        if self.ended { 0 } else { self.buffer.len() }
    }

    /// Takes one object from the front of `input`, or all of `input` where none ends in it.
    ///
    /// After an error the framer must not be used again.
    #[inline]
    pub(crate) fn next<'a, 'input: 'a>(
        &'a mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<Frame<'a>>, Violation> {
        if mem::take(&mut self.ended) {
            self.buffer.clear();
        }
        if self.buffer.is_empty() {
            if !self.find_start(input)? {
                return Ok(None);
            }
            self.scanner.restart();
        }
        let Some(end) = self.find_end(input)? else {
            self.append(mem::take(input));
            return Ok(None);
        };
        let (taken, rest) = input.split_at(end);
        *input = rest;
        let text = if self.buffer.is_empty() {
            Text::Lent(taken)
        } else {
            match self.finish(taken) {
                Some(large) => Text::Owned(large),
                None => Text::Lent(&self.buffer),
            }
        };
        Ok(Some(Frame { text, members: self.scanner.members() }))
    }

    /// Passes over what may stand between messages: white space, and 0xFF, with which a parser is
    /// resynchronised. Tells whether an object begins there.
    #[inline]
    fn find_start(&mut self, input: &mut &[u8]) -> Result<bool, Violation> {
        while let Some((&byte, rest)) = input.split_first() {
            match byte {
                b'{' => return Ok(true),
                b' ' | b'\t' | b'\r' | b'\n' | 0xFF => *input = rest,
                byte => return Err(Violation::Garbage { byte }),
            }
            self.scanner.work.note(1);
        }
        Ok(false)
    }

    /// The object ends with this piece. If it is large, the buffer becomes its own; a small one is lent
    /// from there, and the next one will find the room.
    #[inline(never)]
    fn finish(&mut self, last: &[u8]) -> Option<Bytes> {
        self.append(last);
        if self.buffer.capacity() <= LEAST_BUFFER {
            self.ended = true;
            return None;
        }
        self.scanner.work.note(self.buffer.len());
        self.buffer.shrink_to_fit();
        Some(Bytes::from(mem::take(&mut self.buffer)))
    }

    #[inline]
    fn append(&mut self, taken: &[u8]) {
        if self.buffer.capacity() - self.buffer.len() < taken.len() {
            self.make_room(taken.len());
        }
        self.scanner.work.note(taken.len());
        match taken {
            // Less than a call of memcpy takes.
            [byte] => self.buffer.push(*byte),
            _ => self.buffer.extend_from_slice(taken),
        }
    }

    /// Makes room for so many more bytes, as a vector does, by doubling, but never for more than
    /// `max_message`.
    #[cold]
    fn make_room(&mut self, more: usize) {
        let least = (self.buffer.len() + more).max(LEAST_BUFFER);
        let room = least.max(self.buffer.capacity().saturating_mul(2)).min(self.max_message);
        self.scanner.work.note(self.buffer.len());
        self.buffer.reserve_exact(room - self.buffer.len());
    }

    /// Where in `input` the object ends. The verdict on its size does not depend on the chunking.
    #[inline]
    fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, Violation> {
        let room = self.max_message - self.buffer.len();
        let within = &input[..room.min(input.len())];
        match self.scanner.scan(within, self.buffer.len())? {
            None if within.len() == room => Err(Violation::TooLarge { limit: self.max_message }),
            end => Ok(end),
        }
    }
}

/// The length alone of what has come: it may hold secrets.
impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Framer({} bytes of an unfinished message)", self.unfinished())
    }
}

#[cfg(any(test, feature = "__fuzzing"))]
pub mod properties;

#[cfg(test)]
mod tests;
