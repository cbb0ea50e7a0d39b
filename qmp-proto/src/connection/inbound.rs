//! The way of received bytes: to messages, and to what each message does.

use crate::codec::message::{Message, Reply, ReplyId};
use crate::connection::close::{CloseReason, NotQmp, Violation};
use crate::connection::outbound::in_flight::Committed;
use crate::connection::output::{Output, Stray};
use crate::connection::phase::Phase;
use crate::connection::{Connection, Side};
use crate::payload::command::CommandId;
use crate::payload::error::{CommandError, ExecuteError};
use crate::payload::event::Event;
use crate::payload::no_reply::NoReply;
use crate::payload::raw::Raw;

impl<F> Connection<F> {
    /// Reads all of the input.
    pub(super) fn receive(&mut self, input: &[u8]) {
        match self.probe_answer_at(input) {
            None => self.receive_messages(input),
            Some(at) => {
                self.receive_messages(&input[..at]);
                self.receive_probe_answer(&input[at..]);
            }
        }
    }

    /// Reads messages until the bytes, or the connection, come to an end.
    fn receive_messages(&mut self, mut input: &[u8]) {
        if !self.framer.mid_message() {
            self.note_message_start();
        }
        while let Some(readable) = self.readable(input) {
            input = readable;
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
            self.note_message_start();
        }
    }

    /// The input from where messages begin; `None` if none is to be read.
    fn readable<'a>(&mut self, mut input: &'a [u8]) -> Option<&'a [u8]> {
        match (&mut self.side, self.phase) {
            (_, Phase::Closed) => None,
            (Side::Agent(_), _) => self.readable_of_agent(input),
            (Side::Monitor(monitor), Phase::Greeting) => match monitor.opening.read(&mut input) {
                Ok(()) => Some(input),
                Err(speaker) => {
                    self.end(CloseReason::NotQmp(speaker));
                    None
                }
            },
            (Side::Monitor(_), _) => Some(input),
        }
    }

    /// Each outcome is in the table of [`Phase`].
    fn handle_message(&mut self, message: Message) {
        match message {
            Message::Greeting(greeting) => self.negotiate(greeting),
            Message::Reply(reply) => match self.phase {
                // A previous client's, which QEMU sends to whoever is connected: even before the greeting.
                Phase::Greeting => self.report_unmatched(reply),
                Phase::Negotiating => self.handle_reply_to_negotiation(reply),
                _ if self.speaks_to_agent() => self.handle_reply_of_agent(reply),
                _ => self.handle_reply_of_monitor(reply),
            },
            // QEMU may send events before the greeting.
            Message::Event(event) => self.handle_event(event),
        }
    }

    /// The peer broke the protocol. Before the greeting, an object that is not a message means that the peer does not
    /// speak QMP.
    pub(super) fn violation(&mut self, violation: Violation) {
        let reason = match (self.phase, &violation) {
            (Phase::Greeting, Violation::Envelope { .. }) => CloseReason::NotQmp(NotQmp::OtherJson),
            _ => CloseReason::Violation(violation),
        };
        match self.speaks_to_agent() {
            true => self.drop_unreadable(reason),
            false => self.end(reason),
        }
    }

    /// A command ends with its reply.
    pub(super) fn settle(&mut self, command: Committed, outcome: Result<Raw, CommandError>) {
        if let (Side::Monitor(monitor), true, Err(_)) = (&mut self.side, command.quit, &outcome) {
            monitor.shutting_down = false;
        }
        if !command.cancelled {
            let outcome = match outcome {
                Ok(_) if command.no_reply => Ok(NoReply::Returned.into()),
                Ok(raw) => Ok(raw.with_max_values(self.config.most_values())),
                Err(error) => Err(ExecuteError::Command(error)),
            };
            self.outputs.push_back(Output::Reply(CommandId(command.id), outcome));
        }
        self.close_if_drained();
    }

    pub(super) fn report_unmatched(&mut self, reply: Reply) {
        self.unmatched += 1;
        if let Side::Monitor(monitor) = &mut self.side {
            monitor.note_unmatched(self.phase, &reply);
        }
        let id = match reply.id {
            ReplyId::Absent => None,
            ReplyId::Number(number) => Some(Raw::from_number(number)),
            ReplyId::Other(id) => Some(id),
        };
        let values = self.config.most_values();
        self.outputs.push_back(Output::Stray(Stray {
            id: id.map(|id| id.with_max_values(values)),
            outcome: reply.outcome.map(|raw| raw.with_max_values(values)),
        }));
    }

    fn handle_event(&mut self, event: Event) {
        if let Side::Monitor(monitor) = &mut self.side {
            monitor.note_event(self.phase, &event, self.outbound.quit_sent());
        }
        self.outputs.push_back(Output::Event(event.with_max_values(self.config.most_values())));
    }
}
