//! A program played on a server's connection, and all that came of it.

use qmp_proto::{CommandError, Event, IoFailure, Raw, Timestamp};
use qmp_server::{CloseReason, Config, Connection, Output, Phase, RespondError, Ticket};
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::{Choices, Form, Op, Outcome};
use crate::peer::{Descriptor, OpenDescriptors};
use crate::{Most, pick};

const AT: Timestamp = Timestamp { seconds: 1, microseconds: 2 };

/// A call that is not answered, and the command that it is, where that is known.
type Open = (Ticket, bool, Option<usize>);

pub(super) struct Run {
    server: Connection<Descriptor>,
    config: Config,
    chunk: usize,
    ledger: Ledger,
    calls: Vec<Open>,
    answered: Vec<Ticket>,
    open: OpenDescriptors,
    descriptors: u32,
    /// The client's end, or the server's, was brought about.
    ended: bool,
    reason: Option<CloseReason>,
    transcript: Vec<String>,
}

impl Run {
    /// Everything that the application and the client were told, in order.
    pub(super) fn play(choices: &Choices, chunk: usize, ops: &[Op]) -> Vec<String> {
        let mut config = Config::default();
        if !choices.offers_oob {
            config.capabilities.clear();
        }
        (config.pretty, config.concurrent) = (choices.pretty, choices.concurrent);
        (config.queue, config.max_output) = (choices.queue, choices.max_output);
        let mut run = Self {
            server: Connection::new(config.clone()),
            ledger: Ledger::new(choices.concurrent <= 1),
            config,
            chunk,
            calls: Vec::new(),
            answered: Vec::new(),
            open: OpenDescriptors::default(),
            descriptors: 0,
            ended: false,
            reason: None,
            transcript: Vec::new(),
        };
        for op in ops {
            run.step(op);
            run.check();
        }
        run.finish()
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Negotiate(oob) => {
                let enable: &[&str] = if oob { &["oob"] } else { &[] };
                self.command("execute", "qmp_capabilities", json!({"enable": enable}), Form::Plain);
            }
            Op::Command { out_of_band, form, ref text } => {
                let arguments = json!({"token": self.ledger.next(), "é": text_for(form, text)});
                let verb = if out_of_band { "exec-oob" } else { "execute" };
                self.command(verb, "a", arguments, form);
            }
            Op::Input(ref bytes) => {
                self.ledger.lose_track();
                self.feed(bytes);
            }
            Op::Descriptor => {
                self.descriptors += 1;
                self.server.handle_descriptor(Descriptor::open(self.descriptors, &self.open));
            }
            Op::TakeDescriptor => {
                let taken = self.server.take_descriptor().map(|descriptor| descriptor.number());
                self.transcript.push(format!("took {taken:?}"));
            }
            Op::Answer(choice, outcome) => self.answer(choice, outcome),
            Op::AnswerAgain(choice) => {
                if let Some(at) = pick(choice, self.answered.len()) {
                    let again = self.server.respond(self.answered[at], Ok(1));
                    assert_eq!(again, Err(RespondError::NotOutstanding));
                }
            }
            Op::Event(size, is_json) => self.event(size, is_json),
            Op::Send(most) => self.send(most),
            Op::Eof => self.end(|server| server.handle_eof()),
            Op::Reset => self.end(|server| server.handle_failure(IoFailure::Reset)),
            Op::Close => self.end(|server| server.close()),
        }
        self.listen();
    }

    fn end(&mut self, end: impl FnOnce(&mut Connection<Descriptor>)) {
        self.ended = true;
        end(&mut self.server);
    }

    /// What comes behind the end may be heard or not.
    fn feed(&mut self, bytes: &[u8]) {
        if self.ended {
            self.ledger.lose_track();
        }
        bytes.chunks(self.chunk).for_each(|chunk| self.server.handle_input(chunk));
    }

    fn command(&mut self, verb: &str, name: &str, arguments: Value, form: Form) {
        let id = self.ledger.command(verb == "exec-oob", &arguments);
        let command = json!({verb: name, "arguments": arguments, "id": id});
        let text = match form {
            Form::Plain => command.to_string(),
            Form::Pretty => format!("\t{command:#}\r\n"),
            Form::SingleQuotes => command.to_string().replace('"', "'"),
        };
        self.feed(text.as_bytes());
    }

    fn answer(&mut self, choice: u8, outcome: Outcome) {
        let Some(at) = pick(choice, self.calls.len()) else { return };
        let (ticket, _, token) = self.calls.remove(at);
        self.answered.push(ticket);
        let open = matches!(self.server.phase(), Phase::Negotiating | Phase::Ready);
        let value = match outcome {
            Outcome::Return => Ok(Raw::from_static("[7]")),
            Outcome::NotJson => Ok(Raw::from_static("[7")),
            Outcome::Error => Err(CommandError::generic("no")),
        };
        let expected = match outcome {
            _ if !open => Err(RespondError::NotOutstanding),
            Outcome::NotJson => Err(RespondError::NotSerializable),
            _ => Ok(()),
        };
        self.ledger.answer(token, outcome == Outcome::Return);
        assert_eq!(self.server.respond(ticket, value), expected);
    }

    fn event(&mut self, size: u8, is_json: bool) {
        let number = self.ledger.next_event();
        let data = json!({"number": number, "pad": "x".repeat(size.into())});
        let data = if is_json { Raw::new(&data).unwrap() } else { Raw::from_static("{") };
        let room = self.waiting() < self.config.max_output;
        let expected = self.server.phase() == Phase::Ready && room && is_json;
        let sent = self.server.event(&Event::new("X", Some(&data), AT));
        assert_eq!(sent, expected, "an event");
        self.ledger.event(sent);
    }

    fn waiting(&self) -> usize {
        self.server.transmit().map_or(0, <[u8]>::len)
    }

    fn send(&mut self, most: Most) {
        let Some(bytes) = self.server.transmit() else { return };
        let bytes = bytes[..most.bytes().min(bytes.len())].to_vec();
        self.ledger.sent(&bytes);
        self.transcript.push(String::from_utf8(bytes.clone()).expect("ASCII"));
        self.server.advance(bytes.len());
    }

    fn listen(&mut self) {
        while let Some(output) = self.server.poll_output() {
            assert_eq!(self.reason, None, "{output:?} after the end");
            match output {
                Output::Ready { oob } => {
                    self.transcript.push(format!("ready {oob}"));
                    self.ledger.ready();
                }
                Output::Call(call) => self.hear(&call),
                Output::Closed(reason) => {
                    self.transcript.push(reason.to_string());
                    self.reason = Some(reason);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn hear(&mut self, call: &qmp_server::Call) {
        let arguments = String::from_utf8_lossy(call.arguments.as_bytes());
        self.transcript.push(format!("call {} {arguments} {}", call.name, call.out_of_band));
        let value: Value = call.arguments.parse().unwrap_or_default();
        assert!(arguments.starts_with('{'), "the arguments are an object");
        let token = self.ledger.call(&value, call.out_of_band);
        self.calls.push((call.ticket, call.out_of_band, token));
    }

    /// What holds at any time.
    fn check(&mut self) {
        let phase = self.server.phase();
        assert_eq!(self.server.close_reason(), self.reason.as_ref());
        assert_eq!(self.reason.is_some(), phase == Phase::Closed);
        if !matches!(phase, Phase::Negotiating | Phase::Ready) {
            self.answered.extend(self.calls.drain(..).map(|(ticket, ..)| ticket));
            return assert!(!self.server.wants_input(), "nothing is read any more");
        }
        let out_of_band = self.calls.iter().filter(|(_, out_of_band, _)| *out_of_band).count();
        let in_band = self.calls.len() - out_of_band;
        let concurrent = self.config.concurrent.max(1);
        assert!(in_band <= concurrent && out_of_band <= 1, "{in_band} and {out_of_band} calls");
        let suspended = out_of_band > 0 || !self.server.oob_enabled() && in_band == concurrent;
        assert!(!(suspended && self.server.wants_input()), "it reads while it is busy");
        let idle = self.calls.is_empty() && self.waiting() < self.config.max_output;
        assert!(!idle || self.server.wants_input(), "it waits for nobody");
    }

    /// All that is left is answered and sent; then the client leaves.
    fn finish(mut self) -> Vec<String> {
        while !self.calls.is_empty() || self.server.transmit().is_some() {
            self.step(&Op::Answer(0, Outcome::Return));
            self.step(&Op::Send(Most::All));
            self.check();
        }
        if !self.ended {
            self.ledger.check_all_answered();
        }
        self.step(&Op::Eof);
        self.step(&Op::Send(Most::All));
        self.check();
        assert!(self.reason.is_some() && self.server.transmit().is_none());
        assert!(self.open.borrow().is_empty(), "descriptors are left");
        self.transcript
    }
}

/// What QEMU takes: no noncharacters, and between single quotes no quotes at all.
fn text_for(form: Form, text: &str) -> String {
    let is_noncharacter = |c: char| {
        let code = u32::from(c);
        code & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&code)
    };
    let is_quote = |c: char| matches!((form, c), (Form::SingleQuotes, '"' | '\''));
    text.chars().filter(|c| !is_noncharacter(*c) && !is_quote(*c)).collect()
}
