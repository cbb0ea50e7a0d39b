//! What a connection does with each message that comes.

use crate::codec::message::{Message, Reply, ReplyId};
use crate::connection::Connection;
use crate::connection::close::{CloseReason, NotQmp, Violation};
use crate::connection::evidence::Evidence;
use crate::connection::outbound::in_flight::Flight;
use crate::connection::output::{Output, Stray};
use crate::connection::phase::Phase;
use crate::payload::command::CommandId;
use crate::payload::error::{CommandError, ExecuteError};
use crate::payload::event::Event;
use crate::payload::no_reply::NoReply;
use crate::payload::raw::Raw;

impl<F> Connection<F> {
    /// Reads messages until the bytes, or the connection, come to an end.
    pub(crate) fn receive(&mut self, mut input: &[u8]) {
        if !self.framer.mid_message() {
            self.message_began = self.wire.position();
        }
        loop {
            if self.phase == Phase::Ready && self.drops_unasked(input) {
                break;
            }
            match self.phase {
                Phase::Greeting | Phase::Negotiating | Phase::Ready | Phase::Closing => {}
                Phase::Syncing => match self.sync.read(input) {
                    Some(behind) => {
                        input = behind;
                        self.synchronised();
                    }
                    None => {
                        self.ask_without_id_if_refused();
                        break;
                    }
                },
                Phase::OutOfStep | Phase::Closed => break,
            }
            match self.framer.next(&mut input) {
                Ok(Some(frame)) => match Message::read(&frame) {
                    Ok(message) => self.handle_message(message),
                    Err(violation) => self.violation(violation),
                },
                Ok(None) => break,
                // Before it is ready, QEMU may print to the same stream: the path of a pty, for instance.
                Err(Violation::Garbage { .. })
                    if matches!(self.phase, Phase::Greeting | Phase::Negotiating) =>
                {
                    self.end(CloseReason::NotQmp(NotQmp::unknown(&[], input)));
                }
                Err(violation) => self.violation(violation),
            }
            self.message_began = self.wire.position();
        }
    }

    /// Each outcome is in the table of [`Phase`].
    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Greeting(greeting) => self.negotiate(greeting),
            Message::Reply(reply) => match self.phase {
                // A previous client's, which QEMU sends to whoever is there: even before the greeting.
                Phase::Greeting => self.stray(reply),
                Phase::Negotiating => self.handle_reply_to_negotiation(reply),
                _ => self.handle_reply(reply),
            },
            // QEMU may send events before the greeting.
            Message::Event(event) => {
                if self.phase == Phase::Greeting {
                    Evidence::keep(&mut self.evidence, Evidence::Event);
                }
                self.handle_event(event);
            }
        }
    }

    /// Before the greeting, an object that is no message at all means that this is no QMP.
    pub(crate) fn violation(&mut self, violation: Violation) {
        let reason = match (self.phase, &violation) {
            (Phase::Greeting, Violation::Envelope { .. }) => CloseReason::NotQmp(NotQmp::OtherJson),
            _ => CloseReason::Violation(violation),
        };
        match self.speaks_to_agent() {
            true => self.drop_what_comes(reason),
            false => self.end(reason),
        }
    }

    fn handle_reply(&mut self, reply: Reply) {
        if self.speaks_to_agent() {
            return self.handle_reply_of_agent(reply);
        }
        match (&reply.id, &reply.outcome) {
            (ReplyId::Number(id), outcome) if self.is_ours(*id) => {
                self.attributed = false;
                if self.negotiation.settle(*id) {
                    // A `qmp_capabilities` that was sent again: another one has made us ready.
                    return;
                }
                match self.window.leave(*id, outcome.is_ok()) {
                    Some(flight) => self.settle(flight, reply.outcome),
                    None => self.stray(reply),
                }
            }
            (ReplyId::Absent, Err(_)) => self.handle_error_without_id(reply),
            _ => self.stray(reply),
        }
    }

    /// A guest agent answers the one command that it has begun to get: with its id, or, if the agent
    /// echoes none, without one, by a reply that did not begin to come before.
    fn handle_reply_of_agent(&mut self, reply: Reply) {
        let echoes = self.sync.echoes_ids();
        match (reply.id, reply.outcome, self.window.two_begun(self.message_began)) {
            (ReplyId::Number(id), outcome, [Some(ours), _]) if echoes && id == ours => {
                self.settle_with(ours, outcome);
            }
            // It could not read something, which may have been the command.
            (ReplyId::Absent, Err(error), [Some(_), _]) if echoes => {
                self.violation(Violation::UnattributableError(error));
            }
            (ReplyId::Absent, outcome, [Some(ours), _]) if !echoes => {
                let failed = outcome.is_err();
                self.settle_with(ours, outcome);
                if failed {
                    self.fall_out_of_step();
                }
            }
            (id, outcome, _) => self.stray(Reply { id, outcome }),
        }
    }

    fn settle_with(&mut self, id: u64, outcome: Result<Raw, CommandError>) {
        if let Some(flight) = self.window.leave(id, outcome.is_ok()) {
            self.settle(flight, outcome);
        }
    }

    /// The server could not read a command, so it does not know whose fault this is. One bad input
    /// may give many such errors: only the first is taken for an answer. A command of which the
    /// server has got nothing yet cannot be meant.
    fn handle_error_without_id(&mut self, reply: Reply) {
        let begun = self.window.two_begun(self.wire.position());
        match (reply.outcome, begun) {
            (outcome @ Err(_), [Some(id), None]) if !self.attributed => {
                self.attributed = true;
                if let Some(flight) = self.window.leave(id, false) {
                    self.settle(flight, outcome);
                }
            }
            (Err(error), [Some(_), Some(_)]) if !self.attributed => {
                self.violation(Violation::UnattributableError(error));
            }
            (outcome, _) => self.stray(Reply { id: ReplyId::Absent, outcome }),
        }
    }

    /// A command that has left the window ends with this.
    fn settle(&mut self, flight: Flight, outcome: Result<Raw, CommandError>) {
        if flight.quit && outcome.is_err() {
            self.shutting_down = false;
        }
        if !flight.cancelled {
            let outcome = match outcome {
                Ok(_) if flight.no_reply => Ok(NoReply::Returned.into()),
                Ok(raw) => Ok(raw.with_max_values(self.config.most_values())),
                Err(error) => Err(ExecuteError::Command(error)),
            };
            self.outputs.push_back(Output::Reply(CommandId(flight.id), outcome));
        }
        self.close_if_drained();
    }

    pub(crate) fn stray(&mut self, reply: Reply) {
        self.strays += 1;
        // In place of the greeting any reply is evidence, in place of that to `qmp_capabilities` an error is.
        let is_evidence = match self.phase {
            Phase::Greeting => true,
            Phase::Negotiating => reply.outcome.is_err(),
            _ => false,
        };
        if is_evidence {
            Evidence::keep(&mut self.evidence, Evidence::of_reply(&reply.outcome));
        }
        let id = match reply.id {
            ReplyId::Absent => None,
            ReplyId::Number(number) => Some(Raw::from_number(number)),
            ReplyId::Other(id) => Some(id),
        };
        let values = self.config.most_values();
        let (id, outcome) = (
            id.map(|id| id.with_max_values(values)),
            reply.outcome.map(|raw| raw.with_max_values(values)),
        );
        self.outputs.push_back(Output::Stray(Stray { id, outcome }));
    }

    fn handle_event(&mut self, event: Event) {
        if self.quit_sent() && event.name() == "SHUTDOWN" {
            self.shutting_down = true;
        }
        self.outputs.push_back(Output::Event(event.with_max_values(self.config.most_values())));
    }
}
