//! What the server sends, and how the connection ends.

use qmp_proto::{CloseReason, CommandError, CommandId, ErrorClass, Phase, Violation};

use super::{Kind, Model, State};
use crate::peer::Told;

/// How many greetings may come before `Ready`.
const MAX_GREETINGS: u64 = 8;

impl Model {
    pub fn greet(&mut self) {
        match self.phase {
            Phase::Closed => {}
            Phase::Greeting | Phase::Negotiating if self.greetings < MAX_GREETINGS => {
                self.phase = Phase::Negotiating;
                let arguments =
                    if self.choices.oob { r#","arguments":{"enable":["oob"]}"# } else { "" };
                let id = self.choices.handshake + self.greetings;
                self.greetings += 1;
                self.negotiations.push(id);
                let text = format!(r#"{{"execute":"qmp_capabilities"{arguments},"id":{id}}}"#);
                self.wire.extend(text.as_bytes());
                self.wire.push(b'\n');
            }
            Phase::Negotiating => {
                let limit = MAX_GREETINGS as usize;
                self.end(CloseReason::Violation(Violation::TooManyGreetings { limit }));
            }
            _ => self.end(CloseReason::Violation(Violation::SecondGreeting)),
        }
    }

    /// The id of the next `qmp_capabilities` that the server answers, or of the first one.
    pub fn negotiation(&self) -> u64 {
        self.negotiations.first().copied().unwrap_or(self.choices.handshake)
    }

    /// The reply to it.
    pub fn answer_negotiation(&mut self, success: bool) {
        if self.negotiations.is_empty() {
            return self.late_reply();
        }
        self.negotiations.remove(0);
        match self.phase {
            Phase::Negotiating if success => {
                self.phase = Phase::Ready;
                self.told.push(Told::Ready);
            }
            Phase::Negotiating if self.negotiations.is_empty() => {
                let error = CommandError { class: ErrorClass::GenericError, desc: "no".into() };
                self.end(CloseReason::NegotiationRefused(error));
            }
            Phase::Ready | Phase::Closing => self.attributed = false,
            _ => {}
        }
    }

    /// A reply with the id of a command at the server.
    pub fn reply(&mut self, id: CommandId, success: bool) {
        self.attributed = false;
        self.settle(id, success);
    }

    /// A reply with such an id.
    pub fn late_reply(&mut self) {
        self.attributed &= !matches!(self.phase, Phase::Ready | Phase::Closing);
        self.stray();
    }

    /// A reply that cannot be any command's.
    pub fn stray(&mut self) {
        if self.is_unasked() {
            return;
        }
        if !matches!(self.phase, Phase::Closed | Phase::Syncing | Phase::OutOfStep) {
            self.strays += 1;
            self.told.push(Told::Stray);
        }
    }

    /// The rules of C6. A command of which nothing was sent cannot be what the server means.
    pub fn error_without_id(&mut self, violation: CloseReason) {
        let negotiated = matches!(self.phase, Phase::Ready | Phase::Closing);
        let begun: Vec<CommandId> = self.begun();
        match begun[..] {
            [id] if self.choices.agent && self.choices.echoes => self.was_unreadable(id),
            [id] if self.choices.agent => self.settle(id, false),
            [id] if negotiated && !self.attributed => {
                self.attributed = true;
                self.settle(id, false);
            }
            [_, _, ..] if negotiated && !self.attributed => self.end(violation),
            _ => self.stray(),
        }
    }

    pub fn event(&mut self, name: &str) {
        if self.is_unasked() {
            return;
        }
        match self.phase {
            Phase::Closed | Phase::Syncing | Phase::OutOfStep => {}
            _ => {
                self.shutdown_seen |= name == "SHUTDOWN" && self.quit_is_sent();
                self.told.push(Told::Event(name.to_owned()));
            }
        }
    }

    pub fn eof(&mut self) {
        self.ended(CloseReason::Eof { mid_message: false });
    }

    /// The stream ended, or was reset: `reason` is what that means without a `quit`.
    pub fn ended(&mut self, reason: CloseReason) {
        self.end(if self.quit_is_sent() { CloseReason::Quit } else { reason });
    }

    pub fn end(&mut self, reason: CloseReason) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        for command in &mut self.commands {
            let State::InFlight(start) = command.state else { continue };
            let whole = start + command.text.len() <= self.sent;
            command.state = State::Ended;
            let quit = command.kind == Kind::Quit && self.shutdown_seen;
            self.told.extend((!command.cancelled).then(|| {
                if start >= self.sent {
                    Told::NotSent(command.id)
                } else if quit && reason == CloseReason::Quit {
                    Told::Return(command.id, "{}".to_owned())
                } else if command.kind == Kind::WithoutReply && whole && is_by_server(&reason) {
                    Told::Return(command.id, "\"closed\"".to_owned())
                } else {
                    Told::Unanswered(command.id)
                }
            }));
        }
        self.end_queued();
        self.riding.clear();
        self.sent = self.wire.len();
        self.reason = Some(reason.clone());
        self.told.push(Told::Closed(reason));
    }

    pub(super) fn settle(&mut self, id: CommandId, success: bool) {
        self.settle_with(id, if success { Ok("{}") } else { Err("no") });
    }

    pub(super) fn settle_with(&mut self, id: CommandId, outcome: Result<&str, &str>) {
        let success = outcome.is_ok();
        let Some(command) = self.commands.iter_mut().find(|command| command.id == id) else {
            return;
        };
        command.state = State::Ended;
        if command.kind == Kind::Quit {
            self.quit_succeeded = success;
            self.shutdown_seen &= success;
        }
        let silent = command.kind == Kind::WithoutReply;
        self.told.extend((!command.cancelled).then(|| match outcome {
            Ok(_) if silent => Told::Return(id, "\"returned\"".to_owned()),
            Ok(value) => Told::Return(id, value.to_owned()),
            Err(desc) => Told::Error(id, desc.to_owned()),
        }));
        self.close_if_drained();
        if self.choices.agent && !self.choices.echoes && !success {
            self.fall_out_of_step();
        }
    }

    pub(super) fn close_if_drained(&mut self) {
        if self.phase == Phase::Closing && self.in_flight().next().is_none() {
            self.end(CloseReason::Requested);
        }
    }

    pub(super) fn end_queued(&mut self) {
        for command in &mut self.commands {
            if command.state == State::Queued {
                command.state = State::Ended;
                command.descriptor = None;
                self.told.push(Told::NotSent(command.id));
            }
        }
    }
}

/// Whether the stream ended by the server's doing.
fn is_by_server(reason: &CloseReason) -> bool {
    let reset = CloseReason::Failed(qmp_proto::IoFailure::Reset);
    matches!(reason, CloseReason::Quit | CloseReason::Eof { .. }) || *reason == reset
}
