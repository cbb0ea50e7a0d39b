//! A parser written by hand for this one purpose: objects by bracket and string, in whatever layout,
//! and where the members of each are. No limits, no checks, and nothing without an id that is a number.

use std::ops::Range;

use crate::Reader;

/// Keeps what has come of a message, and where in it the scan stands.
#[derive(Default)]
pub struct Spans {
    buffer: Vec<u8>,
    at: usize,
    depth: usize,
    in_string: bool,
    members: Vec<(Range<usize>, Range<usize>)>,
    start: usize,
    colon: usize,
}

/// What it makes of a message, payloads copied.
#[derive(Default)]
struct Message {
    id: Option<u64>,
    payload: Box<[u8]>,
    event: Box<[u8]>,
}

impl Reader for Spans {
    fn read(&mut self, piece: &[u8]) -> usize {
        self.buffer.extend_from_slice(piece);
        let (mut messages, mut taken) = (0, 0);
        while let Some(end) = self.scan(taken) {
            std::hint::black_box(self.message());
            self.members.clear();
            messages += 1;
            taken = end;
        }
        self.forget(taken);
        messages
    }
}

impl Spans {
    /// Moves what is left to the buffer's front, and what is known of it.
    fn forget(&mut self, taken: usize) {
        self.buffer.drain(..taken);
        self.at -= taken.min(self.at);
        self.start -= taken.min(self.start);
        self.colon -= taken.min(self.colon);
        for (name, value) in &mut self.members {
            *name = name.start - taken..name.end - taken;
            *value = value.start - taken..value.end - taken;
        }
    }

    /// Where the message ends that begins at or behind `from`.
    fn scan(&mut self, from: usize) -> Option<usize> {
        let mut at = self.at.max(from);
        while at < self.buffer.len() {
            if self.in_string {
                match self.buffer[at] {
                    // An escape that is cut is looked at again when the rest is there.
                    b'\\' if at + 1 == self.buffer.len() => break,
                    b'\\' => at += 1,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                at += 1;
                continue;
            }
            match self.buffer[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth == 1 {
                        self.start = at + 1;
                    }
                }
                b':' if self.depth == 1 => self.colon = at,
                b',' if self.depth == 1 => self.end_member(at),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.end_member(at);
                        self.at = at + 1;
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        self.at = at;
        None
    }

    fn end_member(&mut self, at: usize) {
        self.members.push((self.start..self.colon, self.colon + 1..at));
        self.start = at + 1;
    }

    fn message(&self) -> Message {
        let mut message = Message::default();
        for (name, value) in &self.members {
            let value = self.buffer[value.clone()].trim_ascii();
            match self.buffer[name.clone()].trim_ascii() {
                b"\"id\"" => {
                    let text = std::str::from_utf8(value).expect("an id is a number");
                    message.id = text.parse().ok();
                }
                b"\"event\"" => message.event = value.into(),
                b"\"return\"" | b"\"error\"" | b"\"data\"" => message.payload = value.into(),
                _ => {}
            }
        }
        message
    }
}
