//! The client's machine does what a model does, whatever is done to it and in whatever order; and
//! with input that the model does not understand, what holds at any time holds all the same.

mod ledger;
pub mod model;
mod run;

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::Most;
pub use model::Kind;
use run::Run;

/// A connection, and what is done to it.
#[derive(Arbitrary, Clone, Debug)]
pub struct Program {
    pub choices: Choices,
    pub ops: Vec<Op>,
}

#[derive(Clone, Debug)]
pub struct Choices {
    /// It speaks to a guest agent.
    pub agent: bool,
    /// Out-of-band execution is asked for; a guest agent echoes ids.
    pub oob: bool,
    pub descriptors: bool,
    pub window: Option<u8>,
    /// Few and short commands may wait.
    pub short_queue: bool,
    /// How what the server sends is cut.
    pub chunk: Most,
}

impl Arbitrary<'_> for Choices {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        // One byte for both, so that inputs of before there were agents mean the same.
        let first: u8 = u.arbitrary()?;
        Ok(Self {
            agent: first >> 4 == 8,
            oob: first & 1 == 1,
            descriptors: u.arbitrary()?,
            window: u.arbitrary()?,
            short_queue: u.arbitrary()?,
            chunk: u.arbitrary()?,
        })
    }
}

/// One thing that an application, a transport or a server does. A byte chooses one of those there
/// are at that time.
///
/// With a guest agent, the greeting is the answer with which a session begins, and a command with a
/// descriptor may be one that has no reply.
#[derive(Arbitrary, Clone, Debug)]
pub enum Op {
    /// A command whose name has so many letters.
    Execute(Kind, u8),
    Cancel(u8),
    Transmit,
    Send(Most),
    /// The greeting comes, `qmp_capabilities` goes, its answer comes.
    Handshake,
    Greet,
    /// To the first `qmp_capabilities` that has no reply. Of a guest agent, an answer of before.
    Accept,
    /// Before there are commands, as `Accept`, or a refusal.
    Reply(u8, bool),
    Stray(Stray),
    ErrorWithoutId,
    Event,
    Shutdown,
    /// Any bytes. From here on the model is not followed.
    Input(Vec<u8>),
    Eof,
    Reset,
    Failure,
    Close,
    Abort,
}

/// A reply that is nobody's.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Stray {
    WithoutId,
    OfAnotherClient,
    ErrorOfAnotherClient,
    WithANumber,
    /// The second one to a command that has ended.
    Again,
    /// The id of the handshake, as a string.
    AlmostOurs,
}

pub fn check(data: &[u8]) {
    crate::with_program(data, play);
}

/// Plays a program, and the connection to its end after it.
pub fn play(program: &Program) {
    let mut run = Run::new(&program.choices);
    for op in &program.ops {
        run.step(op);
    }
    run.finish();
}
