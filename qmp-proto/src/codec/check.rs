//! What QEMU would answer without an id, found before it is sent.
//!
//! The text is valid JSON already. QEMU's parser refuses more: repeated members, lone surrogates,
//! noncharacters, and whatever is too deep or too large for it. Such an answer could not be told
//! apart from another command's, so the command is refused here.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use memchr::memchr2;

use crate::payload::error::{JsonFault, Refusal};

/// QEMU's own limits, less some room for the command's id, which comes last.
const MAX_BYTES: usize = (64 << 20) - 64;
const MAX_TOKENS: usize = (2 << 20) - 8;
const MAX_DEPTH: usize = 1024;

/// Checks one encoded command.
pub(crate) fn check(json: &[u8]) -> Result<(), Refusal> {
    if json.len() > MAX_BYTES {
        return Err(Refusal::TooLarge);
    }
    Checker { json, at: 0, tokens: 0, levels: Vec::new(), names: Vec::new(), name_next: false }
        .run()
}

struct Checker<'a> {
    json: &'a [u8],
    at: usize,
    tokens: usize,
    /// For each open object, how many names were known when it opened; `None` for an array.
    levels: Vec<Option<usize>>,
    /// The names of all open objects' members so far.
    names: Vec<Cow<'a, [u8]>>,
    /// Whether a string that comes now is a member's name.
    name_next: bool,
}

impl Checker<'_> {
    fn run(mut self) -> Result<(), Refusal> {
        while let Some(&byte) = self.json.get(self.at) {
            self.at += 1;
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'{' => self.open(Some(self.names.len()))?,
                b'[' => self.open(None)?,
                b'}' | b']' => self.close()?,
                b'"' => self.string()?,
                b',' => self.name_next = matches!(self.levels.last(), Some(Some(_))),
                b':' => self.name_next = false,
                _ => self.scalar()?,
            }
            self.tokens += 1;
        }
        if self.tokens > MAX_TOKENS { Err(Refusal::TooLarge) } else { Ok(()) }
    }

    fn open(&mut self, names: Option<usize>) -> Result<(), Refusal> {
        if self.levels.len() == MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        self.name_next = names.is_some();
        self.levels.push(names);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refusal> {
        self.name_next = false;
        let Some(Some(first)) = self.levels.pop() else {
            return Ok(());
        };
        if has_repeated(&mut self.names[first..]) {
            return fault(JsonFault::DuplicateMember { offset: self.at - 1 });
        }
        self.names.truncate(first);
        Ok(())
    }

    fn string(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        let escaped = self.skip_string();
        let text = &self.json[start..self.at - 1];
        if !text.is_ascii() {
            check_characters(text, start)?;
        }
        if escaped {
            check_escapes(text, start)?;
        }
        if self.name_next {
            self.names.push(if escaped { decoded(text) } else { Cow::Borrowed(text) });
        }
        Ok(())
    }

    /// Moves behind the closing quote; tells whether there was an escape.
    fn skip_string(&mut self) -> bool {
        let mut escaped = false;
        while let Some(found) = memchr2(b'"', b'\\', &self.json[self.at..]) {
            self.at += found + 1;
            if self.json[self.at - 1] == b'"' {
                break;
            }
            escaped = true;
            self.at += 1;
        }
        escaped
    }

    fn scalar(&mut self) -> Result<(), Refusal> {
        let start = self.at - 1;
        let rest = &self.json[self.at..];
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
        self.at += rest.iter().position(is_end).unwrap_or(rest.len());
        match self.json[start..self.at] {
            // JSON has it, QEMU's lexer does not.
            [b'0', b'e' | b'E', ..] | [b'-', b'0', b'e' | b'E', ..] => {
                fault(JsonFault::Number { offset: self.at })
            }
            _ => Ok(()),
        }
    }
}

fn fault<T>(fault: JsonFault) -> Result<T, Refusal> {
    Err(Refusal::InvalidJson(fault))
}

/// Whether two of an object's names are the same. Sorts them.
pub(crate) fn has_repeated<T: Ord>(names: &mut [T]) -> bool {
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// A name with escapes, as the name that it stands for.
fn decoded(text: &[u8]) -> Cow<'static, [u8]> {
    let quoted = [b"\"", text, b"\""].concat();
    let name: String = serde_json::from_slice(&quoted).unwrap_or_default();
    Cow::Owned(name.into_bytes())
}

pub(crate) fn is_noncharacter(code_point: u32) -> bool {
    (0xFDD0..=0xFDEF).contains(&code_point) || code_point & 0xFFFE == 0xFFFE
}

fn check_characters(text: &[u8], start: usize) -> Result<(), Refusal> {
    let Ok(text) = core::str::from_utf8(text) else {
        return fault(JsonFault::Syntax { offset: start });
    };
    match text.char_indices().find(|(_, character)| is_noncharacter(u32::from(*character))) {
        Some((at, _)) => fault(JsonFault::Noncharacter { offset: start + at }),
        None => Ok(()),
    }
}

fn check_escapes(text: &[u8], start: usize) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &text[at..]) {
        let escape = at + found;
        at = escape + 2;
        let Some(mut code_point) = unicode_escape(&text[escape..]) else {
            continue;
        };
        at = escape + 6;
        if let 0xD800..=0xDBFF = code_point {
            if let Some(low @ 0xDC00..=0xDFFF) = unicode_escape(&text[at..]) {
                code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
                at += 6;
            }
        }
        if let 0xD800..=0xDFFF = code_point {
            return fault(JsonFault::LoneSurrogate { offset: start + escape });
        }
        if is_noncharacter(code_point) {
            return fault(JsonFault::Noncharacter { offset: start + escape });
        }
    }
    Ok(())
}

/// The number behind a `\u` that `text` begins with.
pub(crate) fn unicode_escape(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests;
