//! A monitor's replies: by their ids, and errors without one.

use crate::codec::message::{Greeting, Reply, ReplyId};
use crate::connection::close::Violation;
use crate::connection::evidence::Evidence;
use crate::connection::negotiation::Negotiation;
use crate::connection::opening::Opening;
use crate::connection::phase::Phase;
use crate::connection::{Connection, Side};
use crate::payload::event::Event;

/// A connection's state if the peer is a monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) opening: Opening,
    pub(super) negotiation: Negotiation,
    pub(super) greeting: Option<Greeting>,
    /// What came before `Ready` in place of what was awaited.
    pub(super) evidence: Option<Evidence>,
    /// An error without an id was attributed: until the next reply of ours, no other is.
    attributed: bool,
    /// `SHUTDOWN` came after `quit` was sent.
    pub(super) shutting_down: bool,
}

impl Monitor {
    /// The first `qmp_capabilities` has this id.
    pub(super) fn new(handshake: u64) -> Self {
        Self {
            opening: Opening::default(),
            negotiation: Negotiation::new(handshake),
            greeting: None,
            evidence: None,
            attributed: false,
            shutting_down: false,
        }
    }

    /// In place of the greeting any reply is evidence, in place of that to `qmp_capabilities` an error is.
    pub(super) fn note_unmatched(&mut self, phase: Phase, reply: &Reply) {
        let is_evidence = match phase {
            Phase::Greeting => true,
            Phase::Negotiating => reply.outcome.is_err(),
            _ => false,
        };
        if is_evidence {
            Evidence::keep(&mut self.evidence, Evidence::of_reply(&reply.outcome));
        }
    }

    pub(super) fn note_event(&mut self, phase: Phase, event: &Event, quit_sent: bool) {
        if phase == Phase::Greeting {
            Evidence::keep(&mut self.evidence, Evidence::Event);
        }
        self.shutting_down |= quit_sent && event.name() == "SHUTDOWN";
    }

    /// The evidence, or else the bytes of which no message has come.
    pub(super) fn evidence(&self, phase: Phase, unfinished: usize) -> Option<Evidence> {
        let bytes = match phase {
            Phase::Greeting | Phase::Negotiating => (self.opening.undecided() + unfinished) as u64,
            _ => 0,
        };
        self.evidence.clone().or((bytes > 0).then_some(Evidence::Noise(bytes)))
    }
}

impl<F> Connection<F> {
    pub(super) fn handle_reply_of_monitor(&mut self, reply: Reply) {
        match (&reply.id, &reply.outcome) {
            (ReplyId::Number(id), outcome) if self.has_given(*id) => {
                let Side::Monitor(monitor) = &mut self.side else { return };
                monitor.attributed = false;
                if monitor.negotiation.settle(*id) {
                    // A `qmp_capabilities` that was sent again: another one has made us ready.
                    return;
                }
                match self.outbound.answered(*id, outcome.is_ok()) {
                    Some(command) => self.settle(command, reply.outcome),
                    None => self.report_unmatched(reply),
                }
            }
            (ReplyId::Absent, Err(_)) => self.handle_error_without_id(reply),
            _ => self.report_unmatched(reply),
        }
    }

    /// Whether this connection has given that id to a command or to a `qmp_capabilities`.
    fn has_given(&self, id: u64) -> bool {
        let Side::Monitor(monitor) = &self.side else { return false };
        self.outbound.has_given(id) || monitor.negotiation.is_ours(id)
    }

    /// The server could not read a command, so it does not know whose fault this is. One bad input
    /// may cause many such errors: only the first is taken for an answer. A command of which the
    /// server has received nothing cannot be meant.
    fn handle_error_without_id(&mut self, reply: Reply) {
        let begun = self.outbound.two_begun();
        let Side::Monitor(monitor) = &mut self.side else { return };
        match (reply.outcome, begun) {
            (outcome @ Err(_), [Some(id), None]) if !monitor.attributed => {
                monitor.attributed = true;
                if let Some(command) = self.outbound.answered(id, false) {
                    self.settle(command, outcome);
                }
            }
            (Err(error), [Some(_), Some(_)]) if !monitor.attributed => {
                self.violation(Violation::UnattributableError(error));
            }
            (outcome, _) => self.report_unmatched(Reply { id: ReplyId::Absent, outcome }),
        }
    }
}
