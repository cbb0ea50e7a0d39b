//! Capabilities negotiation: from the greeting to [`Output::Ready`].
//!
//! A QEMU that is just starting may greet twice, and a server may restart behind the stream. So each
//! greeting before `Ready` is answered by a `qmp_capabilities` of its own.

use alloc::vec::Vec;

use serde::Serialize;

use crate::codec::message::{Greeting, Reply, ReplyId};
use crate::connection::close::{CloseReason, Violation};
use crate::connection::output::Output;
use crate::connection::phase::{Phase, Trigger};
use crate::connection::{Connection, Side};

/// How many greetings may come before `Ready`. Real servers send two at most.
const MAX_GREETINGS: usize = 8;

/// The `qmp_capabilities` of a connection. Their ids count from the first one, and no command has
/// any of them.
#[derive(Debug)]
pub(super) struct Negotiation {
    next_id: u64,
    sent: usize,
    /// Whether the first one enables out-of-band execution; the others ask for the same.
    oob: bool,
    /// The ids of those without a reply, in the order in which the server replies.
    owed: Vec<u64>,
}

impl Negotiation {
    pub(super) fn new(first_id: u64) -> Self {
        Self { next_id: first_id, sent: 0, oob: false, owed: Vec::new() }
    }

    /// The id of the `qmp_capabilities` that is sent now.
    fn next(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.sent += 1;
        self.owed.push(id);
        id
    }

    /// Whether some `qmp_capabilities` has had this id.
    pub(super) fn is_ours(&self, id: u64) -> bool {
        (self.next_id - self.sent as u64..self.next_id).contains(&id)
    }

    /// Takes note of a reply. Tells whether it was owed.
    pub(super) fn settle(&mut self, id: u64) -> bool {
        let owed = self.owed.len();
        self.owed.retain(|other| *other != id);
        self.owed.len() < owed
    }

    /// Whether a `qmp_capabilities` sent after this one has no reply yet.
    fn owes_later_than(&self, id: u64) -> bool {
        self.owed.iter().any(|other| *other > id)
    }
}

impl<F> Connection<F> {
    /// Whether the server has greeted, all of `qmp_capabilities` has been sent, and the reply has not
    /// come.
    ///
    /// A server that stays in this state for a second is busy, or hangs as QEMU may when a client
    /// connects while it starts. In the second case another connection to the same address, closed
    /// at once, wakes it.
    pub fn awaits_capabilities(&self) -> bool {
        self.phase == Phase::Negotiating && self.outbound.all_sent()
    }

    /// QMP specification, section "Capabilities Negotiation".
    pub(super) fn negotiate(&mut self, greeting: Greeting) {
        let Side::Monitor(monitor) = &mut self.side else {
            return self.violation(Violation::SecondGreeting);
        };
        if self.phase.after(Trigger::Greeted).is_none() {
            return self.violation(Violation::SecondGreeting);
        }
        let negotiation = &mut monitor.negotiation;
        if negotiation.sent == MAX_GREETINGS {
            return self.violation(Violation::TooManyGreetings { limit: MAX_GREETINGS });
        }
        if negotiation.sent == 0 {
            let offers_oob = greeting.capabilities.iter().any(|offered| offered == "oob");
            negotiation.oob = self.config.oob && offers_oob;
        }
        let (id, oob) = (negotiation.next(), negotiation.oob);
        monitor.greeting = Some(greeting);
        self.enter(Trigger::Greeted);
        self.send_capabilities(id, oob);
    }

    fn send_capabilities(&mut self, id: u64, oob: bool) {
        #[derive(Serialize)]
        struct Enable {
            enable: [&'static str; 1],
        }
        let enable = oob.then_some(Enable { enable: ["oob"] });
        self.outbound.commit_own(b"", "qmp_capabilities", enable, Some(id));
    }

    /// Replies come in the order of the commands: the first success is enough, and a refusal counts if
    /// no later `qmp_capabilities` may still succeed.
    pub(super) fn handle_reply_to_negotiation(&mut self, reply: Reply) {
        let Side::Monitor(monitor) = &mut self.side else { return };
        let negotiation = &mut monitor.negotiation;
        let id = match reply.id {
            ReplyId::Number(id) if negotiation.settle(id) => id,
            _ => return self.report_unmatched(reply),
        };
        match reply.outcome {
            Ok(_) => {
                if negotiation.oob {
                    self.outbound.enable_oob();
                }
                monitor.evidence = None;
                let greeting = monitor.greeting.clone();
                self.enter(Trigger::Accepted);
                self.outputs.push_back(Output::Ready(greeting));
            }
            Err(error) if !negotiation.owes_later_than(id) => {
                self.end(CloseReason::NegotiationRefused(error));
            }
            Err(_) => {}
        }
    }
}
