//! A guest agent's sessions: where one begins, and where the next one has to.
//!
//! A guest agent outlives its clients. An earlier client may have left half a command, which would
//! swallow ours, and unread replies, which would be taken for ours. So a session begins with
//! 0xFF, which no JSON holds and which makes the agent's parser start afresh, and a
//! `guest-sync-delimited` with a number of our own. The agent puts a 0xFF before its answer: everything
//! before it is dropped unread, half a string included, and so is everything after a 0xFF that
//! is not the answer with our number.
//!
//! The question has the number as its id too. If the agent echoes it, as QEMU's does from 4.0 on, each
//! command of the session gets an id. A reply with another id, or without one, is unmatched.
//! Agents before 2.12 refuse a command with an id: they are asked without one as well. From an agent
//! without ids the next reply is the one that answers, so input without a command in flight is dropped, and
//! a new session begins before the next command.
//!
//! A new session also begins if a command in flight is given up. The agent runs one command at a time, so the
//! unwanted reply comes before the answer, and is dropped with the rest. And it
//! begins after an error of an agent without ids: an agent that cannot read its input, because an earlier client sent
//! the first half of a command, sends several errors, and the second would be taken for an answer to the next
//! command. There the new session waits for the next command. A client that closes now leaves no unread answer; an unread
//! answer can kill the agent.
//!
//! A new session also begins after unreadable input: other programs may write to the same serial line.
//!
mod session;
mod probe;

use core::mem;

use self::probe::Probe;
use self::session::{DELIMITER, Question, Session};
use crate::codec::framer::Framer;
use crate::codec::message::{Reply, ReplyId};
use crate::connection::close::{CloseReason, Violation};
use crate::connection::evidence::{Evidence, Overheard};
use crate::connection::outbound::Sent;
use crate::connection::output::Output;
use crate::connection::phase::{Phase, Trigger};
use crate::connection::timers::Timer;
use crate::connection::{Connection, Side};
use crate::payload::command::CommandId;
use crate::payload::error::{CommandError, ExecuteError};
use crate::payload::raw::Raw;

/// A connection's state if the peer is a guest agent.
#[derive(Debug, Default)]
pub(super) struct Agent {
    session: Session,
    probe: Option<Probe>,
    /// A session has begun, the first one at least.
    was_ready: bool,
    /// A caller waits until the connection is ready or idle.
    pub(super) session_wanted: bool,
    /// To ask again for a session.
    ask: Timer,
    /// To probe a silent agent.
    silence: Timer,
    /// How many bytes of commands had been sent when the message that is being received began.
    message_start: u64,
}

impl Agent {
    /// What came in place of a session's beginning.
    pub(super) fn evidence(&self, phase: Phase) -> Option<Evidence> {
        let lasts = phase == Phase::Syncing || !self.was_ready;
        self.session.overheard.evidence().filter(|_| lasts)
    }
}

impl<F> Connection<F> {
    pub(super) fn speaks_to_agent(&self) -> bool {
        matches!(self.side, Side::Agent(_))
    }

    /// Whether commands are sent with their ids: an agent gets them if it echoes them.
    pub(super) fn gives_ids(&self) -> bool {
        match &self.side {
            Side::Monitor(_) => true,
            Side::Agent(agent) => agent.session.echoed,
        }
    }

    /// Asks an agent for the connection's first session.
    pub(super) fn begin_first_session(&mut self) {
        self.begin_session(Question::WithId);
    }

    /// Asks for a session.
    fn begin_session(&mut self, question: Question) {
        let Side::Agent(agent) = &mut self.side else { return };
        if self.phase != Phase::Syncing {
            agent.session = Session::default();
        }
        agent.session.ask(question, &mut self.outbound);
        agent.probe = None;
        agent.ask.stop();
    }

    /// The input from where messages begin, as [`readable`](Self::readable).
    pub(super) fn readable_of_agent<'a>(&mut self, input: &'a [u8]) -> Option<&'a [u8]> {
        match self.phase {
            Phase::Syncing => self.read_session(input),
            Phase::Ready => (!self.drops_unasked(input)).then_some(input),
            Phase::OutOfStep => None,
            _ => Some(input),
        }
    }

    fn read_session<'a>(&mut self, input: &'a [u8]) -> Option<&'a [u8]> {
        let Side::Agent(agent) = &mut self.side else { return None };
        let rest = agent.session.read(input);
        if rest.is_some() {
            self.synchronised();
        } else if agent.session.is_refused_for_its_id() {
            self.begin_session(Question::Both);
        }
        rest
    }

    /// The answer came. All input before it has been dropped.
    fn synchronised(&mut self) {
        self.enter(Trigger::Synchronised);
        let Side::Agent(agent) = &mut self.side else { return };
        agent.session.overheard = Overheard::default();
        if !mem::replace(&mut agent.was_ready, true) {
            self.outputs.push_back(Output::Ready(None));
        }
    }

    /// Input without a command in flight is dropped. The session then resynchronises. Returns whether any
    /// input was dropped.
    fn drops_unasked(&mut self, input: &[u8]) -> bool {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | &DELIMITER);
        if !self.outbound.in_flight().is_empty() || input.iter().all(is_blank) {
            return false;
        }
        self.desynchronise();
        true
    }

    /// The next message begins after as many bytes of commands as have been sent now.
    pub(super) fn note_message_start(&mut self) {
        if let Side::Agent(agent) = &mut self.side {
            agent.message_start = self.outbound.position();
        }
    }

    /// A guest agent answers the one command of which it has received a byte: with its id, or, if the agent
    /// echoes none, without one, by a reply that did not begin before.
    pub(super) fn handle_reply_of_agent(&mut self, reply: Reply) {
        let Side::Agent(agent) = &mut self.side else { return };
        if agent.reaches_probe(&reply) {
            return;
        }
        let echoes = agent.session.echoed;
        let [begun, _] = self.outbound.in_flight().two_before(agent.message_start);
        match (reply.id, reply.outcome, begun) {
            (ReplyId::Number(id), outcome, Some(ours)) if echoes && id == ours => {
                self.settle_with(ours, outcome);
            }
            // It could not read something, which may have been the command.
            (ReplyId::Absent, Err(error), Some(_)) if echoes => {
                self.violation(Violation::UnattributableError(error));
            }
            (ReplyId::Absent, outcome, Some(ours)) if !echoes => {
                let failed = outcome.is_err();
                self.settle_with(ours, outcome);
                if failed {
                    self.desynchronise();
                }
            }
            (id, outcome, _) => self.report_unmatched(Reply { id, outcome }),
        }
    }

    fn settle_with(&mut self, id: u64, outcome: Result<Raw, CommandError>) {
        let Some(command) = self.outbound.answered(id, outcome.is_ok()) else { return };
        self.settle(command, outcome);
        self.await_probe_answer();
    }

    /// The command in flight is given up. All of it is sent, if it is not yet, and
    /// then a new session begins: its answer shows that the agent has finished the command.
    pub(super) fn give_up(&mut self, id: CommandId) {
        self.outbound.answered(id.0, false);
        self.desynchronise();
        self.resynchronise();
        self.close_if_drained();
    }

    /// Replies may come that answer no command. A message that was received in part is dropped with them.
    fn desynchronise(&mut self) {
        if self.enter(Trigger::LostStep) {
            self.framer = Framer::new(self.config.largest_message(), self.config.max_depth);
        }
    }

    /// Asks for a new session if one is needed.
    fn resynchronise(&mut self) {
        if self.phase.after(Trigger::Asked).is_some() {
            self.begin_session(Question::WithId);
            self.enter(Trigger::Asked);
        }
    }

    /// A command may be about to be sent: a new session begins before it if one is needed.
    pub(super) fn resynchronise_if_needed(&mut self) {
        // No command follows `quit`.
        if self.outbound.queued() > 0 && !self.outbound.in_flight().quitting() {
            self.resynchronise();
        }
    }

    /// Input cannot be read, for instance because other programs write to the same serial line. The command in flight
    /// ends with that, as its reply may be lost; the connection does not.
    pub(super) fn drop_unreadable(&mut self, reason: CloseReason) {
        let Some(id) = self.outbound.in_flight().first() else { return self.desynchronise() };
        let id = CommandId(id);
        // A closing connection ends with that, so it never sends the command.
        let never_sent = self.outbound.sent_of(id) == Some(Sent::Nothing);
        let error = match self.phase == Phase::Closing && never_sent {
            true => ExecuteError::NotSent(reason),
            false => ExecuteError::Unanswered(reason),
        };
        self.outputs.push_back(Output::Reply(id, Err(error)));
        self.give_up(id);
    }

    /// Whether the received bytes of the transport are to be read before the next
    /// [`transmit`](Self::transmit): a command is about to be sent to a guest agent that does not echo ids.
    /// Input that has come by then is dropped. Read later, it would be taken for the command's reply.
    pub fn reads_first(&self) -> bool {
        let Side::Agent(agent) = &self.side else { return false };
        let is_next = self.outbound.in_flight().is_empty() && self.outbound.queued() > 0;
        self.phase == Phase::Ready && is_next && !agent.session.echoed
    }

    /// Asks for a session once more, if the question has been sent and no later input shows that the agent lives.
    ///
    /// A question may be lost: with an agent that is killed while its channel stays open, or because an agent
    /// that starts at a serial port drops earlier input.
    fn ask_again(&mut self) {
        let Side::Agent(agent) = &mut self.side else { return };
        let alive = mem::take(&mut agent.session.alive);
        if self.phase == Phase::Syncing && !alive && self.outbound.all_sent() {
            self.begin_session(Question::Both);
        }
    }
}
