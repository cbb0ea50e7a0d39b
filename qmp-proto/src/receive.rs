//! What a connection does with each message that comes.

use crate::close::{CloseReason, NotQmp, Violation};
use crate::command::{CommandId, Request};
use crate::connection::Connection;
use crate::encode;
use crate::error::{CommandError, ExecuteError};
use crate::event::Event;
use crate::message::{Greeting, Message, Reply, ReplyId};
use crate::no_reply::NoReply;
use crate::output::{Output, Stray};
use crate::raw::Raw;
use crate::state::{Phase, Trigger};
use crate::window::Flight;

impl<F> Connection<F> {
    /// Reads messages until the bytes, or the connection, come to an end.
    pub(crate) fn receive(&mut self, mut input: &[u8]) {
        loop {
            match self.phase {
                Phase::Greeting | Phase::Negotiating | Phase::Ready | Phase::Closing => {}
                Phase::Syncing => match self.sync.read(input) {
                    Some(behind) => {
                        input = behind;
                        self.synchronised();
                    }
                    None => break,
                },
                Phase::OutOfStep | Phase::Closed => break,
            }
            match self.framer.next(&mut input) {
                Ok(Some(frame)) => match Message::read(&frame) {
                    Ok(message) => self.handle_message(message),
                    Err(violation) => self.violation(violation),
                },
                Ok(None) => break,
                Err(violation) => self.violation(violation),
            }
        }
    }

    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Greeting(greeting) => match self.phase {
                Phase::Greeting => self.negotiate(greeting),
                _ => self.violation(Violation::SecondGreeting),
            },
            Message::Reply(reply) => match self.phase {
                // A previous client's, which QEMU sends to whoever is there: even before the greeting.
                Phase::Greeting => self.stray(reply),
                Phase::Negotiating => self.handle_reply_to_handshake(reply),
                _ => self.handle_reply(reply),
            },
            Message::Event(event) => match self.phase {
                Phase::Greeting => self.end(CloseReason::NotQmp(NotQmp::OtherJson)),
                _ => self.handle_event(event),
            },
        }
    }

    /// Before the greeting, an object that is no message at all means that this is no QMP.
    fn violation(&mut self, violation: Violation) {
        let reason = match (self.phase, &violation) {
            (Phase::Greeting, Violation::Envelope { .. }) => CloseReason::NotQmp(NotQmp::OtherJson),
            _ => CloseReason::Violation(violation),
        };
        match self.speaks_to_agent() {
            true => self.drop_what_comes(reason),
            false => self.end(reason),
        }
    }

    /// QMP specification, section "Capabilities Negotiation".
    fn negotiate(&mut self, greeting: Greeting) {
        #[derive(serde::Serialize)]
        struct Enable {
            enable: [&'static str; 1],
        }
        let Some(phase) = self.phase.after(Trigger::Greeted) else {
            return;
        };
        self.phase = phase;
        let enable = self.wants_oob(&greeting).then_some(Enable { enable: ["oob"] });
        let request = Request::<_, F>::new("qmp_capabilities").arguments(enable);
        // Written here, it cannot be refused; were it so, the handshake's deadline would tell.
        let _ = encode::append(self.wire.text(), &request);
        encode::finish(self.wire.text(), Some(self.handshake), false);
        self.greeting = Some(greeting);
    }

    fn wants_oob(&self, greeting: &Greeting) -> bool {
        self.config.oob && greeting.capabilities.iter().any(|offered| offered == "oob")
    }

    fn handle_reply_to_handshake(&mut self, reply: Reply) {
        if reply.id != ReplyId::Number(self.handshake) {
            return self.stray(reply);
        }
        match (reply.outcome, self.phase.after(Trigger::Accepted), self.greeting.clone()) {
            (Ok(_), Some(phase), Some(greeting)) => {
                self.phase = phase;
                if self.wants_oob(&greeting) {
                    self.window.enable_oob();
                }
                self.outputs.push_back(Output::Ready(Some(greeting)));
            }
            (Err(error), ..) => self.end(CloseReason::NegotiationRefused(error)),
            _ => {}
        }
    }

    fn handle_reply(&mut self, reply: Reply) {
        if self.speaks_to_agent() {
            return self.handle_reply_of_agent(reply);
        }
        match (&reply.id, &reply.outcome) {
            (ReplyId::Number(id), outcome) if self.is_ours(*id) => {
                self.attributed = false;
                match self.window.leave(*id, outcome.is_ok()) {
                    Some(flight) => self.settle(flight, reply.outcome),
                    None => self.stray(reply),
                }
            }
            (ReplyId::Absent, Err(_)) => self.handle_error_without_id(reply),
            _ => self.stray(reply),
        }
    }

    /// A guest agent answers the one command that it has begun to get, and without an id, as that had
    /// none.
    fn handle_reply_of_agent(&mut self, reply: Reply) {
        match (&reply.id, self.window.two_begun(self.wire.position())) {
            (ReplyId::Absent, [Some(id), _]) => {
                let success = reply.outcome.is_ok();
                if let Some(flight) = self.window.leave(id, success) {
                    self.settle(flight, reply.outcome);
                }
                if !success {
                    self.fall_out_of_step();
                }
            }
            _ => self.stray(reply),
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
                outcome => outcome.map_err(ExecuteError::Command),
            };
            self.outputs.push_back(Output::Reply(CommandId(flight.id), outcome));
        }
        self.close_if_drained();
    }

    fn stray(&mut self, reply: Reply) {
        self.strays += 1;
        let id = match reply.id {
            ReplyId::Absent => None,
            ReplyId::Number(number) => Some(Raw::from_number(number)),
            ReplyId::Other(id) => Some(id),
        };
        self.outputs.push_back(Output::Stray(Stray { id, outcome: reply.outcome }));
    }

    fn handle_event(&mut self, event: Event) {
        if self.quit_sent() && event.name() == "SHUTDOWN" {
            self.shutting_down = true;
        }
        self.outputs.push_back(Output::Event(event));
    }
}
