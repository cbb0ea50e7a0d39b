//! Why a payload did not decode, told without repeating what it holds.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::{any, error::Error, fmt};

use serde_json::error::Category;

use crate::payload::bounded::Failure;
use crate::payload::printable::printable;

/// serde_json's own limit, which holds where the feature `deep` does not lift it.
const RECURSION_LIMIT: usize = 128;

/// Why a payload did not decode into the type asked for.
///
/// It names the type, the member and the place, and never a value: a value may be a secret. For
/// the same reason it has no source: serde_json's error repeats the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    target: &'static str,
    member: String,
    offset: usize,
    detail: String,
}

/// What kind of fault a [`DecodeError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The payload is no JSON.
    Syntax,
    /// It is JSON, but does not fit the type.
    Mismatch,
    /// It is nested deeper than this many levels; the feature `deep` decodes it.
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
    /// It has more values than [`Config::max_values`](crate::Config::max_values).
    TooMany {
        /// The limit.
        limit: usize,
    },
}

impl DecodeError {
    pub(crate) fn new<T>(text: &[u8], failure: &Failure, max_values: usize) -> Self {
        let (Failure::TooMany(error) | Failure::Json(error)) = failure;
        let message = message_of(error);
        let (kind, detail) = match error.classify() {
            _ if matches!(failure, Failure::TooMany(_)) => {
                (DecodeErrorKind::TooMany { limit: max_values }, String::new())
            }
            Category::Data => (DecodeErrorKind::Mismatch, without_values(&message)),
            _ if message.starts_with("recursion limit exceeded") => {
                (DecodeErrorKind::TooDeep { limit: RECURSION_LIMIT }, String::new())
            }
            _ => (DecodeErrorKind::Syntax, String::new()),
        };
        let offset = offset_of(text, error.line(), error.column());
        let member = member_at(text, offset);
        Self { kind, target: any::type_name::<T>(), member, offset, detail }
    }

    pub(crate) fn not_utf8(text: &[u8], offset: usize) -> Self {
        Self {
            kind: DecodeErrorKind::Syntax,
            target: any::type_name::<str>(),
            member: member_at(text, offset),
            offset,
            detail: String::new(),
        }
    }

    /// What kind of fault it is.
    pub fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// The member at fault, as a path from the payload's root (`[2].qdev.type`); empty at the root. A long
    /// name is cut off, and so is a long path.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// Where in the payload, in bytes. A type that serde has to buffer (an untagged enum) gives
    /// the end of the buffered part.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl DecodeError {
    /// For a peer, whom the types of this program do not concern.
    pub(crate) fn for_peer(&self) -> String {
        let mut text = String::new();
        // Nothing fails that writes into a string.
        let _ = self.write(&mut text, None);
        text
    }

    fn write(&self, f: &mut dyn fmt::Write, target: Option<&str>) -> fmt::Result {
        match self.kind {
            DecodeErrorKind::Syntax => f.write_str("the payload is no JSON")?,
            DecodeErrorKind::TooDeep { limit } => write!(
                f,
                "the payload is nested deeper than {limit} levels (the feature `deep` lifts this)"
            )?,
            DecodeErrorKind::TooMany { limit } => write!(
                f,
                "the payload has more than {limit} values (the option max_values lifts this)"
            )?,
            DecodeErrorKind::Mismatch => {
                write!(f, "the payload does not fit")?;
                if let Some(target) = target {
                    write!(f, " {target}")?;
                }
                match (target, self.detail.split_once("expected struct ")) {
                    (None, Some(_)) => f.write_str(": expected an object")?,
                    _ if self.detail.is_empty() => {}
                    _ => write!(f, ": {}", self.detail)?,
                }
            }
        }
        // The path to what is nested too deep is too long to be of use.
        let too_deep = matches!(self.kind, DecodeErrorKind::TooDeep { .. });
        if !self.member.is_empty() && !too_deep {
            write!(f, ", in `{}`", printable(&self.member))?;
        }
        write!(f, ", at byte {}", self.offset)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Some(self.target))
    }
}

impl Error for DecodeError {}

/// serde_json's message without the place at its end. What serde had to buffer has no place.
fn message_of(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    if error.line() > 0 && message.ends_with(&place) {
        message.truncate(message.len() - place.len());
    }
    message
}

/// The kinds of thing that serde and serde_json tell apart.
const KINDS: [&str; 16] = [
    "null",
    "boolean",
    "integer",
    "floating point",
    "character",
    "string",
    "byte array",
    "unit value",
    "Option value",
    "newtype struct",
    "sequence",
    "map",
    "enum",
    "unit variant",
    "newtype variant",
    "tuple variant",
];

/// What may be repeated of serde's message: the names that the target type itself gave, and the
/// kind of thing that came. A message of any other form may hold a value and is left out.
fn without_values(message: &str) -> String {
    if names_a_field(message) {
        return message.to_owned();
    }
    let Some((came, expected)) = message.rsplit_once(", expected ") else {
        return String::new();
    };
    // A type without variants or fields expects nothing: it was a value that did.
    if expected.ends_with(", there are no variants") || expected.ends_with(", there are no fields")
    {
        return String::new();
    }
    if let Some(came) = came.strip_prefix("invalid type: ") {
        let found = KINDS.iter().find(|kind| came.starts_with(**kind));
        return match found {
            Some(kind) => format!("expected {expected}, found {kind}"),
            None => format!("expected {expected}"),
        };
    }
    let known = ["invalid value: ", "invalid length ", "unknown variant `", "unknown field `"];
    if known.iter().any(|prefix| came.starts_with(prefix)) {
        return format!("expected {expected}");
    }
    String::new()
}

/// Whether serde says that a field is missing, or stands there twice, and nothing else.
fn names_a_field(message: &str) -> bool {
    let name = message.strip_prefix("missing field `");
    let name = name.or_else(|| message.strip_prefix("duplicate field `"));
    name.and_then(|name| name.strip_suffix('`')).is_some_and(|name| !name.contains('`'))
}

/// serde_json counts lines and columns; a payload is mostly one line.
fn offset_of(text: &[u8], line: usize, column: usize) -> usize {
    let line_ends = || memchr::memchr_iter(b'\n', text);
    let before = line.checked_sub(2).and_then(|nth| line_ends().nth(nth));
    (before.map_or(0, |end| end + 1) + column).min(text.len())
}

/// One level of the path to a place in JSON text.
enum Level<'a> {
    /// With the name of the member that is being read.
    Object(Option<&'a [u8]>),
    Array(usize),
}

/// The path to what stands before `offset`. The text may be no JSON at all; only a string that
/// stands where a name should is taken for one.
fn member_at(text: &[u8], offset: usize) -> String {
    let text = &text[..offset];
    let mut path: Vec<Level<'_>> = Vec::new();
    let (mut at, mut string) = (0, None);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let end = at + string_length(&text[at..]);
                string = Some(&text[at..end]);
                at = end + 1;
                continue;
            }
            b'{' => path.push(Level::Object(None)),
            b'[' => path.push(Level::Array(0)),
            b'}' | b']' => {
                path.pop();
            }
            b':' => {
                if let Some(Level::Object(name @ None)) = path.last_mut() {
                    *name = string;
                }
            }
            b',' => match path.last_mut() {
                Some(Level::Object(name)) => *name = None,
                Some(Level::Array(index)) => *index += 1,
                None => {}
            },
            _ => continue,
        }
        string = None;
    }
    if let Some(Level::Object(name @ None)) = path.last_mut() {
        *name = string;
    }
    render(&path)
}

/// How far the string that `text` continues goes on, its closing quote not counted.
pub(crate) fn string_length(text: &[u8]) -> usize {
    let mut from = 0;
    while let Some(quote) = memchr::memchr(b'"', &text[from..]) {
        let end = from + quote;
        let backslashes = text[..end].iter().rev().take_while(|&&byte| byte == b'\\').count();
        if backslashes % 2 == 0 {
            return end;
        }
        from = end + 1;
    }
    text.len()
}

/// More of a name, and of a path, is not told.
const LONGEST_NAME: usize = 128;
const LONGEST_PATH: usize = 1024;

/// How much of a name is told: no character is cut in two.
fn end_of(name: &[u8]) -> usize {
    let goes_on = |at: usize| name.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    (0..=name.len().min(LONGEST_NAME)).rev().find(|at| !goes_on(*at)).unwrap_or(0)
}

fn render(path: &[Level<'_>]) -> String {
    let mut rendered = String::new();
    for level in path {
        if rendered.len() > LONGEST_PATH {
            return rendered + "…";
        }
        match level {
            Level::Object(None) => {}
            Level::Object(Some(name)) => {
                if !rendered.is_empty() {
                    rendered.push('.');
                }
                let end = end_of(name);
                rendered.push_str(&String::from_utf8_lossy(&name[..end]));
                if end < name.len() {
                    rendered.push('…');
                }
            }
            Level::Array(index) => rendered.push_str(&format!("[{index}]")),
        }
    }
    rendered
}
