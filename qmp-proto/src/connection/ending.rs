//! The end of a connection, and of its commands with it.

use crate::codec::framer::Framer;
use crate::connection::close::CloseReason;
use crate::connection::outbound::Sent;
use crate::connection::output::Output;
use crate::connection::phase::Trigger;
use crate::connection::{Connection, Side};
use crate::payload::command::CommandId;
use crate::payload::error::ExecuteError;
use crate::payload::no_reply::NoReply;
use crate::payload::raw::Raw;

impl<F> Connection<F> {
    /// After a reply: an orderly close may be complete.
    pub(super) fn close_if_drained(&mut self) {
        let drained = self.outbound.in_flight().is_empty();
        if drained && self.phase.after(Trigger::Drained).is_some() {
            self.end(CloseReason::Requested);
        }
    }

    /// The connection has ended: reports the end of each command, then that of the connection. The first reason
    /// stays.
    pub(super) fn end(&mut self, reason: CloseReason) {
        self.keep_evidence(&reason);
        if !self.enter(Trigger::Ended) {
            return;
        }
        self.end_in_flight(&reason);
        self.end_queued(&reason);
        self.outbound.clear_send_buffer();
        self.framer = Framer::new(0, 0);
        self.close_reason = Some(reason.clone());
        self.outputs.push_back(Output::Closed(reason));
    }

    /// Part of a message is evidence after the end too, unless the reason describes the input.
    fn keep_evidence(&mut self, reason: &CloseReason) {
        let is_described = matches!(reason, CloseReason::NotQmp(_) | CloseReason::Violation(_));
        if let (Side::Monitor(monitor), false) = (&mut self.side, is_described) {
            monitor.evidence = monitor.evidence(self.phase, self.framer.unfinished());
        }
    }

    fn end_in_flight(&mut self, reason: &CloseReason) {
        let shut_down = match &self.side {
            Side::Monitor(monitor) => monitor.shutting_down && *reason == CloseReason::Quit,
            Side::Agent(_) => false,
        };
        // Half a reply may be half an error.
        let silent = reason.is_by_server() && !self.framer.mid_message();
        for command in self.outbound.clear_in_flight() {
            let outcome = match self.outbound.sent(&command) {
                Sent::Nothing => Err(ExecuteError::NotSent(reason.clone())),
                _ if command.quit && shut_down => Ok(Raw::from_static("{}")),
                Sent::All if command.no_reply && silent => Ok(NoReply::Closed.into()),
                _ => Err(ExecuteError::Unanswered(reason.clone())),
            };
            if !command.cancelled {
                self.outputs.push_back(Output::Reply(CommandId(command.id), outcome));
            }
        }
    }

    pub(super) fn end_queued(&mut self, reason: &CloseReason) {
        let not_sent =
            |id| Output::Reply(CommandId(id), Err(ExecuteError::NotSent(reason.clone())));
        self.outputs.extend(self.outbound.clear_queued().into_iter().map(not_sent));
    }
}
