//! A trace as a server.
//!
//! `compare` decides whether a client's message is the recorded one. `ids` and `sync_numbers` exchange recorded numbers for
//! the client's own. `outbox` holds bytes to send, and `mismatch` describes the first difference.

mod compare;
mod ids;
mod sync_numbers;
mod outbox;
mod mismatch;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use core::{fmt, mem};

use qmp_proto::__server::{self as parts, Line, Lines};
use qmp_proto::Config;
use qmp_proto::trace::REDACTED;
use qmp_proto::trace::Trace;
use qmp_proto::trace::{Direction, Entry, Payload};

use self::ids::Ids;
use self::outbox::Outbox;
use self::sync_numbers::SyncNumbers;

pub use self::mismatch::Mismatch;

/// A server that says what a trace says, as long as the client does so too.
///
/// As a [`Connection`](qmp_proto::Connection) it does no I/O: `handle_…` from the transport, then
/// [`transmit`](Self::transmit) and [`advance`](Self::advance) to it, until it
/// [is finished](Self::is_finished) or there is a [`mismatch`](Self::mismatch).
///
/// - It goes strictly by the trace's order: what the server said is sent as soon as the client has
///   said everything that stands before it. Times do not count.
/// - What the client says is compared as JSON values: white space and the order of members do not
///   count. Integers are the same by their digits, other numbers as doubles.
/// - The `id` that a command has now stands for the recorded one, in its reply too. Where several
///   recorded commands had the same, their replies come in their order. One id for two commands in
///   flight that had different ones is a mismatch. So does the number with which a client begins a
///   session with a guest agent, which may have an id if the recorded command has none.
/// - In a redacted trace, values that were replaced equal everything. Those in the server's messages
///   are sent as they stand.
/// - Where the trace has the end of the server's stream (`<- --`), the replay is finished. Where it has
///   that of the client's (`-> --`), the client may say nothing more.
/// - A client that ends before it has said everything, or before it was sent everything that stands
///   before its end, is a mismatch.
/// - A trace without such an end, of a session that was cut off or written by hand, is finished with its
///   last line: whoever goes on feeding it sees that the client says nothing more.
///
/// [The module](super) has an example.
pub struct Replay {
    trace: Trace,
    /// The entry that comes next.
    next: usize,
    ids: Ids,
    sync_numbers: SyncNumbers,
    lines: Lines,
    /// How many bytes of the next entry the client has said.
    said: usize,
    outbox: Outbox,
    /// The client's stream has ended.
    heard_all: bool,
    /// The server's stream has ended as the trace says, or the client has left where it may.
    ended: bool,
    mismatch: Option<Mismatch>,
}

impl Replay {
    /// A replay from the trace's beginning.
    pub fn new(trace: Trace) -> Self {
        // A redacted line does not say how long it was, so the client's lines are cut as the recorded ones were.
        let lines = Lines::new(Config::default().largest_message(), trace.is_redacted());
        let mut replay = Self {
            trace,
            next: 0,
            ids: Ids::default(),
            sync_numbers: SyncNumbers::default(),
            lines,
            said: 0,
            outbox: Outbox::default(),
            heard_all: false,
            ended: false,
            mismatch: None,
        };
        replay.say();
        replay
    }

    /// Takes in bytes that the client sent, in pieces of any size.
    pub fn handle_input(&mut self, mut bytes: &[u8]) {
        while self.is_going_on() {
            let Some(line) = self.lines.next(&mut bytes) else { break };
            self.hear(line);
        }
    }

    /// Takes in that the client sends nothing any more. What the server said after that is sent yet.
    pub fn handle_eof(&mut self) {
        if mem::replace(&mut self.heard_all, true) {
            return;
        }
        let rest = self.lines.finish();
        if let (true, Some(line)) = (self.is_going_on(), rest) {
            self.hear(line);
        }
        let unsent = self.outbox.first_unsent();
        if self.entry().is_some_and(|entry| *entry.payload() == Payload::End) && !self.ended {
            self.next += 1;
            self.say();
        }
        let unsaid = (!self.ended && self.entry().is_some()).then_some(self.next);
        if let Some(entry) = unsent.or(unsaid) {
            self.differ(entry, "the end of the stream".to_owned());
        }
    }

    /// Takes in that the transport failed: nothing more is sent or heard. Where the client had ended
    /// its stream as the trace says, it may have left before it had heard everything.
    pub fn handle_failure(&mut self) {
        self.handle_eof();
        self.ended = true;
        self.outbox.clear();
    }

    /// What to send now; `None` if nothing. It stays here until [`advance`](Self::advance) says that
    /// the transport took it.
    pub fn transmit(&mut self) -> Option<&[u8]> {
        if self.mismatch.is_some() { None } else { self.outbox.lend() }
    }

    /// Notes that the transport took the first `n` bytes of what [`transmit`](Self::transmit) lent.
    /// A count beyond that is taken as all of it.
    pub fn advance(&mut self, n: usize) {
        self.outbox.advance(n);
    }

    /// Whether everything in the trace has happened. Drop the transport then; where the trace's last
    /// line is no end of a stream, one may go on and see that the client says nothing more.
    pub fn is_finished(&self) -> bool {
        let all = self.ended || self.entry().is_none();
        all && self.mismatch.is_none() && self.outbox.first_unsent().is_none()
    }

    /// Where the client left the trace, if it did: the first place. From then on nothing is sent.
    pub fn mismatch(&self) -> Option<&Mismatch> {
        self.mismatch.as_ref()
    }

    fn is_going_on(&self) -> bool {
        !self.ended && self.mismatch.is_none()
    }

    fn entry(&self) -> Option<&Entry> {
        self.trace.entries().get(self.next)
    }

    /// Says what the server said, up to the client's next line.
    fn say(&mut self) {
        while let Some(entry) = self.trace.entries().get(self.next) {
            match (entry.direction(), entry.payload()) {
                (Direction::ToServer, _) => break,
                (Direction::ToClient, Payload::Json(json)) => {
                    let json = self.sync_numbers.answer(self.ids.answer(json));
                    self.outbox.push(self.next, &[json.as_bytes(), b"\r\n"]);
                }
                (Direction::ToClient, Payload::Bytes(bytes)) => {
                    self.outbox.push(self.next, &[bytes]);
                }
                // The end: there is no other payload.
                (Direction::ToClient, _) => {
                    self.ended = true;
                    break;
                }
            }
            self.next += 1;
        }
    }

    /// Compares what the client says with its next line.
    fn hear(&mut self, line: Line<'_>) {
        if self.hear_bytes(line.bytes()) {
            return;
        }
        let got = line.into_payload();
        if let Err(how) = self.compare(&got) {
            return self.differ(self.next, format!("{got}{how}"));
        }
        self.go_on();
    }

    /// Compares with a line of bytes, piece by piece: the recorder may have joined them. Returns whether they are the same so far.
    fn hear_bytes(&mut self, bytes: &[u8]) -> bool {
        let expected = match self.entry().map(Entry::payload) {
            Some(Payload::Bytes(expected)) => expected.get(self.said..).unwrap_or_default(),
            _ => return false,
        };
        match expected.strip_prefix(bytes) {
            Some([]) => self.go_on(),
            Some(_) => self.said += bytes.len(),
            None => return false,
        }
        true
    }

    fn go_on(&mut self) {
        self.next += 1;
        self.said = 0;
        self.say();
    }

    /// The error is what there is to say beside what came.
    fn compare(&mut self, got: &Payload) -> Result<(), &'static str> {
        let redacted = self.trace.is_redacted();
        let expected = self.trace.entries().get(self.next).map(Entry::payload);
        let same = match (expected, got) {
            (Some(Payload::Json(recorded)), Payload::Json(got)) => {
                let expected = self.sync_numbers.ask(recorded, got);
                if !compare::same_message(&expected, got, redacted) {
                    return Err("");
                }
                let may = self.ids.ask(recorded, got);
                return may.then_some(()).ok_or(", which has the id of another command in flight");
            }
            (Some(Payload::Bytes(expected)), Payload::Bytes(_)) => {
                redacted && expected == REDACTED.as_bytes()
            }
            _ => false,
        };
        same.then_some(()).ok_or("")
    }

    fn differ(&mut self, index: usize, got: String) {
        let expected = match self.trace.entries().get(index).map(Entry::payload) {
            Some(Payload::End) => "the end of the stream".to_owned(),
            Some(payload) => payload.to_string(),
            None => "the end of the trace".to_owned(),
        };
        let line = parts::line(&self.trace, index);
        self.mismatch.get_or_insert(Mismatch { line, expected, got });
    }
}

/// Without what was said: it may hold secrets.
impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("line", &parts::line(&self.trace, self.next))
            .field("outbox", &self.outbox)
            .field("finished", &self.is_finished())
            .field("mismatch", &self.mismatch.is_some())
            .finish_non_exhaustive()
    }
}
