//! A guest agent that is silent while it has a command.
//!
//! An agent may die while a command is in flight, or its guest may reboot. So an agent that is silent for some time is sent
//! the question of a new session behind the command: a probe. An agent that lives answers in order. The reply comes first,
//! and the session of the probe begins with its answer, which no command overtakes. If the answer comes first, the agent
//! was restarted, and the command is lost.

use core::time::Duration;

use memchr::memchr;

use super::Agent;
use super::session::{DELIMITER, Question, Session};
use crate::codec::framer::Framer;
use crate::codec::message::{Reply, ReplyId};
use crate::connection::close::{CloseReason, Violation};
use crate::connection::evidence::PARSE_ERROR;
use crate::connection::outbound::Sent;
use crate::connection::output::Output;
use crate::connection::phase::{Phase, Trigger};
use crate::connection::timers::Instant;
use crate::connection::{Connection, Side};
use crate::payload::command::CommandId;
use crate::payload::error::ExecuteError;
use crate::payload::no_reply::NoReply;

/// How long a question for a session may stay unanswered.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A question to an agent that has a command, and is silent.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// Begins with the answer.
    session: Session,
    /// The agent has reached the probe: the answer follows, and no message before it.
    answer_begins: bool,
}

impl Agent {
    /// Whether this is the error with which an agent answers the 0xFF of a probe. It comes before the answer.
    pub(super) fn reaches_probe(&mut self, reply: &Reply) -> bool {
        let (Some(probe), ReplyId::Absent, Err(error)) =
            (&mut self.probe, &reply.id, &reply.outcome)
        else {
            return false;
        };
        // Without ids, other errors are replies.
        probe.answer_begins |= self.session.echoed || error.desc.contains(PARSE_ERROR);
        probe.answer_begins
    }
}

impl<F> Connection<F> {
    /// Where in this input the answer to a probe may begin.
    pub(in crate::connection) fn probe_answer_at(&mut self, input: &[u8]) -> Option<usize> {
        let Side::Agent(agent) = &mut self.side else { return None };
        agent.silence.stop();
        let probe = agent.probe.as_mut()?;
        match probe.answer_begins {
            true => Some(0),
            false => memchr(DELIMITER, input),
        }
    }

    /// Reads the input from where the answer to a probe may begin. Without a probe it is other input: the reply has come
    /// before it.
    pub(in crate::connection) fn receive_probe_answer(&mut self, input: &[u8]) {
        let Side::Agent(agent) = &mut self.side else { return };
        let Some(probe) = &mut agent.probe else { return self.receive(input) };
        probe.answer_begins = true;
        if let Some(rest) = probe.session.read(input) {
            self.lose_command_in_flight();
            self.receive(rest);
        }
    }

    /// The answer to a probe came, and no reply before it. The session of the probe has begun.
    fn lose_command_in_flight(&mut self) {
        let Side::Agent(agent) = &mut self.side else { return };
        agent.session = agent.probe.take().unwrap_or_default().session;
        self.framer = Framer::new(self.config.largest_message(), self.config.max_depth);
        let Some(id) = self.outbound.in_flight().first() else { return };
        let sent = self.outbound.sent_of(CommandId(id));
        let Some(command) = self.outbound.answered(id, false) else { return };
        let outcome = match command.no_reply && sent == Some(Sent::All) {
            true => Ok(NoReply::Restarted.into()),
            false => {
                let restarted = CloseReason::Violation(Violation::AgentRestarted);
                Err(ExecuteError::Unanswered(restarted))
            }
        };
        self.outputs.push_back(Output::Reply(CommandId(id), outcome));
        self.close_if_drained();
    }

    /// Sends a probe, or the next one.
    fn probe(&mut self) {
        let Side::Agent(agent) = &mut self.side else { return };
        let question = if agent.session.echoed { Question::WithId } else { Question::WithoutId };
        agent.probe.get_or_insert_default().session.ask(question, &mut self.outbound);
    }

    pub(in crate::connection) fn poll_timeout_of_agent(&mut self, now: Instant) -> Option<Instant> {
        let (asks, probes) = (self.asks_again(), self.probes());
        let silence = self.config.probe_after;
        let Side::Agent(agent) = &mut self.side else { return None };
        let ask = agent.ask.run(asks, now, ASK_AGAIN);
        let probe = agent.silence.run(probes, now, silence.unwrap_or_default());
        ask.into_iter().chain(probe).min()
    }

    pub(in crate::connection) fn handle_timeout_of_agent(&mut self, now: Instant) {
        let (asks, probes) = (self.asks_again(), self.probes());
        let Side::Agent(agent) = &mut self.side else { return };
        let (ask, silence) = (agent.ask.expires(now), agent.silence.expires(now));
        if asks && ask {
            self.ask_again();
        }
        if probes && silence {
            self.probe();
        }
    }

    /// Whether a question for a session is repeated each second.
    fn asks_again(&self) -> bool {
        let Side::Agent(agent) = &self.side else { return false };
        let wanted = agent.session_wanted || self.outbound.queued() > 0;
        self.phase == Phase::Syncing && wanted
    }

    /// Whether an agent that stays silent is probed: a command is in flight, and all of it has been sent.
    fn probes(&self) -> bool {
        let in_flight = !self.outbound.in_flight().is_empty();
        let enabled = self.speaks_to_agent() && self.config.probe_after.is_some();
        enabled && self.phase == Phase::Ready && in_flight && self.outbound.all_sent()
    }

    /// A reply came before the answer to a probe: the answer is awaited before the next command.
    pub(super) fn await_probe_answer(&mut self) {
        let Side::Agent(agent) = &mut self.side else { return };
        if let Some(probe) = agent.probe.take() {
            agent.session = probe.session;
            self.enter(Trigger::LostStep);
            self.enter(Trigger::Asked);
        }
    }
}
