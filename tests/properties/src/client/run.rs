//! A program played on a connection, on its model, and on the ledger.

use qmp_proto::{
    Cancelled, CloseReason, CommandError, CommandId, Config, Dialect, ErrorClass, IoFailure, Phase,
    Request, Violation,
};

use super::ledger::Ledger;
use super::model::{self, CancelOutcome, Kind, Model};
use super::{Choices, Op, Stray};
use crate::peer::{self, Descriptor, Peer, error, event, success};
use crate::{Most, pick};

pub(super) struct Run {
    peer: Peer,
    /// Until something comes that it does not understand.
    model: Option<Model>,
    ledger: Ledger,
    chunk: usize,
    handshake: u64,
    agent: bool,
    /// The agent echoes ids.
    echoes: bool,
    descriptors: u32,
}

impl Run {
    pub(super) fn new(choices: &Choices) -> Self {
        let config = peer::config(|config| {
            (config.oob, config.descriptors) = (choices.oob, choices.descriptors);
            if choices.agent {
                config.dialect = Dialect::GuestAgent;
            }
            config.window = choices.window.map(usize::from);
            if choices.short_queue {
                (config.max_queued, config.max_queued_bytes) = (12, 300);
            }
        });
        let handshake = handshake(config.clone());
        let model = Model::new(model::Choices {
            agent: choices.agent,
            echoes: choices.agent && choices.oob,
            oob: config.oob,
            descriptors: config.descriptors,
            window: config.window,
            max_queued: config.max_queued,
            max_queued_bytes: config.max_queued_bytes,
            handshake,
        });
        Self {
            model: Some(model),
            ledger: Ledger::new(choices.agent, config.oob, config.window),
            peer: Peer::new(config),
            chunk: choices.chunk.bytes(),
            handshake,
            agent: choices.agent,
            echoes: choices.agent && choices.oob,
            descriptors: 0,
        }
    }

    pub(super) fn step(&mut self, op: &Op) {
        match op {
            Op::Execute(kind, size) => self.execute(*kind, *size),
            Op::Cancel(choice) => self.cancel(*choice),
            Op::Transmit => self.send(0),
            Op::Send(most) => self.send(most.bytes()),
            Op::Handshake => {
                self.step(&Op::Greet);
                self.step(&Op::Send(Most::All));
                self.step(&Op::Accept);
            }
            Op::Greet if self.agent => self.synchronise(0),
            Op::Accept if self.agent => self.synchronise(1),
            Op::Greet => self.feed(peer::GREETING, Model::greet),
            Op::Accept => self.negotiate(true),
            Op::Reply(choice, ok) => self.reply(*choice, *ok),
            Op::Stray(stray) => self.stray(*stray),
            Op::ErrorWithoutId => self.error_without_id(),
            Op::Event => self.feed(&event("STOP"), |model| model.event("STOP")),
            Op::Shutdown => self.feed(&event("SHUTDOWN"), |model| model.event("SHUTDOWN")),
            Op::Input(bytes) => {
                self.model = None;
                bytes.chunks(self.chunk).for_each(|chunk| self.peer.feed(chunk));
            }
            Op::Eof => {
                self.peer.connection.handle_eof();
                self.follow(Model::eof);
            }
            Op::Reset => self.fail(IoFailure::Reset, Model::ended),
            Op::Failure => self.fail(IoFailure::Os(5), Model::end),
            Op::Close => {
                self.peer.connection.close();
                self.follow(Model::close);
            }
            Op::Abort => {
                self.peer.connection.abort();
                self.follow(|model| model.end(CloseReason::Requested));
            }
        }
        self.compare(op);
    }

    /// The stream ends, and nothing is left.
    pub(super) fn finish(mut self) {
        self.step(&Op::Eof);
        self.ledger.check_end(&mut self.peer);
    }

    fn follow(&mut self, step: impl FnOnce(&mut Model)) {
        if let Some(model) = &mut self.model {
            step(model);
        }
    }

    /// Everything that can be seen of the connection, against the model.
    fn compare(&mut self, op: &Op) {
        let told = self.peer.told();
        self.ledger.listen(&told);
        self.ledger.check(&self.peer);
        let Some(model) = &mut self.model else { return };
        assert_eq!(told, std::mem::take(&mut model.told), "told after {op:?}");
        let connection = &self.peer.connection;
        assert_eq!(connection.phase(), model.phase(), "phase after {op:?}");
        assert_eq!(connection.is_idle(), model.is_idle(), "is_idle after {op:?}");
        assert_eq!(connection.strays(), model.strays, "strays after {op:?}");
        assert_eq!(self.peer.open(), model.open(), "open descriptors after {op:?}");
        let begun = model.begun();
        for id in model.ids() {
            assert_eq!(connection.has_begun(id), begun.contains(&id), "has_begun after {op:?}");
        }
    }

    fn feed(&mut self, text: &str, step: impl FnOnce(&mut Model)) {
        self.feed_bytes(text.as_bytes(), step);
    }

    fn feed_bytes(&mut self, bytes: &[u8], step: impl FnOnce(&mut Model)) {
        bytes.chunks(self.chunk).for_each(|chunk| self.peer.feed(chunk));
        self.follow(step);
    }

    /// The answer comes with which a guest agent's session begins, or one of so many before.
    fn synchronise(&mut self, before: u64) {
        let number = self.model.as_ref().map_or(self.ledger.number, Model::number) - before;
        let id = if self.echoes { format!(", \"id\": {number}") } else { String::new() };
        let answer = [&[0xFF], format!("{{\"return\": {number}{id}}}\n").as_bytes()].concat();
        self.feed_bytes(&answer, |model| model.synchronise(number));
    }

    fn fail(&mut self, failure: IoFailure, step: impl FnOnce(&mut Model, CloseReason)) {
        self.peer.connection.handle_failure(failure.clone());
        self.follow(|model| step(model, CloseReason::Failed(failure)));
    }

    fn execute(&mut self, kind: Kind, size: u8) {
        let length = 1 + usize::from(size % 60);
        let odd = self.agent && size % 2 == 1 && kind == Kind::WithDescriptor;
        let kind = if odd { Kind::WithoutReply } else { kind };
        let name = if kind == Kind::Quit { "quit".to_owned() } else { "c".repeat(length) };
        let mut request = Request::new(name.clone());
        let mut descriptor = None;
        match kind {
            Kind::OutOfBand => request = request.out_of_band(),
            Kind::WithoutReply => request = request.no_reply(),
            Kind::WithDescriptor => {
                self.descriptors += 1;
                descriptor = Some(self.descriptors);
                request = request.descriptor(Descriptor::open(self.descriptors, &self.peer.open));
            }
            Kind::InBand | Kind::Quit => {}
        }
        let phase = self.peer.connection.phase();
        // Encoded by the connection, or before.
        let connection = &mut self.peer.connection;
        let accepted = match size < 128 {
            true => connection.execute(request, None),
            false => {
                connection.execute_prepared(request.prepare().expect("it can be encoded"), None)
            }
        };
        let ended = matches!(phase, Phase::Closing | Phase::Closed);
        assert!(!(ended && accepted.is_ok()), "accepted while {phase:?}");
        if let Some(model) = &self.model {
            assert_eq!(accepted.clone().map(drop), model.verdict(kind, &name));
        }
        self.follow(|model| model.ask(kind, &name));
        if let Ok(id) = accepted {
            self.ledger.accept(id, kind, &name);
            self.follow(|model| model.execute(id, kind, &name, descriptor));
        }
    }

    fn cancel(&mut self, choice: u8) {
        let Some(id) = chosen(choice, &self.ledger.ids()) else { return };
        let cancelled = match self.peer.connection.cancel(id) {
            Cancelled::NeverSent(descriptor) => {
                CancelOutcome::NeverSent(descriptor.map(|descriptor| descriptor.number()))
            }
            Cancelled::ReplyDiscarded => CancelOutcome::ReplyDiscarded,
            Cancelled::NoReplyOwed => CancelOutcome::NoReplyOwed,
            Cancelled::Unknown => CancelOutcome::Unknown,
        };
        self.ledger.cancel(id, &cancelled);
        self.follow(|model| assert_eq!(cancelled, model.cancel(id)));
    }

    /// Claims what may be claimed, and lets the transport take `most` bytes of it.
    fn send(&mut self, most: usize) {
        let transmit = self.peer.connection.transmit();
        let lent = transmit.map(|t| (t.bytes.to_vec(), t.descriptor.map(Descriptor::number)));
        self.follow(|model| assert_eq!(lent, model.transmit(), "lent"));
        let Some((bytes, _)) = lent else { return };
        let taken = bytes.len().min(most);
        self.peer.connection.advance(taken);
        self.ledger.send(&bytes[..taken]);
        if taken > 0 {
            self.follow(|model| model.advance(taken));
        }
    }

    /// The reply to `qmp_capabilities` comes.
    fn negotiate(&mut self, ok: bool) {
        let id = self.model.as_ref().map_or(self.handshake, Model::negotiation);
        let text = if ok { success(id) } else { error(id) };
        self.feed(&text, |model| model.answer_negotiation(ok));
    }

    /// Where the model is not followed, it may come to any command. Before there are commands, it is the
    /// reply to `qmp_capabilities`.
    fn reply(&mut self, choice: u8, ok: bool) {
        if self.model.as_ref().is_some_and(|model| model.phase() == Phase::Negotiating) {
            return self.negotiate(ok);
        }
        let waiting = self.model.as_ref().map_or_else(|| self.ledger.ids(), Model::at_the_server);
        let Some(id) = chosen(choice, &waiting) else { return };
        let text = match (self.agent && !self.echoes, ok) {
            (false, true) => success(id),
            (false, false) => error(id),
            (true, true) => "{\"return\": {}}\n".to_owned(),
            (true, false) => {
                "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n".to_owned()
            }
        };
        self.feed(&text, |model| model.reply(id, ok));
    }

    fn stray(&mut self, stray: Stray) {
        let text = match stray {
            Stray::WithoutId => {
                return self.feed("{\"return\": {}}", |model| model.return_without_id("{}"));
            }
            Stray::OfAnotherClient => success("\"gone\""),
            Stray::ErrorOfAnotherClient => error("{\"a\": [1]}"),
            Stray::WithANumber => success(self.handshake + 1_000),
            Stray::Again => return self.late_reply(),
            Stray::AlmostOurs => success("\"1\""),
        };
        self.feed(&text, Model::stray);
    }

    fn late_reply(&mut self) {
        if let Some(id) = self.model.as_ref().and_then(Model::ended_id) {
            self.feed(&success(id), Model::late_reply);
        }
    }

    fn error_without_id(&mut self) {
        let error = CommandError { class: ErrorClass::GenericError, desc: "no".into() };
        let violation = CloseReason::Violation(Violation::UnattributableError(error));
        let text = r#"{"error": {"class": "GenericError", "desc": "no"}}"#;
        self.feed(text, |model| model.error_without_id(violation));
    }
}

/// The id that a connection of the tests takes for its `qmp_capabilities`.
fn handshake(mut config: Config) -> u64 {
    config.dialect = Dialect::Qmp;
    let mut scratch = Peer::new(config);
    scratch.greet();
    scratch.sent()[0].id
}

fn chosen(choice: u8, ids: &[CommandId]) -> Option<CommandId> {
    pick(choice, ids.len()).map(|at| ids[at])
}
