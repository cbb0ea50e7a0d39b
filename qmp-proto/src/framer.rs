//! Top-level JSON objects out of a byte stream, by bracket and string.
//!
//! The framer looks at each byte once, whatever the chunking, and resumes anywhere: between two
//! messages, inside a string, behind a backslash. While it looks for the end of an object it notes
//! where that object's own members begin and end, so that nobody has to look again.
//!
//! It checks brackets and limits, nothing else: whether the text between them is JSON is found out
//! by whoever decodes it.

use alloc::vec::Vec;
use core::{fmt, mem};

use bytes::Bytes;
use memchr::memchr2;

use crate::close::Violation;
use crate::text::{Span, Text};

/// The deepest nesting that can be configured: what QEMU itself reads.
pub(crate) const MAX_DEPTH: usize = 1024;

/// Servers write at most four members into a message; this many are data, more are an attack.
const MAX_MEMBERS: usize = 1024;

/// An object that has come whole: its bytes, and where its members are.
#[derive(Debug)]
pub(crate) struct Frame<'framer, 'input> {
    pub(crate) text: Text<'input>,
    pub(crate) members: &'framer [Member],
}

/// One member of a top-level object, white space around name and value included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// Finds the objects. Holds at most one unfinished object of at most `max_message` bytes.
pub(crate) struct Framer {
    max_message: usize,
    scanner: Scanner,
    /// What has come of an object whose end has not.
    buffer: Vec<u8>,
}

impl Framer {
    pub(crate) fn new(max_message: usize, max_depth: usize) -> Self {
        Self { max_message, scanner: Scanner::new(max_depth.min(MAX_DEPTH)), buffer: Vec::new() }
    }

    /// Whether the stream stands inside an object.
    pub(crate) fn mid_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Takes one object from the front of `input`, or all of `input` where none ends in it.
    ///
    /// After an error the framer must not be used again.
    pub(crate) fn next<'input>(
        &mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<Frame<'_, 'input>>, Violation> {
        if self.buffer.is_empty() {
            let before = input.len();
            skip_between_messages(input)?;
            self.scanner.work.note(before - input.len());
            if input.is_empty() {
                return Ok(None);
            }
            self.scanner.restart();
        }
        let end = self.find_end(input)?;
        let (taken, rest) = input.split_at(end.unwrap_or(input.len()));
        *input = rest;
        let text = if end.is_some() && self.buffer.is_empty() {
            Text::Lent(taken)
        } else {
            self.append(taken);
            if end.is_none() {
                return Ok(None);
            }
            self.scanner.work.note(self.buffer.len());
            self.buffer.shrink_to_fit();
            Text::Owned(Bytes::from(mem::take(&mut self.buffer)))
        };
        Ok(Some(Frame { text, members: &self.scanner.members }))
    }

    /// Makes room as a vector does, by doubling, but never for more than `max_message`.
    fn append(&mut self, taken: &[u8]) {
        let (length, room) = (self.buffer.len() + taken.len(), self.buffer.capacity());
        if length > room {
            let room = length.max(room.saturating_mul(2)).min(self.max_message);
            self.scanner.work.note(self.buffer.len());
            self.buffer.reserve_exact(room - self.buffer.len());
        }
        self.scanner.work.note(taken.len());
        self.buffer.extend_from_slice(taken);
    }

    /// Where in `input` the object ends. The verdict on its size does not depend on the chunking.
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
        write!(f, "Framer({} bytes of an unfinished message)", self.buffer.len())
    }
}

/// White space is free between messages, and so is 0xFF, with which a parser is resynchronised.
fn skip_between_messages(input: &mut &[u8]) -> Result<(), Violation> {
    while let Some((&byte, rest)) = input.split_first() {
        match byte {
            b'{' => break,
            b' ' | b'\t' | b'\r' | b'\n' | 0xFF => *input = rest,
            byte => return Err(Violation::Garbage { byte }),
        }
    }
    Ok(())
}

/// What a byte means outside strings. Everything that is not listed means nothing to the framer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Quote,
    OpenObject,
    OpenArray,
    CloseObject,
    CloseArray,
    Colon,
    Comma,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    classes[b'"' as usize] = Class::Quote;
    classes[b'{' as usize] = Class::OpenObject;
    classes[b'[' as usize] = Class::OpenArray;
    classes[b'}' as usize] = Class::CloseObject;
    classes[b']' as usize] = Class::CloseArray;
    classes[b':' as usize] = Class::Colon;
    classes[b',' as usize] = Class::Comma;
    classes
};

/// Where the stream stands between two bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    InString,
    /// Behind a backslash in a string.
    Escaped,
}

/// The structure of the object being read.
#[derive(Debug)]
struct Scanner {
    max_depth: usize,
    place: Place,
    depth: usize,
    /// One bit a level: set for an array, clear for an object.
    arrays: [u64; MAX_DEPTH / 64],
    members: Vec<Member>,
    /// Where the member being read begins, and its colon where it has come.
    member_start: usize,
    colon: Option<usize>,
    work: Work,
}

impl Scanner {
    fn new(max_depth: usize) -> Self {
        Self {
            max_depth,
            place: Place::Outside,
            depth: 0,
            arrays: [0; MAX_DEPTH / 64],
            members: Vec::new(),
            member_start: 0,
            colon: None,
            work: Work::default(),
        }
    }

    fn restart(&mut self) {
        self.place = Place::Outside;
        self.depth = 0;
        self.members.clear();
        self.colon = None;
    }

    /// Looks at `chunk`, which begins `base` bytes into the object, and tells where in it the
    /// object ends.
    fn scan(&mut self, chunk: &[u8], base: usize) -> Result<Option<usize>, Violation> {
        let mut at = self.leave_string(chunk, 0);
        while let Some(&byte) = chunk.get(at) {
            let offset = base + at;
            self.work.note(1);
            at += 1;
            match CLASSES[usize::from(byte)] {
                Class::Plain => {}
                Class::Quote => {
                    self.place = Place::InString;
                    at = self.leave_string(chunk, at);
                }
                Class::OpenObject => self.open(false, offset)?,
                Class::OpenArray => self.open(true, offset)?,
                Class::CloseObject => {
                    if self.close(false, offset)? {
                        return Ok(Some(at));
                    }
                }
                Class::CloseArray => {
                    self.close(true, offset)?;
                }
                Class::Colon if self.depth == 1 && self.colon.is_none() => {
                    self.colon = Some(offset);
                }
                Class::Comma if self.depth == 1 => self.end_member(offset)?,
                Class::Colon | Class::Comma => {}
            }
        }
        Ok(None)
    }

    /// Where outside a string the stream stands again, from `at` on; the chunk's end if nowhere.
    fn leave_string(&mut self, chunk: &[u8], mut at: usize) -> usize {
        while self.place != Place::Outside {
            if self.place == Place::Escaped {
                if at == chunk.len() {
                    return at;
                }
                self.work.note(1);
                at += 1;
                self.place = Place::InString;
            }
            let found = string_punctuation(&chunk[at..]);
            self.work.note(found.map_or(chunk.len() - at, |found| found + 1));
            let Some(found) = found else {
                return chunk.len();
            };
            at += found + 1;
            self.place = match chunk[at - 1] {
                b'"' => Place::Outside,
                _ => Place::Escaped,
            };
        }
        at
    }

    fn open(&mut self, array: bool, offset: usize) -> Result<(), Violation> {
        if self.depth == self.max_depth {
            return Err(Violation::TooDeep { limit: self.max_depth, offset });
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        if array {
            self.arrays[word] |= bit;
        } else {
            self.arrays[word] &= !bit;
        }
        self.depth += 1;
        if self.depth == 1 {
            self.member_start = offset + 1;
        }
        Ok(())
    }

    /// Whether this bracket ends the object.
    fn close(&mut self, array: bool, offset: usize) -> Result<bool, Violation> {
        // The first byte of an object opens it, so there is a level to close.
        let depth = self.depth - 1;
        let opened_array = self.arrays[depth / 64] & (1 << (depth % 64)) != 0;
        if opened_array != array {
            return Err(Violation::MismatchedBracket { offset });
        }
        self.depth = depth;
        if depth == 0 {
            self.end_member(offset)?;
        }
        Ok(depth == 0)
    }

    /// Notes the member that ends before `offset`. One without a colon is noted without a value.
    fn end_member(&mut self, offset: usize) -> Result<(), Violation> {
        if self.members.len() == MAX_MEMBERS {
            return Err(Violation::TooManyMembers { limit: MAX_MEMBERS });
        }
        let colon = self.colon.take();
        self.members.push(Member {
            name: Span::new(self.member_start, colon.unwrap_or(offset)),
            value: Span::new(colon.map_or(offset, |at| at + 1), offset),
        });
        self.member_start = offset + 1;
        Ok(())
    }
}

/// The first quote or backslash. Most strings are short, where calling memchr costs more than it
/// saves.
fn string_punctuation(text: &[u8]) -> Option<usize> {
    const SHORT: usize = 16;
    let is_punctuation = |byte: &u8| matches!(byte, b'"' | b'\\');
    let short = &text[..text.len().min(SHORT)];
    short.iter().position(is_punctuation).or_else(|| {
        let long = &text[short.len()..];
        memchr2(b'"', b'\\', long).map(|at| at + short.len())
    })
}

/// How many bytes were looked at or moved: counted for the tests of that, and for nobody else.
#[derive(Debug, Default)]
struct Work {
    #[cfg(any(test, feature = "__fuzzing"))]
    bytes: usize,
}

impl Work {
    #[cfg(any(test, feature = "__fuzzing"))]
    fn note(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    #[cfg(not(any(test, feature = "__fuzzing")))]
    fn note(&mut self, _: usize) {}
}

#[cfg(any(test, feature = "__fuzzing"))]
#[path = "framer_properties.rs"]
pub mod properties;

#[cfg(test)]
#[path = "framer_tests.rs"]
mod tests;
