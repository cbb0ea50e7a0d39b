//! Tokens to top-level JSON objects, as QEMU finds where they end.
//!
//! A message ends where as many braces and as many brackets have closed as have opened. Until then
//! a fault in it is not told, unless it is a stray byte or one of the limits: these end the message
//! where they are found.

use alloc::vec::Vec;
use core::{fmt, mem};

use bytes::Bytes;

use super::grammar::Document;
use super::lexer::{Kind, Lexer, Token};
use crate::framer::Member;

/// Braces and brackets, counted together.
const MAX_NESTING: i32 = 1024;
const MAX_TOKENS: usize = 2 << 20;
/// The tokens of a message, without the white space between them.
const MAX_BYTES: usize = 64 << 20;

/// Finds the objects, and what is none.
///
/// Holds one unfinished message of at most `MAX_BYTES`, which as standard JSON are at most three
/// times as many, and one unfinished token.
#[derive(Default)]
pub(crate) struct Reader {
    lexer: Lexer,
    message: Message,
}

/// One thing that a client sent.
#[derive(Debug)]
pub(crate) enum Item {
    Object(Object),
    Fault(Fault),
}

/// A top-level object as standard JSON: strings in double quotes, in valid UTF-8, and no white
/// space between tokens.
pub(crate) struct Object {
    pub(crate) text: Bytes,
    /// Each name with its quotes; no name stands twice.
    pub(crate) members: Vec<Member>,
}

/// What keeps input from being an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Stray,
    Syntax,
    NotAnObject,
    Keyword,
    Escape,
    Unicode,
    RepeatedMember,
    TooDeep,
    TooManyTokens,
    TooLarge,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input` up to the end of the next item; `None` where `input`
    /// is used up.
    ///
    /// A number or keyword ends where something else begins, which is left in `input`.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Option<Item> {
        while let Some(token) = self.lexer.next(input) {
            if let Err(fault) = self.message.take(&token) {
                self.message = Message::default();
                return Some(Item::Fault(fault));
            }
            if self.message.is_complete() {
                return Some(mem::take(&mut self.message).finish());
            }
        }
        None
    }

    /// Whether the stream stands inside something that has begun and not ended.
    pub(crate) fn mid_message(&self) -> bool {
        self.lexer.mid_token() || self.message.tokens > 0
    }
}

/// What has come of one message.
struct Message {
    braces: i32,
    brackets: i32,
    tokens: usize,
    bytes: usize,
    /// After a fault the text is not kept any more; where the message ends still matters.
    document: Result<Document, Fault>,
}

impl Default for Message {
    fn default() -> Self {
        let document = Ok(Document::default());
        Self { braces: 0, brackets: 0, tokens: 0, bytes: 0, document }
    }
}

impl Message {
    /// Takes in one token. A fault that is given here is the message's end.
    fn take(&mut self, token: &Token<'_>) -> Result<(), Fault> {
        self.count(token);
        self.check_limits(token)?;
        if let Ok(document) = &mut self.document {
            if let Err(fault) = document.push(token) {
                self.document = Err(fault);
            }
        }
        Ok(())
    }

    fn count(&mut self, token: &Token<'_>) {
        match token.kind {
            Kind::OpenObject => self.braces += 1,
            Kind::CloseObject => self.braces -= 1,
            Kind::OpenArray => self.brackets += 1,
            Kind::CloseArray => self.brackets -= 1,
            _ => {}
        }
        self.tokens += 1;
        self.bytes += token.text.len();
    }

    fn check_limits(&self, token: &Token<'_>) -> Result<(), Fault> {
        match token.kind {
            Kind::Stray => Err(Fault::Stray),
            // QEMU ends each token with a byte of its own.
            Kind::TooLong => Err(Fault::TooLarge),
            _ if self.bytes >= MAX_BYTES => Err(Fault::TooLarge),
            _ if self.tokens > MAX_TOKENS => Err(Fault::TooManyTokens),
            _ if self.braces + self.brackets > MAX_NESTING => Err(Fault::TooDeep),
            _ => Ok(()),
        }
    }

    fn is_complete(&self) -> bool {
        let open = self.braces > 0 || self.brackets > 0;
        !open || self.braces < 0 || self.brackets < 0
    }

    fn finish(self) -> Item {
        match self.document {
            Ok(document) => Item::Object(document.finish()),
            Err(fault) => Item::Fault(fault),
        }
    }
}

/// Lengths alone: it may hold secrets.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} bytes, {} members)", self.text.len(), self.members.len())
    }
}

/// For the client's people.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stray => "no JSON: a byte that can stand neither here nor begin anything",
            Self::Syntax => "no JSON: values, names and punctuation do not fit together",
            Self::NotAnObject => "a command must be a JSON object",
            Self::Keyword => "no JSON: the only words are true, false and null",
            Self::Escape => "no JSON: an escape in a string that there is not",
            Self::Unicode => "a string is not valid Unicode, or has a noncharacter in it",
            Self::RepeatedMember => "a member's name stands twice in one object",
            Self::TooDeep => "JSON nested deeper than 1024 levels",
            Self::TooManyTokens => "more than 2097152 JSON tokens in one message",
            Self::TooLarge => "more than 64 MiB of JSON in one message",
        })
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
