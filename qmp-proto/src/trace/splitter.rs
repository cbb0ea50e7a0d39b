//! One side's bytes into messages, and what is none. Nothing is an error here and, but for white
//! space between pieces, nothing is lost.
//!
//! The client's framer could not do this: it passes over what it need not know, and ends at the
//! first fault. Tokens are the server's, so that what a server reads as a string is one here, single
//! quotes included.
//!
//! A value is known as a secret by where it stands in a message. So in doubt nothing is a message:
//! not what stands behind a fault in the same line, and nothing at all once a message was broken off.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::{fmt, mem};

use memchr::memchr3;

use super::entry;
use crate::codec::qemu::lexer::{Kind, Scanner};
use crate::codec::qemu::reader::{Item, Reader};

/// With it a parser is resynchronised. No JSON has it.
const RESYNC: u8 = 0xFF;

/// A piece of the stream. How it is cut does not depend on how the bytes came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A JSON object.
    Message(Cow<'a, [u8]>),
    /// A line of something else, or a part of a message that has no end or is too large.
    Other(Cow<'a, [u8]>),
}

/// Where the stream stands between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between,
    InMessage,
    InOther,
    /// Behind a message that was broken off: what follows may be what was meant to stand in it.
    Lost,
}

/// Cuts the stream. Holds at most `max_message` bytes.
pub(super) struct Splitter {
    max_message: usize,
    /// Behind a 0xFF it goes on afresh, whatever was before.
    resyncs: bool,
    place: Place,
    scanner: Scanner,
    braces: isize,
    brackets: isize,
    /// Something else stands in this line already.
    tainted: bool,
    /// The beginning of this piece was given away already.
    cut: bool,
    buffer: Vec<u8>,
}

impl Piece<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Message(bytes) | Self::Other(bytes) => bytes,
        }
    }
}

impl Splitter {
    pub(super) fn new(max_message: usize) -> Self {
        Self {
            max_message: max_message.max(1),
            resyncs: false,
            place: Place::Between,
            scanner: Scanner::default(),
            braces: 0,
            brackets: 0,
            tainted: false,
            cut: false,
            buffer: Vec::new(),
        }
    }

    /// In a guest agent's dialect a 0xFF stands only where somebody begins afresh.
    pub(super) fn resynchronising(mut self) -> Self {
        self.resyncs = true;
        self
    }

    /// Takes one piece from the front of `input`, or all of `input` where none ends in it.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        loop {
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
            let bytes = self.take(taken);
            if !bytes.is_empty() {
                return Some(self.piece(bytes, end.is_some()));
            }
            // What was cut has ended where it was cut.
            self.cut = false;
        }
    }

    /// What has come and has no end.
    pub(super) fn finish(&mut self) -> Option<Piece<'static>> {
        let rest = mem::take(&mut self.buffer);
        *self = Self { resyncs: self.resyncs, ..Self::new(self.max_message) };
        (!rest.is_empty()).then_some(Piece::Other(Cow::Owned(rest)))
    }

    /// Passes over white space between pieces, and tells by the first byte what follows.
    fn begin(&mut self, input: &mut &[u8]) {
        if !matches!(self.place, Place::Between | Place::Lost) || !self.buffer.is_empty() {
            return;
        }
        let rest = input.trim_ascii_start();
        self.tainted &= !input[..input.len() - rest.len()].contains(&b'\n');
        *input = rest;
        if let (Place::Between, Some(&first)) = (self.place, input.first()) {
            self.place = if first == b'{' { Place::InMessage } else { Place::InOther };
            self.scanner = Scanner::default();
            (self.braces, self.brackets) = (0, 0);
        }
    }

    /// What is in the buffer, and what was taken behind it.
    fn take<'a>(&mut self, taken: &'a [u8]) -> Cow<'a, [u8]> {
        if self.buffer.is_empty() {
            return Cow::Borrowed(taken);
        }
        self.buffer.extend_from_slice(taken);
        Cow::Owned(mem::take(&mut self.buffer))
    }

    fn piece<'a>(&mut self, bytes: Cow<'a, [u8]>, ended: bool) -> Piece<'a> {
        let whole = !mem::replace(&mut self.cut, !ended) && ended;
        if ended && self.place == Place::InMessage {
            self.place = Place::Between;
            if whole && !self.tainted && entry::is_message(&bytes) {
                return Piece::Message(bytes);
            }
            self.tainted |= !whole || !is_read_by_servers(&bytes);
        }
        Piece::Other(bytes)
    }

    /// Where in `chunk` the piece ends. But for a message's end, this is where the place changes.
    fn scan(&mut self, chunk: &[u8]) -> Option<usize> {
        match self.place {
            Place::Between => None,
            Place::InMessage => self.scan_message(chunk),
            Place::InOther => self.scan_other(chunk),
            Place::Lost => self.scan_lost(chunk),
        }
    }

    /// Up to the line's end, or to what may be a message.
    fn scan_other(&mut self, chunk: &[u8]) -> Option<usize> {
        let at = memchr3(b'\n', b'{', RESYNC, chunk)?;
        let end = if chunk[at] == b'{' { at } else { self.end_at(at, chunk[at]) };
        self.place = Place::Between;
        self.tainted = end == at;
        Some(end)
    }

    /// Up to the line's end, or to that of what may be a message, which should not have to wait.
    fn scan_lost(&mut self, chunk: &[u8]) -> Option<usize> {
        let at = memchr3(b'\n', b'}', RESYNC, chunk)?;
        let end = self.end_at(at, chunk[at]);
        if self.resyncs && chunk[at] == RESYNC {
            self.place = Place::Between;
            self.tainted = false;
        }
        Some(end)
    }

    /// Where a piece ends with this byte; a 0xFF stands alone.
    fn end_at(&self, at: usize, byte: u8) -> usize {
        let is_behind = at > 0 || !self.buffer.is_empty();
        if byte == RESYNC && is_behind { at } else { at + 1 }
    }

    fn scan_message(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut rest = chunk;
        loop {
            self.scanner.skip(&mut rest);
            let (length, kind) = self.scanner.find_end(rest);
            let token = &rest[..length];
            rest = &rest[length..];
            match kind? {
                Kind::OpenObject => self.braces += 1,
                Kind::CloseObject => self.braces -= 1,
                Kind::OpenArray => self.brackets += 1,
                Kind::CloseArray => self.brackets -= 1,
                Kind::Stray if token.last().is_some_and(|byte| breaks_off(*byte)) => {
                    self.place = Place::Lost;
                    return Some(chunk.len() - rest.len() - 1);
                }
                // It makes no difference to where the message ends.
                Kind::Stray => self.scanner = Scanner::default(),
                _ => continue,
            }
            let open = self.braces > 0 || self.brackets > 0;
            if !open || self.braces < 0 || self.brackets < 0 {
                return Some(chunk.len() - rest.len());
            }
        }
    }
}

/// What can stand neither in a string nor between tokens: servers give a message up there.
fn breaks_off(byte: u8) -> bool {
    matches!(byte, ..0x20 | 0xFE..)
}

/// Whether a server takes it for a message, though it is no JSON.
fn is_read_by_servers(mut bytes: &[u8]) -> bool {
    matches!(Reader::default().next(&mut bytes), Some(Item::Object(_))) && bytes.is_empty()
}

/// The length alone of what has come: it may hold secrets.
impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Splitter({} bytes of an unfinished message)", self.buffer.len())
    }
}

#[cfg(test)]
pub(super) mod tests;
