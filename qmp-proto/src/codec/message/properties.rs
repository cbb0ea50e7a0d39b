//! What has to hold of the reading of messages, whatever comes: for the fuzz target, and a test.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;

use serde_json::{Map, Value};

use super::*;
use crate::codec::framer::properties::{Limits, Mid, oracle};
use crate::codec::framer::{Framer, MAX_DEPTH};
use crate::payload::event::Timestamp;

const WIDE: Limits = Limits { message: usize::MAX, depth: MAX_DEPTH };

/// The name and the value of each member.
type Members = [(Vec<u8>, Vec<u8>)];

/// All that is told of a message.
#[derive(Debug, PartialEq)]
enum Told {
    Greeting { version: Option<Version>, capabilities: Vec<String> },
    Reply { id: Option<Id>, outcome: Result<Vec<u8>, (String, String)> },
    Event { name: String, data: Option<Vec<u8>>, timestamp: Option<Timestamp> },
}

#[derive(Debug, PartialEq)]
enum Id {
    Number(u64),
    Other(Vec<u8>),
}

/// Panics where a message of this stream is read otherwise than it should be.
pub fn check(stream: &[u8]) {
    for (text, members) in oracle(stream, WIDE).messages {
        let told = read_naively(&members);
        assert_eq!(read([&text[..]]), told, "whole");
        assert_eq!(read(text.chunks(text.len().div_ceil(2))), told, "in two pieces");
        agree_with_serde(&text, told.as_ref());
        if let Some(escaped) = with_escapes(&members) {
            assert_eq!(read([&escaped[..]]), told, "with names in escapes");
        }
    }
}

/// What is read of one message, or `None` where it is refused.
fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Told> {
    let mut framer = Framer::new(WIDE.message, WIDE.depth);
    for mut chunk in chunks {
        if let Some(frame) = framer.next(&mut chunk).expect("the oracle found a message") {
            return Message::read(&frame).ok().map(tell);
        }
    }
    panic!("the oracle found a message");
}

fn tell(message: Message) -> Told {
    match message {
        Message::Greeting(Greeting { version, capabilities }) => {
            Told::Greeting { version, capabilities }
        }
        Message::Reply(Reply { id, outcome }) => Told::Reply {
            id: match id {
                ReplyId::Absent => None,
                ReplyId::Number(number) => Some(Id::Number(number)),
                ReplyId::Other(raw) => Some(Id::Other(raw.as_bytes().to_vec())),
            },
            outcome: match outcome {
                Ok(raw) => Ok(raw.as_bytes().to_vec()),
                Err(error) => Err((error.class.as_str().to_string(), error.desc.to_string())),
            },
        },
        Message::Event(event) => Told::Event {
            name: event.name().to_string(),
            data: event.data().map(|data| data.as_bytes().to_vec()),
            timestamp: event.timestamp(),
        },
    }
}

/// The rules of envelopes, in the most obvious way.
fn read_naively(members: &Members) -> Option<Told> {
    let is_string =
        |name: &[u8]| name.len() >= 2 && name.starts_with(b"\"") && name.ends_with(b"\"");
    let well_formed =
        |(name, value): &(Vec<u8>, Vec<u8>)| is_string(trimmed(name)) && !trimmed(value).is_empty();
    if !members.iter().all(well_formed) {
        return None;
    }
    match ["QMP", "return", "error", "event"].map(|name| last(members, name)) {
        [Some(greeting), None, None, None] => {
            let about = object(greeting).filter(|_| greeting.len() <= MAX_GREETING)?;
            Some(Told::Greeting {
                version: last(&about, "version").and_then(version_naively),
                capabilities: last(&about, "capabilities").map_or(Vec::new(), strings_naively),
            })
        }
        [None, Some(value), None, None] => {
            Some(Told::Reply { id: id(members), outcome: Ok(value.to_vec()) })
        }
        [None, None, Some(error), None] => {
            let error = object(error)?;
            let text = |name| {
                last(&error, name)
                    .map(|json| string(json).unwrap_or(String::from_utf8_lossy(json).into()))
            };
            let class = text("class").unwrap_or("GenericError".to_string());
            let outcome = Err((class, text("desc").unwrap_or_default()));
            Some(Told::Reply { id: id(members), outcome })
        }
        [None, None, None, Some(name)] => Some(Told::Event {
            name: string(name)?,
            data: last(members, "data").map(<[u8]>::to_vec),
            timestamp: last(members, "timestamp")
                .and_then(|json| serde_json::from_slice(json).ok()),
        }),
        _ => None,
    }
}

/// The value of the last member of that name, without the white space around it.
fn last<'a>(members: &'a Members, wanted: &str) -> Option<&'a [u8]> {
    let mut named =
        members.iter().rev().filter(|(name, _)| string(name).as_deref() == Some(wanted));
    named.next().map(|(_, value)| trimmed(value))
}

fn id(members: &Members) -> Option<Id> {
    let json = last(members, "id")?;
    let number = core::str::from_utf8(json).ok().and_then(|text| text.parse::<u64>().ok());
    let plain = number.filter(|number| *number > 0 && number.to_string().as_bytes() == json);
    Some(plain.map_or(Id::Other(json.to_vec()), Id::Number))
}

/// The members of a text that is one object and nothing else.
fn object(json: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut reading = oracle(json, WIDE);
    let (text, members) = reading.messages.pop()?;
    let alone = reading.messages.is_empty() && reading.end == Ok(Mid::Nothing);
    (alone && text == json).then_some(members)
}

fn string(json: &[u8]) -> Option<String> {
    serde_json::from_slice(json).ok()
}

fn version_naively(json: &[u8]) -> Option<Version> {
    let version = object(json)?;
    let qemu = object(last(&version, "qemu")?)?;
    let part = |name| serde_json::from_slice(last(&qemu, name)?).ok();
    let package = last(&version, "package").map_or(Some(String::new()), string)?;
    let qemu =
        VersionTriple { major: part("major")?, minor: part("minor")?, micro: part("micro")? };
    Some(Version { qemu, package })
}

fn strings_naively(json: &[u8]) -> Vec<String> {
    let elements: Vec<Box<RawValue>> = serde_json::from_slice(json).unwrap_or_default();
    elements.iter().filter_map(|element| string(element.get().as_bytes())).collect()
}

/// Without JSON's white space, which is less than ASCII's.
fn trimmed(json: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = json.iter().take_while(|byte| is_space(byte)).count();
    let end = json[start..].iter().rev().take_while(|byte| is_space(byte)).count();
    &json[start..json.len() - end]
}

/// Where serde_json reads the message, its members are the same.
fn agree_with_serde(text: &[u8], told: Option<&Told>) {
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(text) else { return };
    let value = |json: &[u8]| serde_json::from_slice::<Value>(json).expect("serde_json read it");
    let kinds = ["QMP", "return", "error", "event"].map(|name| members.get(name));
    match (kinds, told) {
        (
            [Some(Value::Object(about)), None, None, None],
            Some(Told::Greeting { capabilities, .. }),
        ) => {
            let offered = about.get("capabilities").and_then(Value::as_array);
            let offered = offered.into_iter().flatten().filter_map(Value::as_str);
            assert!(offered.eq(capabilities), "the capabilities");
        }
        ([None, Some(returned), None, None], Some(Told::Reply { id, outcome: Ok(json) })) => {
            assert_eq!(value(json), *returned);
            assert_same_id(members.get("id"), id.as_ref());
        }
        (
            [None, None, Some(Value::Object(error)), None],
            Some(Told::Reply { id, outcome: Err(told) }),
        ) => {
            let text = |name| error.get(name).map(|json| json.as_str());
            assert!(
                matches!(text("class"), None | Some(None)) || text("class") == Some(Some(&told.0))
            );
            assert!(
                matches!(text("desc"), None | Some(None)) || text("desc") == Some(Some(&told.1))
            );
            assert_same_id(members.get("id"), id.as_ref());
        }
        ([None, None, None, Some(Value::String(event))], Some(Told::Event { name, data, .. })) => {
            assert_eq!(name, event);
            assert_eq!(data.as_deref().map(value).as_ref(), members.get("data"));
        }
        // A greeting may also be too large.
        ([Some(greeting), None, None, None], None) => {
            assert!(!greeting.is_object() || text.len() > MAX_GREETING);
        }
        ([None, None, Some(error), None], None) => assert!(!error.is_object()),
        ([None, None, None, Some(name)], None) => assert!(!name.is_string()),
        (kinds, None) => assert_ne!(kinds.iter().flatten().count(), 1, "it is of one kind"),
        (kinds, Some(told)) => panic!("{told:?} from {kinds:?}"),
    }
}

fn assert_same_id(value: Option<&Value>, id: Option<&Id>) {
    let json = id.map(|id| match id {
        Id::Number(number) => Value::from(*number),
        Id::Other(json) => serde_json::from_slice(json).expect("serde_json read it"),
    });
    assert_eq!(json.as_ref(), value, "the id");
}

/// The same message in other words: every name that is plain, and that of the event, in escapes.
fn with_escapes(members: &Members) -> Option<Vec<u8>> {
    let complete = members.iter().all(|(_, value)| !value.is_empty());
    let member = |(name, value): &(Vec<u8>, Vec<u8>)| {
        let is_event = string(name).as_deref() == Some("event");
        let value = if is_event { escaped(value) } else { value.clone() };
        [&escaped(name)[..], b":", &value].concat()
    };
    let members: Vec<Vec<u8>> = members.iter().map(member).collect();
    complete.then(|| [b"{", &members.join(&b',')[..], b"}"].concat())
}

fn escaped(json: &[u8]) -> Vec<u8> {
    match string(json) {
        Some(text) if text.is_ascii() => {
            let escapes = text.bytes().map(|byte| format!("\\u{byte:04X}")).collect::<String>();
            format!("\"{escapes}\"").into_bytes()
        }
        _ => json.to_vec(),
    }
}
