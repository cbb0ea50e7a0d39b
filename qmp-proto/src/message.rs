//! One JSON object read as greeting, reply or event.
//!
//! Only the envelope is read here: which members there are, and what the connection itself needs
//! of them. Payloads stay raw until somebody asks for them. Members that are not known are passed
//! over, and of a repeated member the last one counts.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::close::Violation;
use crate::error::CommandError;
use crate::event::Event;
use crate::framer::{Frame, Member};
use crate::raw::Raw;
use crate::text::{Span, Text};

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
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Greeting {
    /// The server's version, where it gives one.
    #[serde(default)]
    pub version: Option<Version>,
    /// The capabilities offered, unknown ones included. QEMU offers `oob`.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// The version of a server, as the greeting and `query-version` give it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Version {
    /// The version of QEMU.
    pub qemu: VersionTriple,
    /// The distributor's version, or the empty string.
    #[serde(default)]
    pub package: String,
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
    pub(crate) fn read(frame: &Frame<'_, '_>) -> Result<Self, Violation> {
        let text = &frame.text;
        let envelope = Envelope::read(text.bytes(), frame.members)?;
        let Envelope { greeting, success, error, event, id, data, timestamp } = envelope;
        // What a message is, is told by the one of these members that it has.
        match (greeting, success, error, event) {
            (Some(greeting), None, None, None) => read_greeting(text, greeting),
            (None, Some(success), None, None) => Ok(Self::Reply(Reply {
                id: read_id(text, id),
                outcome: Ok(Raw::keep(text, success)),
            })),
            (None, None, Some(error), None) => {
                let error = read_error(text, error)?;
                Ok(Self::Reply(Reply { id: read_id(text, id), outcome: Err(error) }))
            }
            (None, None, None, Some(name)) => {
                let decoded = string(&text.bytes()[name.range()]).ok_or(NOT_A_STRING)?;
                let (data, timestamp) = (data.unwrap_or_default(), timestamp.unwrap_or_default());
                Ok(Self::Event(Event::keep(text, name, decoded, data, timestamp)))
            }
            _ => Err(NO_KIND),
        }
    }
}

impl Envelope {
    fn read(text: &[u8], members: &[Member]) -> Result<Self, Violation> {
        let mut envelope = Self::default();
        for member in members {
            let name = member.name.trim(text);
            let value = member.value.trim(text);
            if value.is_empty() {
                return Err(NO_KIND);
            }
            let known = match &text[name.range()] {
                b"\"return\"" => &mut envelope.success,
                b"\"id\"" => &mut envelope.id,
                b"\"event\"" => &mut envelope.event,
                b"\"data\"" => &mut envelope.data,
                b"\"timestamp\"" => &mut envelope.timestamp,
                b"\"error\"" => &mut envelope.error,
                b"\"QMP\"" => &mut envelope.greeting,
                unusual => match envelope.by_unusual_name(unusual)? {
                    Some(known) => known,
                    None => continue,
                },
            };
            *known = Some(value);
        }
        Ok(envelope)
    }

    /// A name with escapes in it, or one that is not known.
    fn by_unusual_name(&mut self, name: &[u8]) -> Result<Option<&mut Option<Span>>, Violation> {
        Ok(match &*string(name).ok_or(envelope("", "members named by strings"))? {
            "return" => Some(&mut self.success),
            "id" => Some(&mut self.id),
            "event" => Some(&mut self.event),
            "data" => Some(&mut self.data),
            "timestamp" => Some(&mut self.timestamp),
            "error" => Some(&mut self.error),
            "QMP" => Some(&mut self.greeting),
            _ => None,
        })
    }
}

/// A JSON string's value, borrowed where it has no escapes.
fn string(json: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_slice(json).map(|Borrowed(string)| string).ok()
}

fn read_greeting(text: &Text<'_>, span: Span) -> Result<Message, Violation> {
    // By way of a map, of whose repeated members the last counts, and which is no array.
    let members: Option<Map<String, Value>> =
        serde_json::from_slice(&text.bytes()[span.range()]).ok();
    members
        .and_then(|members| serde_json::from_value(Value::Object(members)).ok())
        .map(Message::Greeting)
        .ok_or(envelope("QMP", "an object with version and capabilities"))
}

fn read_error(text: &Text<'_>, span: Span) -> Result<CommandError, Violation> {
    serde_json::from_slice(&text.bytes()[span.range()])
        .map_err(|_| envelope("error", "an object with class and desc"))
}

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

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
