//! One JSON object read as greeting, reply or event.
//!
//! Only the envelope is read here: which members there are, and what the connection itself needs
//! of them. Payloads stay raw until somebody asks for them. Members that are not known are passed
//! over, and of a repeated member the last one counts.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::codec::framer::{Frame, Member};
use crate::codec::object;
use crate::codec::text::{Span, Text, trim};
use crate::connection::close::Violation;
use crate::payload::error::CommandError;
use crate::payload::event::Event;
use crate::payload::raw::Raw;

/// What a server sends.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Greeting(Greeting),
    Reply(Reply),
    Event(Event),
}

/// The answer to a command: its `id`, and its `return` or `error`.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) id: ReplyId,
    pub(crate) outcome: Result<Raw, CommandError>,
}

/// Ours are plain numbers; a server may send back anything that another client made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplyId {
    Absent,
    Number(u64),
    Other(Raw),
}

/// What the server says first: who it is and what it can do.
///
/// QMP specification, section "Server Greeting".
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Greeting {
    /// The server's version, where it gives one.
    pub version: Option<Version>,
    /// The capabilities offered, unknown ones included. QEMU offers `oob`.
    pub capabilities: Vec<String>,
}

impl Greeting {
    /// Reads the value of `QMP`, if it is an object. What does not fit in it is passed over.
    fn read(json: &[u8]) -> Option<Self> {
        let mut greeting = Self::default();
        object::for_each_member(json, &mut |name, value| match name {
            b"version" => greeting.version = version(value),
            b"capabilities" => greeting.capabilities = strings(value),
            _ => {}
        })?;
        Some(greeting)
    }
}

/// What is no version is none.
fn version(json: &[u8]) -> Option<Version> {
    let (mut qemu, mut package) = (None, Some(String::new()));
    object::for_each_member(json, &mut |name, value| match name {
        b"qemu" => qemu = triple(value),
        b"package" => package = object::string(value).map(Cow::into_owned),
        _ => {}
    })?;
    Some(Version { qemu: qemu?, package: package? })
}

fn triple(json: &[u8]) -> Option<VersionTriple> {
    let mut parts = [None; 3];
    object::for_each_member(json, &mut |name, value| {
        let known: [&[u8]; 3] = [b"major", b"minor", b"micro"];
        if let Some(at) = known.iter().position(|known| *known == name) {
            parts[at] = number(value).and_then(|number| u32::try_from(number).ok());
        }
    })?;
    let [major, minor, micro] = parts;
    Some(VersionTriple { major: major?, minor: minor?, micro: micro? })
}

/// Those elements of an array that are strings.
fn strings(json: &[u8]) -> Vec<String> {
    let elements: Vec<&RawValue> = serde_json::from_slice(json).unwrap_or_default();
    let texts = elements.iter().filter_map(|element| object::string(element.get().as_bytes()));
    texts.map(Cow::into_owned).collect()
}

/// The version of a server, as the greeting and `query-version` give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Version {
    /// The version of QEMU.
    pub qemu: VersionTriple,
    /// The distributor's version, or the empty string.
    #[serde(default)]
    pub package: String,
}

impl Version {
    /// A version of QEMU, without a distributor's.
    pub fn new(major: u32, minor: u32, micro: u32) -> Self {
        Self { qemu: VersionTriple { major, minor, micro }, package: String::new() }
    }
}

/// The three parts of a version's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[non_exhaustive]
pub struct VersionTriple {
    /// 7 in 7.2.22.
    pub major: u32,
    /// 2 in 7.2.22.
    pub minor: u32,
    /// 22 in 7.2.22.
    pub micro: u32,
}

/// In the order in which QEMU writes them.
impl Serialize for VersionTriple {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut triple = serializer.serialize_struct("VersionTriple", 3)?;
        triple.serialize_field("micro", &self.micro)?;
        triple.serialize_field("minor", &self.minor)?;
        triple.serialize_field("major", &self.major)?;
        triple.end()
    }
}

/// The members of an envelope that the protocol knows, where they are there.
#[derive(Default)]
struct Envelope {
    greeting: Option<Span>,
    success: Option<Span>,
    error: Option<Span>,
    id: Option<Span>,
    event: Option<Span>,
    data: Option<Span>,
    timestamp: Option<Span>,
}

const NO_KIND: Violation = envelope("", "one of the members QMP, return, error and event");

const NOT_A_STRING: Violation = envelope("event", "a string");

const fn envelope(member: &'static str, expected: &'static str) -> Violation {
    Violation::Envelope { member, expected }
}

impl Message {
    /// Reads an object's envelope.
    #[inline]
    pub(crate) fn read(frame: &Frame<'_>) -> Result<Self, Violation> {
        let text = &frame.text;
        let mut envelope = Envelope::default();
        envelope.read(text.bytes(), frame.members)?;
        let Envelope { greeting, success, error, event, id, data, timestamp } = &envelope;
        // What a message is, is told by the one of these members that it has.
        match (*greeting, *success, *error, *event) {
            (Some(greeting), None, None, None) => read_greeting(text, greeting),
            (None, Some(success), None, None) => Ok(Self::Reply(Reply {
                id: read_id(text, *id),
                outcome: Ok(Raw::keep(text, success)),
            })),
            (None, None, Some(error), None) => {
                let error = read_error(text, error)?;
                Ok(Self::Reply(Reply { id: read_id(text, *id), outcome: Err(error) }))
            }
            (None, None, None, Some(name)) => {
                let (data, timestamp) = (data.unwrap_or_default(), timestamp.unwrap_or_default());
                Event::keep(text, name, data, timestamp).map(Self::Event).ok_or(NOT_A_STRING)
            }
            _ => Err(NO_KIND),
        }
    }
}

impl Envelope {
    #[inline(never)]
    fn read(&mut self, text: &[u8], members: &[Member]) -> Result<(), Violation> {
        for member in members {
            let name = trim(&text[member.name.range()]);
            let value = member.value.trim(text);
            if value.is_empty() {
                return Err(NO_KIND);
            }
            if let Some(known) = self.known(name)? {
                *known = Some(value);
            }
        }
        Ok(())
    }

    /// The place of a member, if it is one that the protocol knows. Any string will do as a name.
    fn known(&mut self, name: &[u8]) -> Result<Option<&mut Option<Span>>, Violation> {
        match name {
            // Most have no escapes. No name that is known has a backslash, so this tells one alike.
            [b'"', inner @ .., b'"'] if self.by_name(inner).is_some() => Ok(self.by_name(inner)),
            [b'"', inner @ .., b'"'] if inner.contains(&b'\\') => {
                let decoded = object::string(name);
                Ok(decoded.and_then(|name| self.by_name(name.as_bytes())))
            }
            [b'"', .., b'"'] => Ok(None),
            _ => Err(envelope("", "members named by strings")),
        }
    }

    #[inline(always)]
    fn by_name(&mut self, name: &[u8]) -> Option<&mut Option<Span>> {
        match name {
            b"return" => Some(&mut self.success),
            b"id" => Some(&mut self.id),
            b"event" => Some(&mut self.event),
            b"data" => Some(&mut self.data),
            b"timestamp" => Some(&mut self.timestamp),
            b"error" => Some(&mut self.error),
            b"QMP" => Some(&mut self.greeting),
            _ => None,
        }
    }
}

/// Greetings are kept for as long as the connection, so they are small: QEMU's has 140 bytes.
const MAX_GREETING: usize = 64 << 10;

fn read_greeting(text: &Text<'_>, span: Span) -> Result<Message, Violation> {
    if span.len() > MAX_GREETING {
        return Err(Violation::TooLarge { limit: MAX_GREETING });
    }
    Greeting::read(&text.bytes()[span.range()])
        .map(Message::Greeting)
        .ok_or(envelope("QMP", "an object with version and capabilities"))
}

fn read_error(text: &Text<'_>, span: Span) -> Result<CommandError, Violation> {
    CommandError::read(&text.bytes()[span.range()])
        .ok_or(envelope("error", "an object with class and desc"))
}

#[inline(always)]
fn read_id(text: &Text<'_>, span: Option<Span>) -> ReplyId {
    let Some(span) = span else {
        return ReplyId::Absent;
    };
    match &text.bytes()[span.range()] {
        digits @ [b'1'..=b'9', ..] => decimal(digits).map(ReplyId::Number),
        _ => None,
    }
    .unwrap_or_else(|| ReplyId::Other(Raw::keep(text, span)))
}

fn number(json: &[u8]) -> Option<u64> {
    match json {
        b"0" => Some(0),
        [b'1'..=b'9', ..] => decimal(json),
        _ => None,
    }
}

#[inline]
fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(any(test, feature = "__fuzzing"))]
pub mod properties;

#[cfg(test)]
mod tests;
