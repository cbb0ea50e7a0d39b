//! Where a guest agent's session begins, and begins anew.
//!
//! A guest agent outlives its clients. One of them may have left half a command behind, which would
//! swallow ours, and replies that nobody took, which would be taken for ours. So a session begins with
//! 0xFF, which no JSON holds and which makes the agent's parser start afresh, and a
//! `guest-sync-delimited` with a number of our own. The agent puts a 0xFF before its answer: everything
//! that comes before is dropped unread, half a string included, and so is whatever follows a 0xFF and
//! is not the answer with our number.
//!
//! The question has the number as its id too. An agent that echoes it, as QEMU's does from 4.0 on, gets
//! an id with each command of the session. A reply with another id, or without one, is unmatched.
//! Agents before 2.12 refuse a command with an id: they are asked without one as well. From an agent
//! without ids the next reply is the one that answers, so what comes while no command is in flight is dropped, and
//! a new session begins before the next command.
//!
//! A new session also begins where a command in flight is given up. The agent runs one command at a time, so the
//! reply that nobody wants any more comes before the answer, and is dropped with the rest. And it
//! begins after an error of an agent without ids: one that cannot read what it gets, as its predecessor
//! got the first half of it, gives several, of which the second would be taken for an answer to the next
//! command. There it waits for the next command. A client that closes now leaves no unread answer; an unread
//! answer can kill the agent.
//!
//! And it is done where what comes cannot be read: others may write to the same serial line.

use memchr::memchr;
use serde::Serialize;

use crate::codec::encode;
use crate::codec::framer::Framer;
use crate::codec::message::{Message, Reply, ReplyId};
use crate::connection::Connection;
use crate::connection::close::CloseReason;
use crate::connection::config::Dialect;
use crate::connection::evidence::Overheard;
use crate::connection::output::Output;
use crate::connection::phase::{Phase, Trigger};
use crate::payload::command::{CommandId, Request};
use crate::payload::error::ExecuteError;

/// What stands before a `guest-sync-delimited` and before its answer.
const DELIMITER: u8 = 0xFF;

/// An answer is shorter and flatter than that; what is not, is none.
const LONGEST: usize = 256;
const DEEPEST: usize = 4;

/// A synchronisation, under way or done.
#[derive(Debug, Default)]
pub(crate) struct Sync {
    /// The number that the answer has to bear, and the first one since the session was lost.
    number: u64,
    first: u64,
    /// The last number that was sent as an id too.
    id: u64,
    /// That id came back.
    echoed: bool,
    /// Reads what follows a 0xFF, until it is known what it is.
    candidate: Option<Framer>,
    /// An answer to an earlier question came: the agent is slow, and the last answer will come too.
    alive: bool,
    /// What else came.
    pub(crate) overheard: Overheard,
}

/// How a session is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    WithId,
    /// With an id, and then without one, for an agent that does not answer the first.
    Both,
}

impl Sync {
    /// Drops what comes, up to the end of the answer; gives what is behind it, if it came.
    pub(crate) fn read<'a>(&mut self, mut input: &'a [u8]) -> Option<&'a [u8]> {
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

    /// Whether `part`, in which there is no 0xFF, ends the last answer; takes it off then.
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

    /// Whether commands of this session get ids.
    pub(crate) fn echoes_ids(&self) -> bool {
        self.echoed
    }
}

impl<F> Connection<F> {
    pub(crate) fn speaks_to_agent(&self) -> bool {
        self.config.dialect == Dialect::GuestAgent
    }

    /// Asks for the connection's first session.
    pub(crate) fn begin_session(&mut self) {
        self.ask(Question::WithId);
    }

    fn ask(&mut self, question: Question) {
        let again = self.phase == Phase::Syncing && self.sync.first > 0;
        let mut sync = match again {
            true => core::mem::take(&mut self.sync),
            false => Sync { first: self.next_id, ..Sync::default() },
        };
        (sync.echoed, sync.candidate, sync.alive) = (false, None, false);
        sync.id = self.ask_once(true);
        sync.number = match question {
            Question::WithId => sync.id,
            Question::Both => self.ask_once(false),
        };
        self.sync = sync;
    }

    /// Gives the number that was sent.
    fn ask_once(&mut self, with_id: bool) -> u64 {
        /// What `guest-sync-delimited` is given, and gives back.
        #[derive(Serialize)]
        struct Arguments {
            id: u64,
        }
        // Numbers and ids are of one sequence: none is given twice.
        let number = self.next_id;
        self.next_id += 1;
        let text = self.wire.text();
        text.push(DELIMITER);
        let request =
            Request::<_, F>::new("guest-sync-delimited").arguments(Arguments { id: number });
        // Encoding these arguments cannot fail.
        let _ = encode::append(text, &request);
        encode::finish(text, with_id.then_some(number), false);
        number
    }

    /// An agent that refuses a question for its id is asked without one too, once.
    pub(crate) fn ask_without_id_if_refused(&mut self) {
        let refused = self.sync.overheard.take_refusal_of_ids();
        let asked_once = self.sync.id == self.sync.number;
        if refused && asked_once && self.phase == Phase::Syncing {
            self.ask(Question::Both);
        }
    }

    /// The answer came, and everything before it is behind us.
    pub(crate) fn synchronised(&mut self) {
        let Some(phase) = self.phase.after(Trigger::Synchronised) else { return };
        self.phase = phase;
        self.sync.overheard = Overheard::default();
        if !core::mem::replace(&mut self.told_ready, true) {
            self.outputs.push_back(Output::Ready(None));
        }
    }

    /// Input without a command in flight is dropped. The session then resynchronises. Returns whether any
    /// input was dropped.
    pub(crate) fn drops_unasked(&mut self, input: &[u8]) -> bool {
        let says_nothing = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | &DELIMITER);
        let awaits = !self.speaks_to_agent() || !self.window.is_empty();
        if awaits || input.iter().all(says_nothing) {
            return false;
        }
        self.fall_out_of_step();
        true
    }

    /// The command in flight is not waited for any more. All of it goes out, if it has not yet, and
    /// then a new session begins, which tells when the agent has done with it.
    pub(crate) fn give_up(&mut self, id: CommandId) {
        self.window.leave(id.0, false);
        self.fall_out_of_step();
        self.begin_anew();
        self.close_if_drained();
    }

    /// Replies may come that are nobody's. What was received in part is dropped with them.
    pub(crate) fn fall_out_of_step(&mut self) {
        if let Some(phase) = self.phase.after(Trigger::LostStep) {
            self.framer = Framer::new(self.config.largest_message(), self.config.max_depth);
            self.phase = phase;
        }
    }

    /// What came cannot be read, as where others write to the same serial line. The command in flight
    /// ends with that, as its reply may be lost; the connection does not.
    pub(crate) fn drop_what_comes(&mut self, reason: CloseReason) {
        match self.window.two_begun(u64::MAX) {
            [Some(id), _] => {
                let id = CommandId(id);
                // A closing connection ends with that, so it never sends the command.
                let error = match self.phase == Phase::Closing && !self.has_begun(id) {
                    true => ExecuteError::NotSent(reason),
                    false => ExecuteError::Unanswered(reason),
                };
                self.outputs.push_back(Output::Reply(id, Err(error)));
                self.give_up(id);
            }
            _ => self.fall_out_of_step(),
        }
    }

    /// Asks for a new session where one is needed.
    fn begin_anew(&mut self) {
        if let Some(phase) = self.phase.after(Trigger::Asked) {
            self.ask(Question::WithId);
            self.phase = phase;
        }
    }

    /// A command may be there to go out: a new session begins before it where one is needed.
    pub(crate) fn keep_in_step(&mut self) {
        // Behind `quit` no command goes out.
        let none = self.queued_commands() == 0 || self.window.quitting();
        if !self.speaks_to_agent() || none {
            return;
        }
        self.begin_anew();
    }

    /// Whether the transport is to be read first, as far as something is there, before the next
    /// [`transmit`](Self::transmit): a command is about to go out to a guest agent that does not echo ids.
    /// What has come by then is dropped. Read later, it would be taken for the command's reply.
    pub fn reads_first(&self) -> bool {
        let waits = self.phase == Phase::Ready && self.queued_commands() > 0;
        self.speaks_to_agent() && waits && self.window.is_empty() && !self.sync.echoes_ids()
    }

    /// While a guest agent's session is waited for ([`Phase::Syncing`]): asks for it once more, if the
    /// question has gone out and nothing has come since that shows that the agent lives. It does
    /// nothing otherwise.
    ///
    /// A question may be lost: with an agent that is killed while its channel stays open, or as one
    /// that starts at a serial port drops what came before. So call this every second for as long as
    /// the phase lasts and somebody waits for it to end: who connects, who has a command waiting, who
    /// waits until the connection is idle. Nothing else asks again.
    pub fn ask_again(&mut self) {
        let alive = core::mem::take(&mut self.sync.alive);
        if self.phase == Phase::Syncing && !alive && self.wire.is_empty() {
            self.ask(Question::Both);
        }
    }
}
