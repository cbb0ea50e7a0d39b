//! What a server does with what comes: when it is read, when it runs, how it is answered.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use qmp_proto::__server::{Fault, Item};
use qmp_proto::{CommandError, ErrorClass, Raw};
use serde::{Deserialize, Serialize};

use super::envelope::{Command, Envelope};
use super::message;
use super::output::{Call, CloseReason, Output, RespondError, Ticket};
use super::{Connection, Phase};

/// In-band input that waits for its turn. Faults wait too: they are answered in order.
#[derive(Debug)]
pub(super) enum Waiting {
    Command(Envelope),
    Fault(Fault),
}

impl Waiting {
    fn size(&self) -> usize {
        match self {
            Self::Command(envelope) => envelope.size,
            Self::Fault(_) => 0,
        }
    }
}

/// A command that the application has and has not answered.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) ticket: Ticket,
    pub(super) id: Option<Raw>,
    pub(super) out_of_band: bool,
}

impl<F> Connection<F> {
    /// Starts what may run and reads what may be read, until neither goes on.
    pub(super) fn progress(&mut self) {
        loop {
            while let Some(next) = self.next_to_start() {
                self.start(next);
            }
            if !self.may_read() {
                return;
            }
            match self.intake.next() {
                Some(item) => self.accept(item),
                None => break,
            }
        }
        match self.intake.end() {
            Some(mid_message) if self.oob || self.running.is_empty() => {
                self.leave(CloseReason::Eof { mid_message });
            }
            _ => {}
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Negotiating | Phase::Ready)
    }

    /// Whether the client reads what it is sent, by and large.
    pub(super) fn has_room(&self) -> bool {
        self.wire.len() < self.config.max_output.max(1)
    }

    pub(super) fn may_read(&self) -> bool {
        self.is_open() && self.has_room() && !self.is_suspended()
    }

    /// QMP specification, section "Out-of-band execution": with it, commands that wait make up a
    /// queue of bounded length. Without it, nothing is read while a command runs.
    fn is_suspended(&self) -> bool {
        let out_of_band = self.running.iter().any(|running| running.out_of_band);
        let in_band = match self.oob {
            true => {
                let bytes: usize = self.queue.iter().map(Waiting::size).sum();
                self.queue.len() >= self.config.queue.max(1) || bytes > self.config.max_command
            }
            false => !self.queue.is_empty() || !self.may_start(),
        };
        out_of_band || in_band
    }

    fn may_start(&self) -> bool {
        let in_band = self.running.iter().filter(|running| !running.out_of_band).count();
        in_band < self.config.concurrent.max(1)
    }

    fn next_to_start(&mut self) -> Option<Waiting> {
        let may_start = self.is_open() && self.has_room() && self.may_start();
        if may_start { self.queue.pop_front() } else { None }
    }

    fn accept(&mut self, item: Item) {
        match item {
            Item::Fault(fault) => self.queue.push_back(Waiting::Fault(fault)),
            Item::Object(object) => match Envelope::read(object, self.oob) {
                envelope if envelope.out_of_band => self.execute(envelope),
                envelope => self.queue.push_back(Waiting::Command(envelope)),
            },
        }
    }

    fn start(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Command(envelope) => self.execute(envelope),
            Waiting::Fault(fault) => {
                self.refuse(&CommandError::generic(fault.to_string()), None);
            }
        }
    }

    /// Hands a command to the application, unless it is the protocol's own.
    fn execute(&mut self, envelope: Envelope) {
        let Envelope { id, command, out_of_band, .. } = envelope;
        let outcome = match command {
            Ok(command) if command.name == "qmp_capabilities" => {
                self.negotiate(&command.arguments, out_of_band)
            }
            Ok(_) if self.phase == Phase::Negotiating => Err(CommandError::new(
                ErrorClass::CommandNotFound,
                "'qmp_capabilities' has to come before any other command",
            )),
            Ok(Command { name, arguments }) => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.running.push(Running { ticket, id, out_of_band });
                let call = Call { ticket, name, arguments, out_of_band };
                return self.outputs.push_back(Output::Call(call));
            }
            Err(fault) => Err(CommandError::generic(fault.description())),
        };
        match outcome {
            // An empty object is always written.
            Ok(empty) => drop(self.succeed(&empty, id.as_ref())),
            Err(error) => self.refuse(&error, id.as_ref()),
        }
    }

    /// QMP specification, section "Capabilities Negotiation".
    fn negotiate(&mut self, arguments: &Raw, out_of_band: bool) -> Result<Raw, CommandError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Arguments {
            #[serde(default)]
            enable: Vec<String>,
        }
        if out_of_band {
            let text = "'qmp_capabilities' cannot be executed out-of-band";
            return Err(CommandError::generic(text));
        }
        // Faults of the arguments come first, in any phase.
        let Arguments { enable } = arguments.parse()?;
        let offers = |capability: &_| self.config.capabilities.contains(capability);
        if !enable.iter().all(|capability| capability == "oob" || offers(capability)) {
            return Err(CommandError::generic("a capability to be enabled is unknown"));
        }
        if self.phase != Phase::Negotiating {
            let text = "'qmp_capabilities' was executed already";
            return Err(CommandError::new(ErrorClass::CommandNotFound, text));
        }
        if !enable.iter().all(offers) {
            return Err(CommandError::generic("a capability to be enabled was not offered"));
        }
        self.phase = Phase::Ready;
        self.oob = enable.iter().any(|capability| capability == "oob");
        self.outputs.push_back(Output::Ready { oob: self.oob });
        Ok(Raw::from_static("{}"))
    }

    pub(super) fn succeed<T: Serialize>(
        &mut self,
        value: &T,
        id: Option<&Raw>,
    ) -> Result<(), RespondError> {
        let written = serde_json::to_string(value).map_err(|_| RespondError::NotSerializable);
        match &written {
            Ok(json) => message::success(self.wire.text(), json, id, self.config.pretty),
            Err(error) => {
                self.refuse(&CommandError::generic(error.to_string()), id);
            }
        }
        written.map(drop)
    }

    pub(super) fn refuse(&mut self, error: &CommandError, id: Option<&Raw>) {
        message::error(self.wire.text(), error, id, self.config.pretty);
    }

    /// Nothing is read or answered from here on; what is written is still sent. The first reason
    /// stays.
    pub(super) fn leave(&mut self, reason: CloseReason) {
        if self.is_open() {
            self.phase = Phase::Closing;
            self.close_reason = Some(reason);
            self.queue.clear();
            self.running.clear();
            self.intake.clear();
        }
        self.end_if_sent();
    }

    pub(super) fn end_if_sent(&mut self) {
        if self.phase == Phase::Closing && self.wire.is_empty() {
            self.phase = Phase::Closed;
            self.outputs.extend(self.close_reason.clone().map(Output::Closed));
        }
    }
}
