//! Bytes to tokens, as QEMU's lexer finds them.
//!
//! It reads more than JSON (strings in single quotes) and less (no exponent behind a lone zero). A
//! byte that fits nowhere is a stray: what follows is passed over up to the next byte with which a
//! client can make itself heard again.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::mem;

/// The longest token. White space is none.
const MAX_TOKEN: usize = 64 << 20;

/// One token, and its bytes as they came.
#[derive(Debug)]
pub(super) struct Token<'input> {
    pub(super) kind: Kind,
    pub(super) text: Cow<'input, [u8]>,
}

/// What a token is. Which keyword it is, and what is in a string, is not looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenObject,
    CloseObject,
    OpenArray,
    CloseArray,
    Colon,
    Comma,
    String,
    Number,
    Keyword,
    /// The last byte fits nowhere.
    Stray,
    /// Too long, and not at its end yet.
    TooLong,
}

impl Kind {
    pub(super) fn is_scalar(self) -> bool {
        matches!(self, Self::String | Self::Number | Self::Keyword)
    }
}

/// Finds where tokens end. Holds none of their bytes.
#[derive(Default)]
pub(crate) struct Scanner {
    state: State,
}

impl Scanner {
    /// Whether the stream stands inside a token.
    fn is_inside(&self) -> bool {
        !matches!(self.state, State::Start | State::Recovery)
    }

    /// Passes over what stands between two tokens. Within one it does nothing.
    pub(crate) fn skip(&mut self, input: &mut &[u8]) {
        if self.state == State::Recovery {
            skip_to(input, ends_recovery);
            if !input.is_empty() {
                self.state = State::Start;
            }
        }
        if self.state == State::Start {
            skip_to(input, |byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        }
    }

    /// How much of `input` belongs to the token, and what it is where it ends there.
    pub(crate) fn find_end(&mut self, input: &[u8]) -> (usize, Option<Kind>) {
        let mut at = 0;
        loop {
            if let State::InString(quote) = self.state {
                at += plain_length(&input[at..], quote);
            }
            let Some(&byte) = input.get(at) else { return (at, None) };
            let end = match self.state.step(byte) {
                Step::On(state) => {
                    self.state = state;
                    at += 1;
                    continue;
                }
                Step::Last(kind) => (at + 1, kind),
                Step::Past(kind) => (at, kind),
            };
            self.state = match end.1 {
                Kind::Stray => State::Recovery,
                _ => State::Start,
            };
            return (end.0, Some(end.1));
        }
    }
}

/// Finds the tokens. Holds at most one unfinished token.
#[derive(Default)]
pub(super) struct Lexer {
    scanner: Scanner,
    /// What has come of a token whose end has not.
    buffer: Vec<u8>,
    /// The bytes of unfinished tokens are dropped.
    drops: bool,
}

impl Lexer {
    /// Whether the stream stands inside a token.
    pub(super) fn mid_token(&self) -> bool {
        self.scanner.is_inside()
    }

    /// How many bytes of an unfinished token are held.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Keeps the bytes of unfinished tokens, or drops them from now on: then only a token's kind counts.
    pub(super) fn keep(&mut self, keeps: bool) {
        self.drops = !keeps;
        if self.drops {
            self.buffer = Vec::new();
        }
    }

    /// Takes one token from the front of `input`, or all of `input` where none ends in it.
    pub(super) fn next<'input>(&mut self, input: &mut &'input [u8]) -> Option<Token<'input>> {
        self.scanner.skip(input);
        let (length, end) = self.find_end(input);
        let (taken, rest) = input.split_at(length);
        *input = rest;
        if self.drops || (end.is_some() && self.buffer.is_empty()) {
            return end.map(|kind| Token { kind, text: Cow::Borrowed(taken) });
        }
        self.buffer.extend_from_slice(taken);
        end.map(|kind| Token { kind, text: Cow::Owned(mem::take(&mut self.buffer)) })
    }

    /// As the scanner's, of a token that is not too long.
    fn find_end(&mut self, input: &[u8]) -> (usize, Option<Kind>) {
        if self.drops {
            return self.scanner.find_end(input);
        }
        let room = MAX_TOKEN + 1 - self.buffer.len();
        let end = self.scanner.find_end(&input[..room.min(input.len())]);
        if end == (room, None) {
            self.scanner = Scanner::default();
            return (room, Some(Kind::TooLong));
        }
        end
    }
}

/// Where the stream stands between two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// Behind a stray.
    Recovery,
    /// The quote ends it.
    InString(u8),
    /// Behind a backslash in such a string.
    Escaped(u8),
    Keyword,
    // In a number, behind its
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    ExponentMark,
    ExponentSign,
    Exponent,
}

/// What a byte does.
enum Step {
    /// It belongs to the token, which may go on.
    On(State),
    /// It is the token's last.
    Last(Kind),
    /// It belongs to the token no more.
    Past(Kind),
}

impl State {
    fn step(self, byte: u8) -> Step {
        match (self, byte) {
            (Self::Start, b'{') => Step::Last(Kind::OpenObject),
            (Self::Start, b'}') => Step::Last(Kind::CloseObject),
            (Self::Start, b'[') => Step::Last(Kind::OpenArray),
            (Self::Start, b']') => Step::Last(Kind::CloseArray),
            (Self::Start, b':') => Step::Last(Kind::Colon),
            (Self::Start, b',') => Step::Last(Kind::Comma),

            (Self::Start, b'"' | b'\'') => Step::On(Self::InString(byte)),
            (Self::InString(quote), _) if byte == quote => Step::Last(Kind::String),
            (Self::InString(quote), b'\\') => Step::On(Self::Escaped(quote)),
            (Self::Escaped(quote), 0x20..=0xFD) => Step::On(Self::InString(quote)),

            (Self::Start | Self::Keyword, b'a'..=b'z') => Step::On(Self::Keyword),
            (Self::Keyword, _) => Step::Past(Kind::Keyword),

            (Self::Start, b'-') => Step::On(Self::Minus),
            (Self::Start | Self::Minus, b'0') => Step::On(Self::Zero),
            (Self::Start | Self::Minus, b'1'..=b'9') => Step::On(Self::Integer),
            (Self::Integer, b'0'..=b'9') => Step::On(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Step::On(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Step::On(Self::Fraction),
            (Self::Integer | Self::Fraction, b'e' | b'E') => Step::On(Self::ExponentMark),
            (Self::ExponentMark, b'+' | b'-') => Step::On(Self::ExponentSign),
            (Self::ExponentMark | Self::ExponentSign | Self::Exponent, b'0'..=b'9') => {
                Step::On(Self::Exponent)
            }
            (Self::Zero, b'0'..=b'9') => Step::Last(Kind::Stray),
            (Self::Zero | Self::Integer | Self::Fraction | Self::Exponent, _) => {
                Step::Past(Kind::Number)
            }
            _ => Step::Last(Kind::Stray),
        }
    }
}

/// The structural characters, and what stands nowhere in text: control characters but the tab, and
/// what is never UTF-8.
fn ends_recovery(byte: u8) -> bool {
    match byte {
        b'{' | b'}' | b'[' | b']' | b':' | b',' | 0xFE | 0xFF => true,
        _ => byte < 0x20 && byte != b'\t',
    }
}

fn skip_to(input: &mut &[u8], wanted: fn(u8) -> bool) {
    let found = input.iter().position(|byte| wanted(*byte));
    *input = &input[found.unwrap_or(input.len())..];
}

/// How many bytes at the front of `text` only make the string longer.
fn plain_length(text: &[u8], quote: u8) -> usize {
    let ends = |&byte: &u8| byte == quote || !matches!(byte, 0x20..=0x5B | 0x5D..=0xFD);
    text.iter().position(ends).unwrap_or(text.len())
}
