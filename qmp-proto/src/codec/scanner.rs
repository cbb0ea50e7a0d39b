//! Where a top-level JSON object ends, and where in it its members are.
//!
//! The scanner looks at each byte once, whatever the chunking, and resumes anywhere: inside a
//! string, behind a backslash, between two brackets. `step` says what a byte does. The rest is how
//! to get on faster where several bytes are at hand: loops over what `step` would do to them.

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use crate::codec::quote::{behind_simple_string, text_end};
use crate::codec::text::{Span, from_first};
use crate::connection::close::Violation;

/// The deepest nesting that can be configured: what QEMU itself reads.
pub(crate) const MAX_DEPTH: usize = 1024;

/// Servers write at most four members into a message; this many are data, more are an attack.
pub(crate) const MAX_MEMBERS: usize = 1024;

/// One member of a top-level object, white space around name and value included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: Span,
    pub value: Span,
}

/// What a byte means outside strings, by what it matters to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Matters to nobody here.
    Plain,
    // These two part the object's own members, and mean nothing deeper.
    Colon,
    Comma,
    // These matter at any depth.
    Quote,
    Open,
    Close,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    classes[b':' as usize] = Class::Colon;
    classes[b',' as usize] = Class::Comma;
    classes[b'"' as usize] = Class::Quote;
    classes[b'{' as usize] = Class::Open;
    classes[b'[' as usize] = Class::Open;
    classes[b'}' as usize] = Class::Close;
    classes[b']' as usize] = Class::Close;
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
pub(crate) struct Scanner {
    max_depth: usize,
    place: Place,
    depth: usize,
    /// One bit a level: set for an array, clear for an object.
    arrays: [u64; MAX_DEPTH / 64],
    members: Vec<Member>,
    /// Where the member being read begins, and its colon where it has come. A bracket stands before
    /// both.
    member_start: usize,
    colon: Option<NonZeroUsize>,
    pub(crate) work: Work,
}

impl Scanner {
    pub(crate) fn new(max_depth: usize) -> Self {
        Self {
            max_depth: max_depth.min(MAX_DEPTH),
            place: Place::Outside,
            depth: 0,
            arrays: [0; MAX_DEPTH / 64],
            members: Vec::new(),
            member_start: 0,
            colon: None,
            work: Work::default(),
        }
    }

    /// Begins a new object.
    pub(crate) fn restart(&mut self) {
        self.place = Place::Outside;
        self.depth = 0;
        self.members.clear();
        self.colon = None;
    }

    /// The members of the object that was read last.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Looks at `chunk`, which begins `base` bytes into the object, and tells where in it the
    /// object ends. The object's first byte has to be a bracket that opens it.
    #[inline]
    pub(crate) fn scan(&mut self, chunk: &[u8], base: usize) -> Result<Option<usize>, Violation> {
        match chunk {
            [byte] => self.scan_one(*byte, base),
            _ => self.scan_many(chunk, base),
        }
    }

    #[inline]
    fn scan_one(&mut self, byte: u8, offset: usize) -> Result<Option<usize>, Violation> {
        Ok(self.step(byte, offset)?.then_some(1))
    }

    #[inline(never)]
    fn scan_many(&mut self, chunk: &[u8], base: usize) -> Result<Option<usize>, Violation> {
        let end = base + chunk.len();
        let mut rest = chunk;
        while !rest.is_empty() {
            if self.place == Place::Outside {
                rest = self.pass_members(rest, end)?;
                if self.depth == 0 {
                    return Ok(Some(chunk.len() - rest.len()));
                }
            }
            // Here is a string that is not simple, or goes on.
            if self.place == Place::InString {
                rest = self.pass_text(rest);
            }
            if let [byte, behind @ ..] = rest {
                self.step(*byte, end - rest.len())?;
                rest = behind;
            }
        }
        Ok(None)
    }

    /// Takes in a byte. Tells whether the object ends with it.
    #[inline(always)]
    fn step(&mut self, byte: u8, offset: usize) -> Result<bool, Violation> {
        self.work.note(1);
        match (self.place, byte) {
            (Place::Outside, b'"') => self.place = Place::InString,
            (Place::Outside, _) => return self.structure(byte, offset),
            (Place::InString, b'"') => self.place = Place::Outside,
            (Place::InString, b'\\') => self.place = Place::Escaped,
            (Place::InString, _) => {}
            (Place::Escaped, _) => self.place = Place::InString,
        }
        Ok(false)
    }

    /// Takes in a byte outside strings that is no quote.
    #[inline(always)]
    fn structure(&mut self, byte: u8, offset: usize) -> Result<bool, Violation> {
        match CLASSES[usize::from(byte)] {
            Class::Open => self.open(byte, offset)?,
            Class::Close => {
                self.close(byte, offset)?;
                if self.depth == 0 {
                    self.end_member(offset)?;
                    return Ok(true);
                }
            }
            Class::Comma if self.depth == 1 => self.end_member(offset)?,
            Class::Colon if self.depth == 1 => {
                self.colon = self.colon.or(NonZeroUsize::new(offset))
            }
            Class::Plain | Class::Quote | Class::Comma | Class::Colon => {}
        }
        Ok(false)
    }

    /// From outside strings: takes in the object's members, up to its end or to a string that is not
    /// simple. Small messages are read here.
    #[inline(always)]
    fn pass_members<'a>(&mut self, mut rest: &'a [u8], end: usize) -> Result<&'a [u8], Violation> {
        loop {
            if self.depth > 1 {
                rest = self.pass_values(rest, end)?;
                if self.depth > 1 {
                    return Ok(rest);
                }
            }
            rest = self.pass_plain(rest, Class::Colon);
            let [byte, behind @ ..] = rest else {
                return Ok(rest);
            };
            let offset = end - rest.len();
            rest = behind;
            self.work.note(1);
            match CLASSES[usize::from(*byte)] {
                Class::Quote => {}
                Class::Comma => {
                    self.end_member(offset)?;
                    // Mostly the next member's name follows.
                    let [b' ', b'"', behind @ ..] = rest else {
                        continue;
                    };
                    self.work.note(2);
                    rest = behind;
                }
                _ => {
                    if self.structure(*byte, offset)? {
                        return Ok(rest);
                    }
                    continue;
                }
            }
            let Some(behind) = self.pass_simple_string(rest) else {
                self.place = Place::InString;
                return Ok(rest);
            };
            rest = behind;
            if let ([b':', behind @ ..], None) = (rest, self.colon) {
                self.work.note(1);
                self.colon = NonZeroUsize::new(end - rest.len());
                rest = behind;
            }
        }
    }

    /// From outside strings in an object or array in the object: takes in what is in that, up to its
    /// end or to a string that is not simple. Most of large messages is read here.
    #[inline(never)]
    fn pass_values<'a>(&mut self, mut rest: &'a [u8], end: usize) -> Result<&'a [u8], Violation> {
        while self.depth > 1 {
            rest = self.pass_plain(rest, Class::Quote);
            let [byte, behind @ ..] = rest else {
                break;
            };
            let offset = end - rest.len();
            match CLASSES[usize::from(*byte)] {
                Class::Quote => match self.pass_simple_strings(behind) {
                    Some(behind) => {
                        rest = behind;
                        continue;
                    }
                    None => break,
                },
                Class::Open => self.open(*byte, offset)?,
                _ => self.close(*byte, offset)?,
            }
            self.work.note(1);
            rest = behind;
        }
        Ok(rest)
    }

    /// Passes over what is of lower classes.
    #[inline(always)]
    fn pass_plain<'a>(&mut self, rest: &'a [u8], least: Class) -> &'a [u8] {
        let behind = from_first(rest, |byte| CLASSES[usize::from(*byte)] >= least);
        self.work.note(rest.len() - behind.len());
        behind
    }

    /// Behind its opening quote: passes over the string, if it is simple.
    #[inline(always)]
    fn pass_simple_string<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let behind = behind_simple_string(text)?;
        self.work.note(1 + text.len() - behind.len());
        Some(behind)
    }

    /// The same in a value, where often more strings follow: as QEMU writes them, there are two
    /// bytes between that mean nothing there.
    #[inline(always)]
    fn pass_simple_strings<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = self.pass_simple_string(text)?;
        while let [b':' | b',', b' ', b'"', text @ ..] = rest {
            let Some(behind) = self.pass_simple_string(text) else {
                break;
            };
            self.work.note(2);
            rest = behind;
        }
        Some(rest)
    }

    /// Inside a string: passes over its text, up to a quote or an escape that is to be looked at.
    #[inline(always)]
    fn pass_text<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let end = text_end(rest);
        self.work.note(rest.len() - end.len());
        end
    }

    #[inline(always)]
    fn open(&mut self, bracket: u8, offset: usize) -> Result<(), Violation> {
        if self.depth == self.max_depth {
            return Err(Violation::TooDeep { limit: self.max_depth, offset });
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        let array = u64::from(bracket == b'[') << bit;
        self.arrays[word] = (self.arrays[word] & !(1 << bit)) | array;
        self.depth += 1;
        if self.depth == 1 {
            self.member_start = offset + 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn close(&mut self, bracket: u8, offset: usize) -> Result<(), Violation> {
        // The first byte of an object opens it, so there is a level to close.
        let depth = self.depth - 1;
        let opened_array = (self.arrays[depth / 64] >> (depth % 64)) & 1 != 0;
        if opened_array != (bracket == b']') {
            return Err(Violation::MismatchedBracket { offset });
        }
        self.depth = depth;
        Ok(())
    }

    /// Notes the member that ends before `offset`. One without a colon is noted without a value.
    fn end_member(&mut self, offset: usize) -> Result<(), Violation> {
        if self.members.len() == MAX_MEMBERS {
            return Err(Violation::TooManyMembers { limit: MAX_MEMBERS });
        }
        let colon = self.colon.take().map(NonZeroUsize::get);
        self.members.push(Member {
            name: Span::new(self.member_start, colon.unwrap_or(offset)),
            value: Span::new(colon.map_or(offset, |at| at + 1), offset),
        });
        self.member_start = offset + 1;
        Ok(())
    }
}

/// How many bytes were looked at or moved: counted for the tests of that, and for nobody else.
#[derive(Debug, Default)]
pub(crate) struct Work {
    #[cfg(any(test, feature = "__fuzzing"))]
    pub(crate) bytes: usize,
}

impl Work {
    #[cfg(any(test, feature = "__fuzzing"))]
    pub(crate) fn note(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    #[cfg(not(any(test, feature = "__fuzzing")))]
    pub(crate) fn note(&mut self, _: usize) {}
}
