//! What has to hold of the framer, whatever comes and however it is cut: for its tests and for the
//! fuzz target.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use serde::de::IgnoredAny;

use super::*;
use crate::codec::scanner::MAX_MEMBERS;
use crate::codec::text::Span;

/// At most so many bytes are looked at or moved for each one that comes: it is looked for between
/// messages, looked at, put into the buffer, moved when that grows, and when it is cut to size.
const WORK_PER_BYTE: usize = 6;

/// The messages of a stream, and how it stands at its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    pub messages: Vec<Message>,
    pub end: Result<Mid, Violation>,
}

/// A message: its text, and of each member the name and the value.
pub type Message = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// In what a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mid {
    Message,
    Nothing,
}

/// What a framer is told to take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub message: usize,
    pub depth: usize,
}

/// Panics where the framer does otherwise than it should with this stream, whole, byte by byte or
/// in these chunks.
pub fn check<'a>(stream: &'a [u8], chunks: impl IntoIterator<Item = &'a [u8]>, limits: Limits) {
    let expected = oracle(stream, limits);
    assert_eq!(read([stream], limits), expected, "whole");
    assert_eq!(read(stream.chunks(1), limits), expected, "byte by byte");
    assert_eq!(read(chunks, limits), expected, "in chunks");
    agree_with_serde(stream, &expected);
}

/// What the framer makes of the chunks, within its limits.
pub fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Reading {
    let mut framer = Framer::new(limits.message, limits.depth);
    let mut messages = Vec::new();
    let mut came = 0;
    for chunk in chunks {
        came += chunk.len();
        let mut input = chunk;
        let end = loop {
            match framer.next(&mut input) {
                Ok(Some(frame)) => messages.push(taken_apart(&frame)),
                other => break other.map(drop),
            }
            assert!(
                framer.buffer.capacity() <= LEAST_BUFFER,
                "a large one's buffer was given away"
            );
        };
        let room = limits.message.min(LEAST_BUFFER.max(2 * came));
        assert!(framer.buffer.capacity() <= room, "memory");
        assert!(framer.scanner.work.bytes <= WORK_PER_BYTE * came, "work");
        if let Err(violation) = end {
            return Reading { messages, end: Err(violation) };
        }
        assert!(input.is_empty(), "some of it was left");
    }
    let end = Ok(if framer.mid_message() { Mid::Message } else { Mid::Nothing });
    Reading { messages, end }
}

fn taken_apart(frame: &Frame<'_>) -> Message {
    let text = frame.text.bytes();
    let part = |span: Span| text[span.range()].to_vec();
    let members = frame.members.iter().map(|member| (part(member.name), part(member.value)));
    (text.to_vec(), members.collect())
}

/// What a stream is made of, found in the most obvious way.
pub fn oracle(stream: &[u8], limits: Limits) -> Reading {
    let mut messages = Vec::new();
    let mut at = 0;
    while at < stream.len() {
        match stream[at] {
            b'{' => match oracle_message(&stream[at..], limits) {
                Err(violation) => return Reading { messages, end: Err(violation) },
                Ok(None) => return Reading { messages, end: Ok(Mid::Message) },
                Ok(Some(message)) => {
                    at += message.0.len();
                    messages.push(message);
                }
            },
            b' ' | b'\t' | b'\r' | b'\n' | 0xFF => at += 1,
            byte => return Reading { messages, end: Err(Violation::Garbage { byte }) },
        }
    }
    Reading { messages, end: Ok(Mid::Nothing) }
}

/// The message that begins here; `None` if it does not end.
fn oracle_message(stream: &[u8], limits: Limits) -> Result<Option<Message>, Violation> {
    let mut open: Vec<u8> = Vec::new();
    let (mut in_string, mut escaped) = (false, false);
    let mut members = Vec::new();
    let (mut name, mut value): (Option<Vec<u8>>, Vec<u8>) = (None, Vec::new());
    for (offset, &byte) in stream.iter().enumerate() {
        let mut structure = false;
        if escaped {
            escaped = false;
        } else if in_string {
            in_string = byte != b'"';
            escaped = byte == b'\\';
        } else {
            structure = true;
            in_string = byte == b'"';
            match byte {
                b'{' | b'[' if open.len() == limits.depth => {
                    return Err(Violation::TooDeep { limit: limits.depth, offset });
                }
                b'{' | b'[' => open.push(byte),
                b'}' | b']' => {
                    let matching = if byte == b'}' { b'{' } else { b'[' };
                    if open.pop() != Some(matching) {
                        return Err(Violation::MismatchedBracket { offset });
                    }
                }
                _ => {}
            }
        }
        let ends_message = structure && open.is_empty();
        if ends_message || structure && open.len() == 1 && byte == b',' {
            if members.len() == MAX_MEMBERS {
                return Err(Violation::TooManyMembers { limit: MAX_MEMBERS });
            }
            let value = mem::take(&mut value);
            members.push(match name.take() {
                Some(name) => (name, value),
                None => (value, Vec::new()),
            });
        } else if structure && open.len() == 1 && byte == b':' && name.is_none() {
            name = Some(mem::take(&mut value));
        } else if offset > 0 {
            value.push(byte);
        }
        if ends_message {
            return Ok(Some((stream[..=offset].to_vec(), members)));
        }
        if offset + 1 == limits.message {
            return Err(Violation::TooLarge { limit: limits.message });
        }
    }
    Ok(None)
}

/// Where an object begins and serde_json reads one, it has the same end; and where serde_json reads
/// one, there is one.
fn agree_with_serde(stream: &[u8], reading: &Reading) {
    let mut rest = between_messages(stream);
    for (text, _) in &reading.messages {
        assert!(rest.starts_with(text), "messages come from the stream, in order");
        if let Some(length) = object_by_serde(rest) {
            assert_eq!(length, text.len(), "serde_json ends the object elsewhere");
        }
        rest = between_messages(&rest[text.len()..]);
    }
    let too_much = matches!(
        reading.end,
        Err(Violation::TooLarge { .. }
            | Violation::TooDeep { .. }
            | Violation::TooManyMembers { .. })
    );
    assert!(too_much || object_by_serde(rest).is_none(), "serde_json reads one more object");
}

fn between_messages(stream: &[u8]) -> &[u8] {
    let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0xFF);
    &stream[stream.iter().take_while(|byte| is_between(byte)).count()..]
}

/// How long the object is with which the stream begins, if serde_json reads one there.
fn object_by_serde(stream: &[u8]) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(stream).into_iter::<IgnoredAny>();
    let is_object = stream.starts_with(b"{") && matches!(values.next(), Some(Ok(_)));
    is_object.then(|| values.byte_offset())
}
