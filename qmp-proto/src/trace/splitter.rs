//! One side's bytes into messages, and what is none. Nothing is an error here and, but for white
//! space between messages, nothing is lost.
//!
//! The client's framer could not do this: it passes over what it need not know, and ends at the
//! first fault.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::{fmt, mem};

use memchr::memchr3;

/// With it a parser is resynchronised. No JSON has it.
const RESYNC: u8 = 0xFF;

/// A piece of the stream. How it is cut does not depend on how the bytes came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Brackets with what is between them.
    Message(Cow<'a, [u8]>),
    /// A line of something else, or a part of a message that has no end or is too large.
    Other(Cow<'a, [u8]>),
}

/// Where the stream stands between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BetweenMessages,
    /// In what is no message.
    InOther,
    /// In a message, outside its strings.
    InMessage,
    InString,
    /// Behind a backslash in a string.
    Escaped,
}

/// Cuts the stream. Holds at most `max_message` bytes.
pub(super) struct Splitter {
    max_message: usize,
    place: Place,
    depth: usize,
    /// The beginning of this message was given away already.
    cut: bool,
    buffer: Vec<u8>,
}

impl Splitter {
    pub(super) fn new(max_message: usize) -> Self {
        let (max_message, place) = (max_message.max(1), Place::BetweenMessages);
        Self { max_message, place, depth: 0, cut: false, buffer: Vec::new() }
    }

    /// Takes one piece from the front of `input`, or all of `input` where none ends in it.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        self.begin(input);
        let room = self.max_message - self.buffer.len();
        let within = &input[..room.min(input.len())];
        let end = self.scan(within);
        if end.is_none() && within.len() < room {
            self.buffer.extend_from_slice(within);
            *input = &[];
            return None;
        }
        let (taken, rest) = input.split_at(end.unwrap_or(within.len()));
        *input = rest;
        Some(self.piece(taken, end.is_some()))
    }

    /// What has come and has no end.
    pub(super) fn finish(&mut self) -> Option<Piece<'static>> {
        let rest = mem::take(&mut self.buffer);
        self.restart(Place::BetweenMessages);
        (!rest.is_empty()).then_some(Piece::Other(Cow::Owned(rest)))
    }

    /// Passes over white space between messages, and tells by the first byte what follows.
    fn begin(&mut self, input: &mut &[u8]) {
        if self.place == Place::BetweenMessages {
            *input = input.trim_ascii_start();
        }
        let (true, Some(&first)) = (self.buffer.is_empty(), input.first()) else { return };
        match (self.place, first) {
            (_, RESYNC) => self.restart(Place::InOther),
            (Place::BetweenMessages | Place::InOther, b'{') => self.place = Place::InMessage,
            (Place::BetweenMessages, _) => self.place = Place::InOther,
            _ => {}
        }
    }

    fn restart(&mut self, place: Place) {
        self.place = place;
        self.depth = 0;
        self.cut = false;
    }

    /// Makes a piece of what is in the buffer and of what was taken behind it.
    fn piece<'a>(&mut self, taken: &'a [u8], ended: bool) -> Piece<'a> {
        let mut bytes = mem::take(&mut self.buffer);
        let bytes = if bytes.is_empty() {
            Cow::Borrowed(taken)
        } else {
            bytes.extend_from_slice(taken);
            Cow::Owned(bytes)
        };
        let whole = !self.cut && self.depth == 0 && self.place == Place::InMessage;
        if ended {
            self.restart(Place::BetweenMessages);
        } else {
            self.cut = self.place != Place::InOther;
        }
        if whole { Piece::Message(bytes) } else { Piece::Other(bytes) }
    }

    /// Where in `chunk` the piece ends.
    fn scan(&mut self, chunk: &[u8]) -> Option<usize> {
        match self.place {
            Place::BetweenMessages => None,
            Place::InOther => self.scan_other(chunk),
            _ => self.scan_message(chunk),
        }
    }

    /// Up to the line's end, or to what may be a message.
    fn scan_other(&self, chunk: &[u8]) -> Option<usize> {
        let found = memchr::memchr2(b'\n', b'{', chunk)?;
        Some(if chunk[found] == b'\n' { found + 1 } else { found })
    }

    fn scan_message(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            if self.place == Place::InString {
                at += memchr3(b'"', b'\\', RESYNC, &chunk[at..])?;
                self.place = match chunk[at] {
                    b'"' => Place::InMessage,
                    b'\\' => Place::Escaped,
                    _ => return Some(at),
                };
            } else if byte == RESYNC {
                return Some(at);
            } else if self.place == Place::Escaped {
                self.place = Place::InString;
            } else if self.step(byte) {
                return Some(at + 1);
            }
            at += 1;
        }
        None
    }

    /// Takes a byte outside strings; tells whether the message ends with it.
    fn step(&mut self, byte: u8) -> bool {
        match byte {
            b'"' => self.place = Place::InString,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// The length alone of what has come: it may hold secrets.
impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Splitter({} bytes of an unfinished message)", self.buffer.len())
    }
}

#[cfg(test)]
#[path = "splitter_tests.rs"]
mod tests;
