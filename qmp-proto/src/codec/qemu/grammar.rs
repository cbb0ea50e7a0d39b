//! Tokens to one JSON value, by QEMU's grammar, which is not quite JSON's.
//!
//! The value is written as standard JSON while its tokens come. Equal strings are written
//! alike, however they came, so that names can be compared where they stand.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use memchr::{memchr, memchr2};

use super::lexer::{Kind, Token};
use super::reader::{Fault, Object};
use crate::codec::check::{has_repeated, is_noncharacter, unicode_escape};
use crate::codec::framer::Member;
use crate::codec::text::Span;

/// A value as far as it has come. After a fault it must not be used again.
#[derive(Default)]
pub(super) struct Document {
    text: Vec<u8>,
    levels: Vec<Level>,
    expected: Expected,
    /// The names of all open objects' members so far.
    names: Vec<Span>,
    /// Those of the outermost object.
    members: Vec<Member>,
}

#[derive(Clone, Copy)]
enum Level {
    Object {
        /// How many names were known when it opened.
        first_name: usize,
    },
    Array,
}

/// What has to come.
#[derive(Clone, Copy, Default)]
enum Expected {
    #[default]
    Value,
    Name,
    NameOrEnd,
    Colon,
    ValueOrEnd,
    CommaOrEnd,
}

impl Document {
    pub(super) fn push(&mut self, token: &Token<'_>) -> Result<(), Fault> {
        self.expected = match (self.expected, token.kind, self.levels.last()) {
            (Expected::Value | Expected::ValueOrEnd, Kind::OpenObject, _) => {
                self.levels.push(Level::Object { first_name: self.names.len() });
                self.text.push(b'{');
                Expected::NameOrEnd
            }
            (Expected::Value | Expected::ValueOrEnd, Kind::OpenArray, _) => {
                self.levels.push(Level::Array);
                self.text.push(b'[');
                Expected::ValueOrEnd
            }
            (Expected::Value | Expected::ValueOrEnd, kind, _) if kind.is_scalar() => {
                self.scalar(token)?;
                self.end_value()
            }
            (Expected::Name | Expected::NameOrEnd, Kind::String, _) => {
                self.name(&token.text)?;
                Expected::Colon
            }
            (Expected::Colon, Kind::Colon, _) => {
                self.text.push(b':');
                Expected::Value
            }
            (Expected::CommaOrEnd, Kind::Comma, Some(level)) => {
                self.text.push(b',');
                match level {
                    Level::Object { .. } => Expected::Name,
                    Level::Array => Expected::Value,
                }
            }
            (
                Expected::CommaOrEnd | Expected::NameOrEnd,
                Kind::CloseObject,
                Some(&Level::Object { first_name }),
            ) => {
                self.check_names(first_name)?;
                self.close(b'}')
            }
            (Expected::CommaOrEnd | Expected::ValueOrEnd, Kind::CloseArray, Some(Level::Array)) => {
                self.close(b']')
            }
            _ => return Err(Fault::Syntax),
        };
        Ok(())
    }

    /// The object, once the value's last token has come.
    pub(super) fn finish(mut self) -> Result<Object, Fault> {
        if !self.text.starts_with(b"{") {
            return Err(Fault::NotAnObject);
        }
        self.text.shrink_to_fit();
        Ok(Object { text: Bytes::from(self.text), members: self.members })
    }

    fn scalar(&mut self, token: &Token<'_>) -> Result<(), Fault> {
        match (token.kind, &*token.text) {
            (Kind::String, text) => return push_string(&mut self.text, text),
            (Kind::Keyword, text) if !matches!(text, b"true" | b"false" | b"null") => {
                return Err(Fault::Keyword);
            }
            (_, text) => self.text.extend_from_slice(text),
        }
        Ok(())
    }

    fn name(&mut self, text: &[u8]) -> Result<(), Fault> {
        let start = self.text.len();
        push_string(&mut self.text, text)?;
        let name = Span::new(start, self.text.len());
        self.names.push(name);
        if self.levels.len() == 1 {
            self.members.push(Member { name, value: Span::default() });
        }
        Ok(())
    }

    fn check_names(&mut self, first: usize) -> Result<(), Fault> {
        let name = |span: &Span| &self.text[span.range()];
        let mut names: Vec<_> = self.names[first..].iter().map(name).collect();
        if has_repeated(&mut names) {
            return Err(Fault::RepeatedMember);
        }
        self.names.truncate(first);
        Ok(())
    }

    fn close(&mut self, bracket: u8) -> Expected {
        self.levels.pop();
        self.text.push(bracket);
        self.end_value()
    }

    fn end_value(&mut self) -> Expected {
        if self.levels.len() == 1 {
            if let Some(member) = self.members.last_mut() {
                // Behind the name is the colon.
                member.value = Span::new(member.name.range().end + 1, self.text.len());
            }
        }
        Expected::CommaOrEnd
    }
}

/// The length alone: it may hold secrets.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.text.len())
    }
}

/// Writes a string token as standard JSON.
fn push_string(out: &mut Vec<u8>, token: &[u8]) -> Result<(), Fault> {
    let as_it_is = token[0] == b'"' && token.is_ascii() && memchr(b'\\', token).is_none();
    if as_it_is {
        out.extend_from_slice(token);
        return Ok(());
    }
    let string = decoded(&token[1..token.len() - 1])?;
    if string.chars().any(|character| is_noncharacter(u32::from(character))) {
        return Err(Fault::Unicode);
    }
    out.extend_from_slice(serde_json::Value::from(string).to_string().as_bytes());
    Ok(())
}

/// The string that stands between quotes, in UTF-8 but for U+0000, which may be two bytes.
fn decoded(mut text: &[u8]) -> Result<String, Fault> {
    let mut string = String::with_capacity(text.len());
    loop {
        let plain = memchr2(b'\\', 0xC0, text).unwrap_or(text.len());
        let (before, rest) = text.split_at(plain);
        string.push_str(core::str::from_utf8(before).map_err(|_| Fault::Unicode)?);
        let (character, length) = match rest {
            [] => return Ok(string),
            [0xC0, 0x80, ..] => ('\0', 2),
            [b'\\', b'u', ..] => unicode(rest)?,
            [b'\\', escaped, ..] => (unescaped(*escaped)?, 2),
            _ => return Err(Fault::Unicode),
        };
        string.push(character);
        text = &rest[length..];
    }
}

fn unescaped(escaped: u8) -> Result<char, Fault> {
    Ok(match escaped {
        b'"' | b'\'' | b'\\' | b'/' => char::from(escaped),
        b'b' => '\u{8}',
        b'f' => '\u{C}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return Err(Fault::Escape),
    })
}

/// The character that a `\u`, or a surrogate pair of two, stands for, and how long that is.
fn unicode(text: &[u8]) -> Result<(char, usize), Fault> {
    let first = unicode_escape(text).ok_or(Fault::Escape)?;
    let pair = match (first, unicode_escape(&text[6..])) {
        (0xD800..=0xDBFF, Some(second @ 0xDC00..=0xDFFF)) => {
            Some(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
        }
        _ => None,
    };
    let character = char::from_u32(pair.unwrap_or(first)).ok_or(Fault::Unicode)?;
    Ok((character, if pair.is_some() { 12 } else { 6 }))
}
