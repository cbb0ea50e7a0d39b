//! A client and a server joined by two pipes, with a ledger of what each side was told.

use std::collections::BTreeMap;

use qmp_proto::{
    Cancelled, CloseReason, CommandError, CommandId, Config, Connection, Event, ExecuteError,
    IoFailure, Output, Phase, Raw, Request, Timestamp,
};
use qmp_server::{Call, CloseReason as ServerReason};
use serde_json::{Value, json};

use super::pipe::Pipe;
use super::{Choices, Kind};
use crate::peer::{Descriptor, OpenDescriptors};

const AT: Timestamp = Timestamp { seconds: 1, microseconds: 2 };

/// How often what came about.
#[derive(Default)]
pub struct Coverage(pub BTreeMap<&'static str, usize>);

impl Coverage {
    pub(super) fn note(&mut self, what: &'static str, happened: bool) {
        *self.0.entry(what).or_default() += usize::from(happened);
    }

    pub fn add(&mut self, other: Self) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

/// How a command ended, as the client's application was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Return,
    Error,
    NotSent,
    Unanswered,
    /// It was cancelled before anything of it was claimed.
    Withdrawn,
    /// It was cancelled after that.
    Discarded,
}

/// A command, by both sides' account. Its place among the commands is the token in its arguments.
pub(super) struct Command {
    pub(super) id: CommandId,
    pub(super) kind: Kind,
    pub(super) called: bool,
    /// Whether it succeeded, by what the server's application said.
    pub(super) answer: Option<bool>,
    pub(super) ended: Option<Ended>,
}

pub struct Run {
    pub(super) choices: Choices,
    pub(super) client: Connection<Descriptor>,
    pub(super) server: qmp_server::Connection<Descriptor>,
    pub(super) to_server: Pipe,
    pub(super) to_client: Pipe,
    pub(super) commands: Vec<Command>,
    /// What the server's application has not answered.
    pub(super) calls: Vec<(Call, usize)>,
    pub(super) events_sent: usize,
    pub(super) events_seen: usize,
    /// The descriptors that are open in each of the two processes.
    pub(super) client_open: OpenDescriptors,
    pub(super) server_open: OpenDescriptors,
    pub(super) client_reason: Option<CloseReason>,
    pub(super) server_reason: Option<ServerReason>,
    /// What was done to end it.
    pub(super) closed: bool,
    pub(super) aborted: bool,
    pub(super) half_closed: bool,
    pub(super) was_cut: bool,
    /// A byte on its way to the client is another one now: what it says is no more than some bytes.
    pub(super) damaged: bool,
    pub(super) server_closed: bool,
    pub(super) coverage: Coverage,
}

impl Run {
    pub fn new(choices: Choices) -> Self {
        let mut config = Config::default();
        (config.oob, config.descriptors, config.window) = (choices.oob, true, choices.window);
        let mut served = qmp_server::Config::default();
        (served.pretty, served.concurrent) = (choices.pretty, choices.concurrent);
        served.max_output = choices.max_output;
        let [to_server, to_client] = choices.capacities.map(Pipe::new);
        Self {
            choices,
            client: Connection::new(config, 0x5eed),
            server: qmp_server::Connection::new(served),
            to_server,
            to_client,
            commands: Vec::new(),
            calls: Vec::new(),
            events_sent: 0,
            events_seen: 0,
            client_open: OpenDescriptors::default(),
            server_open: OpenDescriptors::default(),
            client_reason: None,
            server_reason: None,
            closed: false,
            aborted: false,
            half_closed: false,
            was_cut: false,
            damaged: false,
            server_closed: false,
            coverage: Coverage::default(),
        }
    }

    pub fn execute(&mut self, kind: Kind, size: usize) {
        // Of two such commands at once the server's application would find the second descriptor.
        let one_by_one = self.choices.oob || self.choices.concurrent == 1;
        let kind = if kind == Kind::WithDescriptor && !one_by_one { Kind::InBand } else { kind };
        let token = self.commands.len();
        let arguments = json!({"token": token, "pad": "é\"".repeat(size)});
        let mut request = Request::new(match kind {
            Kind::InBand | Kind::WithoutReply => "device_add",
            Kind::OutOfBand => "yank",
            Kind::WithDescriptor => "getfd",
            Kind::Quit => "quit",
        })
        .arguments(arguments);
        if kind == Kind::OutOfBand {
            request = request.out_of_band();
        }
        if kind == Kind::WithDescriptor {
            request = request.descriptor(Descriptor::open(token as u32, &self.client_open));
        }
        let closing = matches!(self.client.phase(), Phase::Closing | Phase::Closed);
        let refused = closing || kind == Kind::OutOfBand && !self.client.oob_enabled();
        let accepted = self.client.execute(request, None);
        assert_eq!(accepted.is_err(), refused, "{accepted:?}");
        self.coverage.note("a request refused", refused);
        let command = |id| Command { id, kind, called: false, answer: None, ended: None };
        self.commands.extend(accepted.ok().map(command));
    }

    pub fn cancel(&mut self, pick: impl FnOnce(usize) -> usize) {
        if self.commands.is_empty() {
            return;
        }
        let token = pick(self.commands.len());
        let command = &mut self.commands[token];
        let ended = match self.client.cancel(command.id) {
            Cancelled::NeverSent(descriptor) => {
                let expected = (command.kind == Kind::WithDescriptor).then_some(token as u32);
                assert_eq!(descriptor.map(|descriptor| descriptor.number()), expected);
                self.coverage.note("a descriptor handed back", expected.is_some());
                Ended::Withdrawn
            }
            Cancelled::ReplyDiscarded | Cancelled::NoReplyOwed => Ended::Discarded,
            Cancelled::Unknown => return assert!(command.ended.is_some(), "{token} is unknown"),
        };
        end(command, token, ended);
    }

    pub fn answer(&mut self, pick: impl FnOnce(usize) -> usize, ok: bool) {
        if self.calls.is_empty() {
            return;
        }
        let at = pick(self.calls.len());
        let (call, token) = self.calls.remove(at);
        let overtakes = self.calls[..at].iter().any(|(other, _)| !other.out_of_band);
        self.coverage.note("out-of-band before in-band", overtakes && call.out_of_band);
        self.coverage.note("in-band in another order", overtakes && !call.out_of_band);
        let kind = self.commands[token].kind;
        if kind == Kind::WithDescriptor && !self.choices.early_take {
            self.take_descriptor(token);
        }
        if kind == Kind::Quit && ok {
            self.send_event("SHUTDOWN", json!({}));
        }
        let value = if kind == Kind::Quit { json!({}) } else { json!({"token": token}) };
        let outcome =
            if ok { Ok(value) } else { Err(CommandError::generic(format!("no {token}"))) };
        let open = self.server.phase() == qmp_server::Phase::Ready;
        let sent = self.server.respond(call.ticket, outcome).is_ok();
        assert_eq!(sent, open, "the answer to {token}");
        self.commands[token].answer = sent.then_some(ok);
        if kind == Kind::Quit && ok {
            self.server_closes();
        }
        self.listen();
    }

    fn take_descriptor(&mut self, token: usize) {
        if self.server.phase() == qmp_server::Phase::Ready {
            let descriptor = self.server.take_descriptor().map(|descriptor| descriptor.number());
            let expected = descriptor == Some(token as u32) || self.damaged;
            assert!(expected, "the descriptor of {token}: {descriptor:?}");
            self.coverage.note("a descriptor taken", true);
        }
    }

    pub fn event(&mut self, size: usize) {
        self.send_event("X", json!({"number": self.events_sent, "pad": "é\"".repeat(size)}));
    }

    fn send_event(&mut self, name: &str, data: Value) {
        let waiting = self.server.transmit().map_or(0, <[u8]>::len);
        let room = waiting < self.choices.max_output;
        let ready = self.server.phase() == qmp_server::Phase::Ready;
        let sent = self.server.event(&Event::new(name, Some(&Raw::new(&data).unwrap()), AT));
        assert_eq!(sent, room && ready, "{waiting} bytes wait");
        self.coverage.note("an event dropped", ready && !sent);
        self.events_sent += usize::from(sent && name == "X");
    }

    pub fn client_sends(&mut self, most: usize) -> bool {
        if self.to_server.has_ended() || self.server_reason.is_some() {
            return false;
        }
        let Some(transmit) = self.client.transmit() else { return false };
        let bytes = &transmit.bytes[..most.min(transmit.bytes.len())];
        let sent = self.to_server.write(bytes, transmit.descriptor.map(Descriptor::number));
        self.coverage.note("a full pipe to the server", sent < bytes.len());
        self.client.advance(sent);
        self.listen();
        sent > 0
    }

    pub fn server_reads(&mut self, most: usize) -> bool {
        if !self.server.wants_input() {
            self.coverage.note("a suspended server", !self.to_server.is_empty());
            return false;
        }
        let (descriptor, bytes) = self.to_server.read(most);
        if let Some(number) = descriptor {
            self.server.handle_descriptor(Descriptor::open(number, &self.server_open));
        }
        self.server.handle_input(&bytes);
        let ended = self.to_server.tell_end();
        if ended {
            self.server.handle_eof();
        }
        self.listen();
        !bytes.is_empty() || ended
    }

    pub fn server_sends(&mut self, most: usize) -> bool {
        let Some(bytes) = self.server.transmit() else { return false };
        if self.client_reason.is_some() {
            self.server.handle_failure(IoFailure::Reset);
            self.listen();
            return true;
        }
        let bytes = &bytes[..most.min(bytes.len())];
        let lost = self.to_client.has_ended();
        let sent = if lost { bytes.len() } else { self.to_client.write(bytes, None) };
        self.coverage.note("a full pipe to the client", sent < bytes.len());
        self.server.advance(sent);
        self.listen();
        sent > 0
    }

    pub fn client_reads(&mut self, most: usize) -> bool {
        let (_, bytes) = self.to_client.read(most);
        self.client.handle_input(&bytes);
        let ended = self.to_client.tell_end();
        if ended {
            self.client.handle_eof();
        }
        self.listen();
        !bytes.is_empty() || ended
    }

    /// Both pipes move until nothing does; nobody else does anything.
    pub fn settle(&mut self) {
        while self.client_sends(usize::MAX)
            | self.server_reads(usize::MAX)
            | self.server_sends(usize::MAX)
            | self.client_reads(usize::MAX)
        {}
    }

    pub fn client_closes(&mut self) {
        self.coverage.note("replies owed to who closes", self.begun().count() > 0);
        // Before it is ready it ends at once, and may cut its negotiation off.
        self.aborted |= matches!(self.client.phase(), Phase::Greeting | Phase::Negotiating);
        self.client.close();
        self.closed = true;
        self.listen();
    }

    pub fn client_aborts(&mut self) {
        self.coverage.note("replies owed to who aborts", self.begun().count() > 0);
        self.client.abort();
        self.aborted = true;
        self.listen();
    }

    pub fn server_closes(&mut self) {
        self.coverage.note("calls left when the server closes", !self.calls.is_empty());
        self.server.close();
        self.server_closed = true;
        self.listen();
    }

    /// The client's half of the stream ends behind what is in the pipe.
    pub fn half_close(&mut self) {
        self.coverage.note("calls left at a half-close", !self.calls.is_empty());
        self.to_server.end();
        self.half_closed = true;
    }

    /// All but so many of the bytes to the client are lost, and those that follow.
    pub fn cut(&mut self, kept: usize) {
        self.to_client.cut(kept);
        self.was_cut = true;
    }

    /// Bits of a byte on its way to the client are flipped.
    pub fn damage(&mut self, pick: impl FnOnce(usize) -> usize, bits: u8) {
        self.damaged |= self.to_client.damage(pick, bits);
    }

    /// Takes note of what each side tells. Who has ended drops its end of both pipes.
    fn listen(&mut self) {
        while let Some(output) = self.client.poll_output() {
            assert_eq!(self.client_reason, None, "{output:?} after the end");
            self.hear_client(output);
        }
        while let Some(output) = self.server.poll_output() {
            assert_eq!(self.server_reason, None, "{output:?} after the end");
            self.hear_server(output);
        }
    }

    fn hear_client(&mut self, output: Output) {
        match output {
            Output::Reply(id, outcome) => self.hear_reply(id, outcome),
            Output::Ready(_) | Output::Event(_) | Output::Stray(_) if self.damaged => {}
            Output::Ready(_) => assert_eq!(self.client.oob_enabled(), self.choices.oob),
            Output::Event(event) if event.name() == "SHUTDOWN" => {}
            Output::Event(event) => {
                let data: Value = event.data().unwrap().parse().unwrap();
                assert_eq!(data["number"], self.events_seen, "events in order");
                self.events_seen += 1;
                self.coverage.note("an event", true);
            }
            Output::Closed(reason) => {
                self.client_reason = Some(reason);
                self.to_server.end();
                self.to_client.cut(0);
                self.to_client.tell_end();
            }
            other => panic!("{other:?}"),
        }
    }

    fn hear_reply(&mut self, id: CommandId, outcome: Result<Raw, ExecuteError>) {
        let token = self.commands.iter().position(|command| command.id == id).unwrap();
        let command = &mut self.commands[token];
        // After SHUTDOWN the end of the stream is quit's reply.
        let quit = command.kind == Kind::Quit;
        let value = if quit { json!({}) } else { json!({"token": token}) };
        let ended = match outcome {
            Ok(raw) => {
                assert!(self.damaged || raw.parse().as_ref() == Ok(&value), "{token}'s return");
                Ended::Return
            }
            Err(ExecuteError::Command(error)) => {
                let ours = error == CommandError::generic(format!("no {token}"));
                assert!(self.damaged || ours, "{error}");
                Ended::Error
            }
            Err(ExecuteError::TimedOut { .. }) => panic!("{token} had no deadline"),
            Err(ExecuteError::NotSent(_)) => Ended::NotSent,
            Err(ExecuteError::Unanswered(_)) => Ended::Unanswered,
        };
        end(command, token, ended);
        let expected = match ended {
            Ended::Return => command.answer == Some(true),
            Ended::Error => command.answer == Some(false),
            _ => true,
        };
        assert!(self.damaged || expected, "{token}: {ended:?}, but {:?}", command.answer);
    }

    fn hear_server(&mut self, output: qmp_server::Output) {
        match output {
            qmp_server::Output::Ready { oob } => {
                assert!(self.damaged || oob == self.choices.oob, "{oob}");
            }
            qmp_server::Output::Call(call) => self.hear_call(call),
            qmp_server::Output::Closed(reason) => {
                self.server_reason = Some(reason);
                self.calls.clear();
                self.to_client.end();
                self.to_server.cut(0);
                self.to_server.tell_end();
            }
            other => panic!("{other:?}"),
        }
    }

    fn hear_call(&mut self, call: Call) {
        let arguments: Value = call.arguments.parse().unwrap();
        let token = arguments["token"].as_u64().unwrap() as usize;
        let kind = self.commands[token].kind;
        assert_eq!(call.out_of_band, kind == Kind::OutOfBand);
        assert!(!self.commands[token].called, "{token} is called twice");
        self.commands[token].called = true;
        let later = self.commands[token + 1..].iter();
        let mut alike = later.filter(|c| (c.kind == Kind::OutOfBand) == call.out_of_band);
        assert!(alike.all(|command| !command.called), "{token} is called too late");
        if kind == Kind::WithDescriptor && self.choices.early_take {
            self.take_descriptor(token);
        }
        self.calls.push((call, token));
    }

    /// The commands of which a byte has gone out and whose reply has not come.
    pub(super) fn begun(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().filter(|command| self.client.has_begun(command.id))
    }
}

fn end(command: &mut Command, token: usize, ended: Ended) {
    assert_eq!(command.ended, None, "{token} has ended, and now {ended:?}");
    command.ended = Some(ended);
}
