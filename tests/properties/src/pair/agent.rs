//! A client and a guest agent, joined by two pipes. Clients come and go, and what they leave behind
//! stays: half a command in the agent's parser, replies that nobody took. The agent may be killed and
//! started anew, and one that echoes ids may say each answer twice. Whatever is done, nobody gets another's reply, and who has given up is in step again.

use std::collections::BTreeMap;

use qmp_proto::{
    Cancelled, CloseReason, CommandId, Config, Connection, Dialect, ExecuteError, NoReply, Output,
    Phase, Raw, Refusal, Request,
};
use serde_json::{Value, json};

use super::pipe::Pipe;
use super::{Choices, Coverage, Kind, Op};
use crate::guest_agent::{Agent, Ids};
use crate::peer::ask_again;
use crate::{Most, pick};

/// How a command ended, as the client's application was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Return,
    Error,
    Closed,
    NotSent,
    Unanswered,
    Withdrawn,
    Discarded,
}

/// A command, by both sides' account. Its place among all is the token in its arguments.
struct Command {
    id: CommandId,
    /// Which of the clients it was that came one after the other.
    client: u64,
    silent: bool,
    ran: bool,
    /// Whether it succeeded, by what the agent said.
    answer: Option<bool>,
    ended: Option<Ended>,
}

pub(super) struct Run {
    capacities: [usize; 2],
    agent: Agent,
    /// It says each answer twice.
    stutters: bool,
    client: Connection,
    clients: u64,
    to_agent: Pipe,
    to_client: Pipe,
    commands: Vec<Command>,
    reason: Option<CloseReason>,
    /// A byte on its way to this client is another one now.
    damaged: bool,
    /// The agent was killed: what it had read of a command, the next one has not.
    restarted: bool,
    coverage: Coverage,
}

/// Plays a program to its end, and the run to quiet after it.
pub(super) fn play(choices: &Choices, ops: &[Op]) -> Coverage {
    let mut run = Run::new(choices);
    for op in ops {
        run.step(op);
        run.check();
    }
    run.finish()
}

fn connect(number: u64) -> Connection {
    let mut config = Config::default();
    config.dialect = Dialect::GuestAgent;
    Connection::new(config, 0x5eed + number)
}

impl Run {
    fn new(choices: &Choices) -> Self {
        let ids = match (choices.oob, choices.pretty) {
            (true, _) => Ids::Echoed,
            (_, true) => Ids::Ignored,
            _ => Ids::Refused,
        };
        let stutters = ids == Ids::Echoed && choices.early_take;
        let [to_agent, to_client] = choices.capacities.map(Pipe::new);
        Self {
            capacities: choices.capacities,
            agent: if stutters { Agent::new(ids).stuttering() } else { Agent::new(ids) },
            stutters,
            client: connect(0),
            clients: 0,
            to_agent,
            to_client,
            commands: Vec::new(),
            reason: None,
            damaged: false,
            restarted: false,
            coverage: Coverage(BTreeMap::new()),
        }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Execute(kind, size) => self.execute(kind, usize::from(size) / 2),
            Op::Cancel(choice) => self.cancel(choice),
            Op::Answer(_, ok) => self.answer(ok),
            Op::Event(_) => self.restart(),
            Op::ClientSends(most) => drop(self.client_sends(most)),
            Op::ServerReads(most) => drop(self.agent_reads(most)),
            Op::ServerSends(most) => drop(self.agent_sends(most)),
            Op::ClientReads(most) => drop(self.client_reads(most)),
            Op::Settle => self.settle(),
            Op::ClientCloses => self.client.close(),
            Op::ClientAborts => self.client.abort(),
            Op::ServerCloses => self.to_client.end(),
            Op::HalfClose => self.replace_client(),
            Op::Cut(kept) => {
                self.to_client.lose(usize::from(kept));
                self.replace_client();
            }
            Op::Damage(choice, bits) => {
                let choose = |count| pick(choice, count).unwrap_or(0);
                self.damaged |= self.to_client.damage(choose, bits);
            }
        }
        self.listen();
    }

    fn execute(&mut self, kind: Kind, size: usize) {
        let token = self.commands.len();
        let arguments = json!({"token": token, "pad": "é\"".repeat(size)});
        let silent = matches!(kind, Kind::WithDescriptor | Kind::WithoutReply);
        let mut request = Request::new("guest-command").arguments(arguments);
        if silent {
            request = request.no_reply();
        }
        if kind == Kind::OutOfBand {
            request = request.out_of_band();
        }
        let closing = matches!(self.client.phase(), Phase::Closing | Phase::Closed);
        match self.client.execute(request, None) {
            Ok(id) => self.commands.push(Command {
                id,
                client: self.clients,
                silent,
                ran: false,
                answer: None,
                ended: None,
            }),
            Err(Refusal::NotForGuestAgent) => assert_eq!(kind, Kind::OutOfBand),
            Err(refusal) => assert!(closing, "{refusal}"),
        }
    }

    fn cancel(&mut self, choice: u8) {
        let Some(token) = pick(choice, self.commands.len()) else { return };
        let command = &mut self.commands[token];
        if command.client != self.clients {
            return;
        }
        let ended = match self.client.cancel(command.id) {
            Cancelled::NeverSent(_) => Ended::Withdrawn,
            Cancelled::NoReplyOwed => {
                assert!(command.silent, "{token} is owed a reply");
                self.coverage.note("silence is success", true);
                Ended::Discarded
            }
            Cancelled::ReplyDiscarded => Ended::Discarded,
            Cancelled::Unknown => return assert!(command.ended.is_some(), "{token} is unknown"),
        };
        end(command, token, ended);
    }

    /// What runs in the agent ends.
    fn answer(&mut self, ok: bool) {
        let Some(token) = self.agent.running().map(token) else { return };
        let command = &mut self.commands[token];
        command.answer = Some(ok);
        self.coverage.note("a late reply", command.ended.is_some());
        self.coverage.note("a reply to who has left", command.client != self.clients);
        match ok {
            true if command.silent => self.agent.stay_silent(),
            true => self.agent.succeed(&json!({"token": token}).to_string()),
            false => self.agent.fail(&format!("no {token}")),
        }
        self.note_what_runs();
    }

    fn restart(&mut self) {
        self.coverage.note("an agent killed in a command", self.agent.running().is_some());
        self.agent.restart();
        self.restarted = true;
        self.note_what_runs();
    }

    /// The agent runs each command once, and those of a client in their order.
    fn note_what_runs(&mut self) {
        let Some(token) = self.agent.running().map(token) else { return };
        let command = &mut self.commands[token];
        if !std::mem::replace(&mut command.ran, true) {
            let unsent = matches!(command.ended, Some(Ended::NotSent | Ended::Withdrawn));
            assert!(!unsent, "{token} is {:?}, and runs", command.ended);
            let later = &self.commands[token + 1..];
            assert!(later.iter().all(|command| !command.ran), "{token} runs too late");
        } else {
            assert!(command.answer.is_none(), "{token} runs twice");
        }
    }

    /// This client leaves, and another one comes. What is on its way to the agent still comes there, and
    /// what is on its way back comes to the new one.
    fn replace_client(&mut self) {
        self.coverage.note("half a command left behind", self.has_half_sent());
        self.client.handle_eof();
        self.listen();
        self.clients += 1;
        self.client = connect(self.clients);
        let left = self.to_client.read(usize::MAX).1;
        self.coverage.note("replies left behind", !left.is_empty());
        self.to_client = Pipe::new(self.capacities[1]);
        self.to_client.write(&left, None);
        (self.reason, self.damaged) = (None, false);
    }

    fn has_half_sent(&self) -> bool {
        let ours = self.commands.iter().filter(|command| command.client == self.clients);
        ours.map(|command| command.id)
            .any(|id| self.client.has_begun(id) && !self.client.is_sent(id))
    }

    fn client_sends(&mut self, most: Most) -> bool {
        let Some(transmit) = self.client.transmit() else { return false };
        let bytes = &transmit.bytes[..most.bytes().min(transmit.bytes.len())];
        let sent = self.to_agent.write(bytes, None);
        self.client.advance(sent);
        sent > 0
    }

    /// While it runs a command it reads nothing.
    fn agent_reads(&mut self, most: Most) -> bool {
        if self.agent.running().is_some() {
            return false;
        }
        let (_, bytes) = self.to_agent.read(most.bytes());
        self.agent.feed(&bytes);
        self.note_what_runs();
        !bytes.is_empty()
    }

    fn agent_sends(&mut self, most: Most) -> bool {
        if self.to_client.has_ended() {
            return false;
        }
        let sent = self.agent.take(most.bytes().min(self.to_client.room()));
        self.to_client.write(&sent, None);
        !sent.is_empty()
    }

    fn client_reads(&mut self, most: Most) -> bool {
        let (_, bytes) = self.to_client.read(most.bytes());
        let syncing = self.client.phase() == Phase::Syncing;
        self.client.handle_input(&bytes);
        self.coverage.note("a session", syncing && self.client.phase() == Phase::Ready);
        let ended = self.to_client.tell_end();
        if ended {
            self.client.handle_eof();
        }
        self.listen();
        !bytes.is_empty() || ended
    }

    /// An agent that says its answer to every question twice can keep a queued command waiting: the second answer is
    /// dropped, which begins another session. A real one does so once, after a restore.
    fn settle(&mut self) {
        let mut rounds = 0;
        while self.client_sends(Most::All)
            | self.agent_reads(Most::All)
            | self.agent_sends(Most::All)
            | self.client_reads(Most::All)
        {
            rounds += 1;
            if rounds == 1_000 {
                self.agent.stop_stuttering();
            }
            assert!(rounds < 100_000, "it never settles");
        }
    }

    fn listen(&mut self) {
        while let Some(output) = self.client.poll_output() {
            assert_eq!(self.reason, None, "{output:?} after the end");
            match output {
                Output::Reply(id, outcome) => self.hear_reply(id, outcome),
                Output::Ready(greeting) => assert!(greeting.is_none()),
                Output::Closed(reason) => self.reason = Some(reason),
                Output::Stray(_) | Output::Event(_) if self.damaged => {}
                Output::Stray(_) if self.stutters => {
                    self.coverage.note("an answer that came twice", true);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn hear_reply(&mut self, id: CommandId, outcome: Result<Raw, ExecuteError>) {
        let is_it = |command: &Command| (command.client, command.id) == (self.clients, id);
        let token = self.commands.iter().position(is_it).expect("a command of this client's");
        let command = &mut self.commands[token];
        let ended = match outcome {
            Ok(raw) if command.silent => match raw.parse() {
                Ok(NoReply::Closed) => Ended::Closed,
                other => {
                    assert!(other == Ok(NoReply::Returned) && self.damaged, "{other:?}");
                    Ended::Return
                }
            },
            Ok(raw) => {
                let ours = raw.parse() == Ok(json!({"token": token}));
                assert!(ours || self.damaged, "{token}: {:?}", raw.as_str());
                Ended::Return
            }
            Err(ExecuteError::Command(error)) => {
                let unread = self.restarted && error.desc.starts_with("JSON parse error");
                let ours = unread && !command.ran || *error.desc == *format!("no {token}");
                assert!(ours || self.damaged, "{token}: {error}");
                self.coverage.note("an error of half a command", unread);
                Ended::Error
            }
            Err(ExecuteError::TimedOut { .. }) => panic!("{token} had no deadline"),
            Err(ExecuteError::NotSent(_)) => Ended::NotSent,
            Err(ExecuteError::Unanswered(_)) => Ended::Unanswered,
        };
        let expected = match ended {
            Ended::Return => command.answer == Some(true),
            Ended::Error => command.answer == Some(false) || !command.ran,
            Ended::NotSent => !command.ran,
            _ => true,
        };
        assert!(expected || self.damaged, "{token}: {ended:?}, but {:?}", command.answer);
        self.coverage.note("a return", ended == Ended::Return);
        self.coverage.note("an error", ended == Ended::Error);
        end(command, token, ended);
    }

    /// What holds at any time.
    fn check(&self) {
        let ours = self.commands.iter().filter(|command| command.client == self.clients);
        let begun = ours.filter(|command| self.client.has_begun(command.id)).count();
        assert!(begun <= 1, "{begun} in flight");
        assert!(self.client.strays() == 0 || self.damaged || self.stutters, "strays");
        assert_eq!(self.client.close_reason(), self.reason.as_ref());
    }

    /// Whoever waits in vain gives up, and the next one gets its reply, from this client or the next.
    fn finish(mut self) -> Coverage {
        self.settle();
        if self.reason.is_some() || self.damaged || self.client.phase() == Phase::Closing {
            self.replace_client();
        }
        let (last, mut asked_anew) = (self.commands.len(), false);
        self.execute(Kind::InBand, 0);
        self.settle();
        while self.commands[last].ended.is_none() {
            if self.agent.running().is_some() {
                self.answer(true);
            } else {
                // Nothing moves any more: something was lost with an agent that was killed.
                let waiting = self.commands.iter().position(|command| command.ended.is_none());
                let token = waiting.expect("the last one waits");
                if self.client.phase() == Phase::Syncing {
                    // The agent was killed with the question with which a session begins.
                    let again = std::mem::replace(&mut asked_anew, true);
                    assert!(self.restarted && !again, "in step with nobody");
                    ask_again(&mut self.client);
                } else {
                    assert!(token != last, "the last one is not answered");
                    self.coverage.note("given up after a loss", true);
                    let ended = match self.client.cancel(self.commands[token].id) {
                        Cancelled::NeverSent(_) => Ended::Withdrawn,
                        _ => Ended::Discarded,
                    };
                    end(&mut self.commands[token], token, ended);
                }
            }
            self.settle();
        }
        assert_eq!(self.commands[last].ended, Some(Ended::Return));
        self.settle();
        assert!(self.client.is_idle(), "{:?}", self.client);
        self.check();
        let mut unended = self.commands.iter().filter(|command| command.ended.is_none());
        assert!(unended.next().is_none(), "every command has ended");
        self.coverage
    }
}

fn token(command: &Value) -> usize {
    command["arguments"]["token"].as_u64().expect("a token") as usize
}

fn end(command: &mut Command, token: usize, ended: Ended) {
    assert_eq!(command.ended, None, "{token} has ended, and now {ended:?}");
    command.ended = Some(ended);
}
