//! One line of a trace.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde_json::value::RawValue;

use super::escape;
use super::redaction::Redaction;
use super::splitter::Piece;

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `->`: from the client to the server.
    ToServer,
    /// `<-`: from the server to the client.
    ToClient,
}

/// What went that way.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// A message: the text of a JSON object, without line ends.
    Json(String),
    /// Bytes that are no such message.
    Bytes(Vec<u8>),
    /// The end of the stream.
    End,
}

/// One line of a trace: when, which way, and what. It is written without a line end.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub(super) at: Duration,
    pub(super) direction: Direction,
    pub(super) payload: Payload,
}

impl Entry {
    /// Some bytes: a message if they are a JSON object, whose line ends become spaces.
    ///
    /// The time is that since the session's start; what it has beyond microseconds is dropped.
    pub fn new(at: Duration, direction: Direction, bytes: &[u8]) -> Self {
        let bytes = Cow::Borrowed(bytes);
        let is_message = is_message(&bytes);
        Self::of(
            at,
            direction,
            if is_message { Piece::Message(bytes) } else { Piece::Other(bytes) },
        )
    }

    /// The end of one side's stream.
    pub fn end(at: Duration, direction: Direction) -> Self {
        Self::with(at, direction, Payload::End)
    }

    /// A piece of a stream. What is no message there is none here, whatever it looks like.
    pub(super) fn of(at: Duration, direction: Direction, piece: Piece<'_>) -> Self {
        let payload = match piece {
            // It is a JSON object, so it is UTF-8.
            Piece::Message(bytes) => Payload::Json(in_one_line(bytes).unwrap_or_default()),
            Piece::Other(bytes) => Payload::Bytes(bytes.into_owned()),
        };
        Self::with(at, direction, payload)
    }

    fn with(at: Duration, direction: Direction, payload: Payload) -> Self {
        let at = Duration::new(at.as_secs(), at.subsec_micros() * 1000);
        Self { at, direction, payload }
    }

    /// The time since the session's start, in whole microseconds.
    pub fn at(&self) -> Duration {
        self.at
    }

    /// Which way it went.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// What it was.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The same line with its secrets replaced.
    #[must_use]
    pub fn redacted(mut self, redaction: &Redaction) -> Self {
        self.payload = match self.payload {
            Payload::Json(json) => Payload::Json(redaction.apply(&json)),
            Payload::Bytes(bytes) => Payload::Bytes(redaction.apply_to_bytes(bytes)),
            Payload::End => Payload::End,
        };
        self
    }

    /// Reads a line; the error says what was expected.
    pub(super) fn parse(line: &str) -> Result<Self, &'static str> {
        let (time, rest) = line.split_once(' ').unwrap_or((line, ""));
        let at = parse_time(time).ok_or("a time, such as 0.000001")?;
        let (arrow, payload) = rest.split_once(' ').unwrap_or((rest, ""));
        let direction = match arrow {
            "->" => Direction::ToServer,
            "<-" => Direction::ToClient,
            _ => return Err("-> or <- behind the time"),
        };
        Ok(Self { at, direction, payload: parse_payload(payload)? })
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (seconds, micros) = text.split_once('.')?;
    if micros.len() != 6 || !is_number(seconds) || !is_number(micros) {
        return None;
    }
    Some(Duration::new(seconds.parse().ok()?, micros.parse::<u32>().ok()? * 1000))
}

fn parse_payload(text: &str) -> Result<Payload, &'static str> {
    if text == "--" {
        return Ok(Payload::End);
    }
    if let Some(escaped) = text.strip_prefix('!') {
        let bytes = escape::unescape(escaped).ok_or(r"\xNN or \\ behind the !, or ASCII")?;
        return Ok(Payload::Bytes(bytes));
    }
    let is_message = is_message(text.as_bytes());
    is_message.then(|| Payload::Json(text.to_owned())).ok_or("a JSON object, ! and bytes, or --")
}

/// Whether these bytes are the text of a JSON object.
pub(super) fn is_message(bytes: &[u8]) -> bool {
    bytes.starts_with(b"{") && serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

/// A JSON object's text in one line. Its strings cannot hold a line end as it is.
fn in_one_line(bytes: Cow<'_, [u8]>) -> Option<String> {
    let mut bytes = bytes.into_owned();
    bytes.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToServer => "->",
            Self::ToClient => "<-",
        })
    }
}

/// As it stands in a trace.
impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(json) => f.write_str(json),
            Self::Bytes(bytes) => write!(f, "!{}", escape::escaped(bytes)),
            Self::End => f.write_str("--"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at.as_secs(), self.at.subsec_micros());
        write!(f, "{seconds}.{micros:06} {} {}", self.direction, self.payload)
    }
}

/// The length alone: it may hold secrets.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(json) => write!(f, "Json({} bytes)", json.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::End => f.write_str("End"),
        }
    }
}

/// Without what went: it may hold secrets.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?} {} {:?})", self.at, self.direction, self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[track_caller]
    fn assert_line(bytes: &[u8], line: &str) {
        let entry = Entry::new(Duration::new(61, 2_999), Direction::ToClient, bytes);
        assert_eq!(entry.to_string(), line);
        assert_eq!(Entry::parse(line), Ok(entry));
    }

    #[test]
    fn c21_lines_are_written_and_read() {
        assert_line(b"{\"a\":\r\n\t1}", "61.000002 <- {\"a\":  \t1}");
        assert_line("{\"ä\": 1}".as_bytes(), "61.000002 <- {\"ä\": 1}");
        assert_line(b"{\"a\": \"\n\"}", r#"61.000002 <- !{"a": "\x0a"}"#);
        assert_line(b"{\"a\": \"\xc3\"}", r#"61.000002 <- !{"a": "\xc3"}"#);
        assert_line(b"{'a': 1}", "61.000002 <- !{'a': 1}");
        assert_line(b"[1]", "61.000002 <- ![1]");
        assert_line(b"--", "61.000002 <- !--");
        assert_line(b" \\ ", r"61.000002 <- ! \\ ");
        assert_line(b"", "61.000002 <- !");
        let end = Entry::end(Duration::from_micros(7), Direction::ToServer);
        assert_eq!(end.to_string(), "0.000007 -> --");
        assert_eq!(Entry::parse("0.000007 -> --"), Ok(end));
    }

    #[test]
    fn c21_what_is_no_line_is_refused() {
        let time = "a time, such as 0.000001";
        let arrow = "-> or <- behind the time";
        let payload = "a JSON object, ! and bytes, or --";
        let escape = r"\xNN or \\ behind the !, or ASCII";
        let cases = [
            ("-> {}", time),
            ("1 -> {}", time),
            ("1.5 -> {}", time),
            ("+1.000000 -> {}", time),
            ("99999999999999999999.000000 -> {}", time),
            ("1.000000", arrow),
            ("1.000000 {}", arrow),
            ("1.000000  -> {}", arrow),
            ("1.000000 ->", payload),
            ("1.000000 -> {", payload),
            ("1.000000 -> 1", payload),
            (r"1.000000 -> !\x4", escape),
            (r"1.000000 -> !\", escape),
            (r"1.000000 -> !\n", escape),
            ("1.000000 -> !ä", escape),
        ];
        for (line, expected) in cases {
            assert_eq!(Entry::parse(line), Err(expected), "{line}");
        }
    }
}
