//! Capabilities negotiation: from the greeting to [`Output::Ready`].
//!
//! A QEMU that is just starting may greet twice, and a server may restart behind the stream. So each
//! greeting before `Ready` is answered by a `qmp_capabilities` of its own.

use alloc::vec::Vec;

use serde::Serialize;

use crate::codec::encode;
use crate::codec::message::{Greeting, Reply, ReplyId};
use crate::connection::Connection;
use crate::connection::close::{CloseReason, Violation};
use crate::connection::output::Output;
use crate::connection::phase::{Phase, Trigger};
use crate::payload::command::Request;

/// How many greetings may come before `Ready`. Real servers send two at most.
const MAX_GREETINGS: usize = 8;

/// The `qmp_capabilities` of a connection. Their ids count from the first one, and no command has
/// any of them.
#[derive(Debug)]
pub(crate) struct Negotiation {
    next_id: u64,
    sent: usize,
    /// Whether the first one enables out-of-band execution; the others ask for the same.
    oob: bool,
    /// The ids of those without a reply, in the order in which the server replies.
    owed: Vec<u64>,
}

impl Negotiation {
    pub(crate) fn new(first_id: u64) -> Self {
        Self { next_id: first_id, sent: 0, oob: false, owed: Vec::new() }
    }

    /// Whether some `qmp_capabilities` has had this id.
    pub(crate) fn is_ours(&self, id: u64) -> bool {
        (self.next_id - self.sent as u64..self.next_id).contains(&id)
    }

    /// Takes note of a reply. Tells whether it was owed.
    pub(crate) fn settle(&mut self, id: u64) -> bool {
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
        self.phase == Phase::Negotiating && self.wire.is_empty()
    }

    /// QMP specification, section "Capabilities Negotiation".
    pub(crate) fn negotiate(&mut self, greeting: Greeting) {
        let Some(phase) = self.phase.after(Trigger::Greeted) else {
            return self.violation(Violation::SecondGreeting);
        };
        if self.negotiation.sent == MAX_GREETINGS {
            return self.violation(Violation::TooManyGreetings { limit: MAX_GREETINGS });
        }
        self.phase = phase;
        if self.negotiation.sent == 0 {
            let offers_oob = greeting.capabilities.iter().any(|offered| offered == "oob");
            self.negotiation.oob = self.config.oob && offers_oob;
        }
        self.greeting = Some(greeting);
        self.send_capabilities();
    }

    fn send_capabilities(&mut self) {
        #[derive(Serialize)]
        struct Enable {
            enable: [&'static str; 1],
        }
        let id = self.negotiation.next_id;
        self.negotiation.next_id += 1;
        self.negotiation.sent += 1;
        self.negotiation.owed.push(id);
        let enable = self.negotiation.oob.then_some(Enable { enable: ["oob"] });
        let request = Request::<_, F>::new("qmp_capabilities").arguments(enable);
        // Encoding these arguments cannot fail.
        let _ = encode::append(self.wire.text(), &request);
        encode::finish(self.wire.text(), Some(id), false);
    }

    /// Replies come in the order of the commands: the first success is enough, and a refusal counts if
    /// no later `qmp_capabilities` may still succeed.
    pub(crate) fn handle_reply_to_negotiation(&mut self, reply: Reply) {
        let id = match reply.id {
            ReplyId::Number(id) if self.negotiation.settle(id) => id,
            _ => return self.stray(reply),
        };
        match (reply.outcome, self.phase.after(Trigger::Accepted), self.greeting.clone()) {
            (Ok(_), Some(phase), Some(greeting)) => {
                self.phase = phase;
                self.evidence = None;
                if self.negotiation.oob {
                    self.window.enable_oob();
                }
                self.outputs.push_back(Output::Ready(Some(greeting)));
            }
            (Err(error), ..) if !self.negotiation.owes_later_than(id) => {
                self.end(CloseReason::NegotiationRefused(error));
            }
            _ => {}
        }
    }
}
