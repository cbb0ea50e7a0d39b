//! Bytes to the lines of a trace.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::document;
use super::entry::{Direction, Entry};
use super::joiner::Joiner;
use super::redaction::Redaction;
use super::splitter::{Piece, Splitter};
use crate::connection::config::Dialect;

/// Makes the lines of a trace of the bytes that go to and fro, in pieces of any size.
///
/// Nothing that goes by is an error. A line's time is that of its last byte, and lines come in the
/// order in which they were complete. Each direction holds at most one unfinished message of at most
/// `max_message` bytes, and less than twelve bytes of short lines. A longer message is recorded in parts, as bytes.
///
/// Short lines are recorded one by one until they have cost 4 KiB. From then on, a line of less than twelve bytes is
/// joined to the next one, as bytes. A recording has at most six bytes for each byte of the stream, and 8 KiB.
///
/// What is no JSON becomes lines of bytes, each up to a line end, a `}`, a 0xFF or the limit. A message
/// in QEMU's own dialect, with single quotes for instance, is bytes too. Behind anything else that is no
/// JSON the rest of the line is bytes, up to a 0xFF, whatever it looks like: it may belong to the same.
/// A message that is broken off, by a control character or by 0xFF, does not end: nothing tells any
/// more what was meant to stand in it, so everything behind it in that direction is bytes.
///
/// [The module](super) has an example.
#[derive(Debug)]
pub struct Recorder {
    redaction: Option<Redaction>,
    to_server: Joiner,
    to_client: Joiner,
    finished: VecDeque<Entry>,
}

impl Recorder {
    /// A recorder of messages of up to so many bytes.
    pub fn new(max_message: usize) -> Self {
        Self {
            redaction: None,
            to_server: Joiner::new(Splitter::new(max_message)),
            to_client: Joiner::new(Splitter::new(max_message)),
            finished: VecDeque::new(),
        }
    }

    /// A recorder of sessions in this dialect. In a guest agent's a 0xFF stands only where a side begins
    /// afresh, so messages behind it are messages again, whatever was broken off before.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        if dialect == Dialect::GuestAgent {
            self.to_server = self.to_server.resynchronising();
            self.to_client = self.to_client.resynchronising();
        }
        self
    }

    /// Replaces secrets; the trace will say so.
    #[must_use]
    pub fn redacted(mut self, redaction: Redaction) -> Self {
        self.redaction = Some(redaction);
        self
    }

    /// The lines with which its trace begins, with their line ends.
    pub fn header(&self) -> &'static str {
        document::header(self.redaction.is_some())
    }

    /// Takes in bytes that went in one direction. The time is that since the session's start.
    ///
    /// Take the entries before the next call: what they hold is bounded by what one call was given
    /// and the one message that was unfinished before.
    pub fn record(&mut self, direction: Direction, mut bytes: &[u8], at: Duration) {
        while let Some(piece) = self.pieces(direction).next(&mut bytes) {
            self.finish(at, direction, piece);
        }
    }

    /// Takes in that one side sends nothing any more.
    pub fn end(&mut self, direction: Direction, at: Duration) {
        if let Some(piece) = self.pieces(direction).finish() {
            self.finish(at, direction, piece);
        }
        self.finished.push_back(Entry::end(at, direction));
    }

    /// The lines that are complete, the oldest first. Call it until it gives `None`.
    pub fn poll_entry(&mut self) -> Option<Entry> {
        self.finished.pop_front()
    }

    fn pieces(&mut self, direction: Direction) -> &mut Joiner {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }

    fn finish(&mut self, at: Duration, direction: Direction, piece: Piece<'_>) {
        let entry = Entry::of(at, direction, piece);
        self.finished.push_back(match &self.redaction {
            Some(redaction) => entry.redacted(redaction),
            None => entry,
        });
    }
}
