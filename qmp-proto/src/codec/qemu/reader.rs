//! Tokens to top-level JSON objects, as QEMU finds where they end.
//!
//! A message ends where as many braces and as many brackets have closed as have opened, or at a stray
//! byte. What else is done about a fault depends on the version: see [`Rules`].

use alloc::vec::Vec;
use core::{fmt, mem};

use bytes::Bytes;

use super::grammar::Document;
use super::lexer::{Kind, Lexer, Token};
use crate::codec::framer::Member;

/// Braces and brackets, counted together.
const MAX_NESTING: i32 = 1024;
const MAX_TOKENS: usize = 2 << 20;
/// The tokens of a message, without the white space between them.
pub const MAX_BYTES: usize = 64 << 20;

/// What a reader takes, and when it reports a fault.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A fault is reported where it is found, and the rest of its message is passed over, as QEMU does
    /// since 11.1. Before, it is reported where its message ends, and a limit ends the message.
    pub at_once: bool,
    /// The most bytes of a message. Where that is less than QEMU's own limit, a larger message is
    /// reported at once in any case, and the rest of it is passed over.
    pub max_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { at_once: false, max_bytes: MAX_BYTES }
    }
}

impl Rules {
    fn reports_at_once(self, fault: Fault) -> bool {
        self.at_once || self.passed_own_limit(usize::MAX) == Some(fault)
    }

    /// Where the limit is less than QEMU's, and a message has so many bytes.
    fn passed_own_limit(self, bytes: usize) -> Option<Fault> {
        let passed = bytes > self.max_bytes && self.max_bytes < MAX_BYTES;
        passed.then_some(Fault::TooLarge(self.max_bytes))
    }
}

/// Finds the objects, and what is none.
///
/// Holds one unfinished message of at most `max_bytes`, which as standard JSON are at most three
/// times as many, and one unfinished token.
#[derive(Default)]
pub struct Reader {
    rules: Rules,
    lexer: Lexer,
    message: Message,
}

/// One thing that a client sent.
#[derive(Debug)]
pub enum Item {
    Object(Object),
    Fault(Fault),
}

/// A top-level object as standard JSON: strings in double quotes, in valid UTF-8, and no white
/// space between tokens.
pub struct Object {
    pub text: Bytes,
    /// Each name with its quotes; no name stands twice.
    pub members: Vec<Member>,
}

/// What keeps input from being an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Stray,
    Syntax,
    NotAnObject,
    Keyword,
    Escape,
    Unicode,
    RepeatedMember,
    TooDeep,
    TooManyTokens,
    /// So many bytes are the most.
    TooLarge(usize),
}

impl Reader {
    pub fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Takes bytes from the front of `input` up to the end of the next item; `None` where `input`
    /// is used up.
    ///
    /// A number or keyword ends where something else begins, which is left in `input`.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Item> {
        while let Some(token) = self.lexer.next(input) {
            let item = self.message.take(&token, self.rules);
            self.lexer.keep(!self.message.is_reported());
            if item.is_some() {
                return item;
            }
        }
        let fault = self.message.check_unfinished(self.lexer.held(), self.rules)?;
        self.lexer.keep(false);
        Some(Item::Fault(fault))
    }

    /// Whether the stream stands inside something that has begun and not ended.
    pub fn mid_message(&self) -> bool {
        self.lexer.mid_token() || self.message.tokens > 0
    }
}

/// What has come of one message.
#[derive(Default)]
struct Message {
    braces: i32,
    brackets: i32,
    tokens: usize,
    bytes: usize,
    body: Body,
}

/// The text is kept only as long as there is no fault.
enum Body {
    Sound(Document),
    /// It is reported where the message ends.
    Faulty(Fault),
    /// There was a fault, which was reported.
    Reported,
}

impl Default for Body {
    fn default() -> Self {
        Self::Sound(Document::default())
    }
}

impl Message {
    /// Takes in one token. Gives the object that ends with it, or the fault that is to be reported now.
    fn take(&mut self, token: &Token<'_>, rules: Rules) -> Option<Item> {
        self.count(token);
        let limit = self.passed_limit(token, rules);
        self.push(token, limit);
        match self.body {
            _ if self.is_complete() || token.kind == Kind::Stray => mem::take(self).finish(),
            Body::Faulty(fault) if rules.reports_at_once(fault) => {
                self.body = Body::Reported;
                Some(Item::Fault(fault))
            }
            Body::Faulty(_) if limit.is_some() => mem::take(self).finish(),
            _ => None,
        }
    }

    fn push(&mut self, token: &Token<'_>, limit: Option<Fault>) {
        let fault = match (&mut self.body, limit) {
            (Body::Reported, _) => None,
            (_, Some(limit)) => Some(limit),
            (Body::Sound(document), None) => document.push(token).err(),
            (Body::Faulty(_), None) => None,
        };
        if let Some(fault) = fault {
            self.body = Body::Faulty(fault);
        }
    }

    /// Reports a message that is too large before the token that makes it so has ended.
    fn check_unfinished(&mut self, held: usize, rules: Rules) -> Option<Fault> {
        let fault = rules.passed_own_limit(self.bytes + held)?;
        let reported = mem::replace(&mut self.body, Body::Reported);
        (!matches!(reported, Body::Reported)).then_some(fault)
    }

    fn is_reported(&self) -> bool {
        matches!(self.body, Body::Reported)
    }

    fn count(&mut self, token: &Token<'_>) {
        let (count, change) = match token.kind {
            Kind::OpenObject => (&mut self.braces, 1),
            Kind::CloseObject => (&mut self.braces, -1),
            Kind::OpenArray => (&mut self.brackets, 1),
            Kind::CloseArray => (&mut self.brackets, -1),
            _ => (&mut self.brackets, 0),
        };
        *count = count.saturating_add(change);
        self.tokens = self.tokens.saturating_add(1);
        self.bytes = self.bytes.saturating_add(token.text.len());
    }

    fn passed_limit(&self, token: &Token<'_>, rules: Rules) -> Option<Fault> {
        let own = rules.passed_own_limit(self.bytes);
        match token.kind {
            _ if own.is_some() => own,
            Kind::Stray => Some(Fault::Stray),
            Kind::TooLong => Some(Fault::TooLarge(MAX_BYTES)),
            // QEMU ends each token with a byte of its own.
            _ if self.bytes >= MAX_BYTES => Some(Fault::TooLarge(MAX_BYTES)),
            _ if self.tokens > MAX_TOKENS => Some(Fault::TooManyTokens),
            _ if self.braces.saturating_add(self.brackets) > MAX_NESTING => Some(Fault::TooDeep),
            _ => None,
        }
    }

    fn is_complete(&self) -> bool {
        let open = self.braces > 0 || self.brackets > 0;
        !open || self.braces < 0 || self.brackets < 0
    }

    fn finish(self) -> Option<Item> {
        match self.body {
            Body::Sound(document) => Some(document.finish().map_or_else(Item::Fault, Item::Object)),
            Body::Faulty(fault) => Some(Item::Fault(fault)),
            Body::Reported => None,
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
            Self::TooLarge(most) => {
                return write!(f, "more than {most} bytes of JSON in one message");
            }
            Self::Stray => "no JSON: a byte that can stand neither here nor begin anything",
            Self::Syntax => "no JSON: values, names and punctuation do not fit together",
            Self::NotAnObject => "a command must be a JSON object",
            Self::Keyword => "no JSON: the only words are true, false and null",
            Self::Escape => "no JSON: an escape in a string that there is not",
            Self::Unicode => "a string is not valid Unicode, or has a noncharacter in it",
            Self::RepeatedMember => "a member's name stands twice in one object",
            Self::TooDeep => "JSON nested deeper than 1024 levels",
            Self::TooManyTokens => "more than 2097152 JSON tokens in one message",
        })
    }
}

#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod tests;
