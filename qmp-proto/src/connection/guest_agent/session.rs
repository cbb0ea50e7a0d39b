//! One session: its questions, and the input up to its answer.

use memchr::memchr;
use serde::Serialize;

use crate::codec::framer::Framer;
use crate::codec::message::{Message, Reply, ReplyId};
use crate::connection::evidence::Overheard;
use crate::connection::outbound::Outbound;

/// Stands before a `guest-sync-delimited` and before its answer.
pub(super) const DELIMITER: u8 = 0xFF;

/// An answer is shorter and flatter than that.
const LONGEST: usize = 256;
const DEEPEST: usize = 4;

/// A session that begins or has begun.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The number of the last question, and that of the first one since the last session.
    pub(super) number: u64,
    pub(super) first: u64,
    /// The last number that was sent as an id too.
    pub(super) id: u64,
    /// That id came back.
    pub(super) echoed: bool,
    /// Reads the bytes after a 0xFF until they are the answer or cannot be.
    pub(super) candidate: Option<Framer>,
    /// An answer to an earlier question came: the agent is slow, and the last answer will come too.
    pub(super) alive: bool,
    /// The other input.
    pub(super) overheard: Overheard,
}

/// How a session is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    WithId,
    WithoutId,
    /// With an id, and then without one, for an agent that does not answer the first.
    Both,
}

impl Session {
    /// Sends a question, whose answer begins this session.
    pub(super) fn ask<F>(&mut self, question: Question, outbound: &mut Outbound<F>) {
        let with_id = (question != Question::WithoutId).then(|| ask(outbound, true));
        let without_id = (question != Question::WithId).then(|| ask(outbound, false));
        self.id = with_id.unwrap_or_default();
        self.number = without_id.unwrap_or(self.id);
        if self.first == 0 {
            self.first = with_id.unwrap_or(self.number);
        }
        (self.echoed, self.candidate, self.alive) = (false, None, false);
    }

    /// Drops input up to the end of the answer; returns the rest once the answer has come.
    pub(super) fn read<'a>(&mut self, mut input: &'a [u8]) -> Option<&'a [u8]> {
        loop {
            let delimiter = memchr(DELIMITER, input);
            let (part, rest) = input.split_at(delimiter.unwrap_or(input.len()));
            let mut left = part;
            if self.is_answered_in(&mut left) {
                return Some(&input[input.len() - rest.len() - left.len()..]);
            }
            self.overheard.hear(part);
            delimiter?;
            self.overheard.hear(&rest[..1]);
            input = &rest[1..];
            self.candidate = Some(Framer::new(LONGEST, DEEPEST));
        }
    }

    /// Whether `part`, which has no 0xFF, ends the answer to the last question. If so, removes it.
    fn is_answered_in(&mut self, part: &mut &[u8]) -> bool {
        let Some(candidate) = &mut self.candidate else { return false };
        let message = match candidate.next(part) {
            Ok(None) => return false,
            Ok(Some(frame)) => Message::read(&frame),
            Err(violation) => Err(violation),
        };
        self.candidate = None;
        let Ok(Message::Reply(Reply { id, outcome: Ok(raw) })) = message else { return false };
        let Ok(number) = raw.parse::<u64>() else { return false };
        self.echoed |= number == self.id && id == ReplyId::Number(number);
        self.alive |= (self.first..self.number).contains(&number);
        number == self.number
    }

    /// Whether the agent refused the only question, which had an id.
    pub(super) fn is_refused_for_its_id(&mut self) -> bool {
        self.overheard.take_refusal_of_ids() && self.id == self.number
    }
}

/// Sends a question. Returns its number.
fn ask<F>(outbound: &mut Outbound<F>, with_id: bool) -> u64 {
    /// The argument of `guest-sync-delimited`, which is also its return.
    #[derive(Serialize)]
    struct Arguments {
        id: u64,
    }
    // Numbers and ids are of one sequence: none is given twice.
    let id = outbound.next_id();
    outbound.commit_own(
        &[DELIMITER],
        "guest-sync-delimited",
        Arguments { id },
        with_id.then_some(id),
    );
    id
}
