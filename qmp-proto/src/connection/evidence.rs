//! Messages received in place of the greeting, the negotiation reply or the session.
//!
//! They name the cause if the wait fails: an agent that refuses `guest-sync-delimited` is not a silent
//! one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use memchr::memchr2;

use crate::codec::framer::Framer;
use crate::codec::message::Message;
use crate::payload::error::CommandError;
use crate::payload::raw::Raw;

/// With this error an agent answers the 0xFF with which a session begins, so it says least.
pub(super) const PARSE_ERROR: &str = "JSON parse error";

/// What agents before QEMU 2.12 answer to a command with an id.
const ID_REFUSED: &str = "'id' is unexpected";

/// A longer line, or one nested deeper, is not looked at.
const LONGEST_LINE: usize = 1024;
const DEEPEST: usize = 4;

/// What a peer sent in place of what a connection waited for to become ready:
/// [`Connection::evidence`](crate::Connection::evidence).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// Bytes that are not a message, so many of them.
    Noise(u64),
    /// An error. Its description is cut off after 256 bytes.
    Error(Box<CommandError>),
    /// A reply that answers no command of this connection.
    Reply,
    /// An event.
    Event,
    /// A greeting, where a guest agent was expected.
    Greeting,
}

impl Evidence {
    pub(crate) fn of(message: &Message) -> Self {
        match message {
            Message::Greeting(_) => Self::Greeting,
            Message::Event(_) => Self::Event,
            Message::Reply(reply) => Self::of_reply(&reply.outcome),
        }
    }

    pub(crate) fn of_reply(outcome: &Result<Raw, CommandError>) -> Self {
        match outcome {
            Ok(_) => Self::Reply,
            Err(error) => Self::Error(Box::new(error.shortened())),
        }
    }

    /// The error, unless it is that with which an agent answers the byte that a session begins with.
    pub fn refusal(&self) -> Option<&CommandError> {
        match self {
            Self::Error(error) if self.weight() > 1 => Some(error),
            _ => None,
        }
    }

    /// Rank of the evidence. The last one of the highest rank is kept.
    fn weight(&self) -> u8 {
        match self {
            Self::Noise(_) => 0,
            Self::Error(error) if error.desc.contains(PARSE_ERROR) => 1,
            Self::Error(_) | Self::Reply | Self::Event => 2,
            // A monitor has errors too for what an agent is asked.
            Self::Greeting => 3,
        }
    }

    /// Keeps `new` in the place of `kept`, unless that says more.
    pub(crate) fn keep(kept: &mut Option<Self>, new: Self) {
        if kept.as_ref().is_none_or(|kept| kept.weight() <= new.weight()) {
            *kept = Some(new);
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noise(1) => f.write_str("one byte that is not a message"),
            Self::Noise(bytes) => write!(f, "{bytes} bytes that are not a message"),
            Self::Error(error) => write!(f, "the error {error}"),
            Self::Reply => f.write_str("a reply that was not asked for"),
            Self::Event => f.write_str("an event"),
            Self::Greeting => f.write_str("the greeting of a monitor, which speaks QMP"),
        }
    }
}

/// Reads messages of a line each, between anything else, for what they tell of the peer.
#[derive(Default)]
pub(crate) struct Overheard {
    line: Vec<u8>,
    /// The line is longer than what is kept of it.
    overlong: bool,
    noise: u64,
    evidence: Option<Evidence>,
    refuses_ids: bool,
}

impl Overheard {
    /// Takes in what came. Lines end at a line end, and at a 0xFF.
    pub(crate) fn hear(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr2(b'\n', 0xFF, bytes) {
            self.append(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.append(bytes);
    }

    /// The evidence so far, including an unfinished line.
    pub(crate) fn evidence(&self) -> Option<Evidence> {
        let unread = self.line.trim_ascii().len() as u64;
        let noise = self.noise + unread;
        self.evidence.clone().or((noise > 0).then_some(Evidence::Noise(noise)))
    }

    /// Whether the agent has refused a command for its id since this was asked last.
    pub(crate) fn take_refusal_of_ids(&mut self) -> bool {
        core::mem::take(&mut self.refuses_ids)
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE - self.line.len();
        let (kept, dropped) = bytes.split_at(room.min(bytes.len()));
        self.line.extend_from_slice(kept);
        self.overlong |= !dropped.is_empty();
        self.noise = self.noise.saturating_add(dropped.len() as u64);
    }

    fn end_line(&mut self) {
        let line = self.line.trim_ascii();
        let message = if self.overlong { None } else { read(line) };
        match &message {
            Some(message) => {
                let new = Evidence::of(message);
                self.refuses_ids |=
                    matches!(&new, Evidence::Error(error) if error.desc.contains(ID_REFUSED));
                Evidence::keep(&mut self.evidence, new);
            }
            None => self.noise = self.noise.saturating_add(line.len() as u64),
        }
        self.overlong = false;
        self.line.clear();
    }
}

/// A line that is a message, and nothing else.
fn read(mut line: &[u8]) -> Option<Message> {
    if !line.starts_with(b"{") {
        return None;
    }
    let mut framer = Framer::new(LONGEST_LINE, DEEPEST);
    let message = Message::read(&framer.next(&mut line).ok()??).ok();
    message.filter(|_| line.is_empty())
}

/// Lengths alone: what came may hold secrets.
impl fmt::Debug for Overheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overheard({} bytes of a line)", self.line.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::error::ErrorClass;
    use alloc::string::{String, ToString};

    fn heard(bytes: &[u8]) -> Option<Evidence> {
        let of = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut overheard = Overheard::default();
            pieces.for_each(|piece| overheard.hear(piece));
            assert!(overheard.line.capacity() <= 2 * LONGEST_LINE);
            overheard.evidence()
        };
        let whole = of(&mut core::iter::once(bytes));
        assert_eq!(of(&mut bytes.chunks(1)), whole, "byte by byte");
        whole
    }

    fn error(desc: &str) -> String {
        alloc::format!("{{\"error\": {{\"class\": \"GenericError\", \"desc\": \"{desc}\"}}}}\n")
    }

    #[test]
    fn c20_the_last_that_says_most_is_kept() {
        let known = |desc: &str| Some(Evidence::Error(CommandError::generic(desc).into()));
        assert_eq!(heard(b""), None);
        assert_eq!(heard(b" \r\n\xff\n"), None);
        assert_eq!(heard(b"login: "), Some(Evidence::Noise(6)));
        assert_eq!(heard(b"\xff\n{]\n{}\n[1]\n"), Some(Evidence::Noise(7)));
        assert_eq!(heard(b"{\"QMP\": {}}\r\n"), Some(Evidence::Greeting));
        assert_eq!(heard(b"{\"QMP\": {}} x\n"), Some(Evidence::Noise(13)));
        assert_eq!(heard(b"{\"event\": \"A\"}\n noise\n"), Some(Evidence::Event));
        assert_eq!(heard(b"{\"return\": 1, \"id\": 2}\xff"), Some(Evidence::Reply));
        let parse = error("JSON parse error, stray '\\uFFFD'");
        assert_eq!(heard(parse.as_bytes()), known("JSON parse error, stray '\u{FFFD}'"));
        let lines = [parse.clone(), error("it is off"), parse].concat();
        assert_eq!(heard(lines.as_bytes()), known("it is off"));
        let lines = [error("one"), error("two")].concat();
        assert_eq!(heard(lines.as_bytes()), known("two"));
        let lines = ["{\"QMP\": {}}\n", &lines].concat();
        assert_eq!(heard(lines.as_bytes()), Some(Evidence::Greeting));
    }

    #[test]
    fn c22_what_is_kept_is_bounded() {
        assert_eq!(heard(&[b'a'; 5000]), Some(Evidence::Noise(5000)));
        let long = error(&"ä".repeat(400));
        let Some(Evidence::Error(error)) = heard(long.as_bytes()) else { panic!() };
        assert_eq!((error.desc.len(), error.class), (256 + "…".len(), ErrorClass::GenericError));
        assert!(error.desc.ends_with("ä…"));
    }

    #[test]
    fn c22_its_text_says_what_came() {
        for (evidence, text) in [
            (Evidence::Noise(1), "one byte that is not a message"),
            (Evidence::Noise(7), "7 bytes that are not a message"),
            (Evidence::Error(CommandError::generic("no").into()), "the error GenericError: no"),
            (Evidence::Reply, "a reply that was not asked for"),
            (Evidence::Event, "an event"),
            (Evidence::Greeting, "the greeting of a monitor, which speaks QMP"),
        ] {
            assert_eq!(evidence.to_string(), text);
        }
    }
}
