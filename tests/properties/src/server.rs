//! The server's machine answers every command once, in order and in time, whatever is done to it;
//! and what came in pieces is what came whole.

mod ledger;
mod run;

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::Most;
use run::Run;

#[derive(Arbitrary, Clone, Debug)]
pub struct Program {
    pub choices: Choices,
    pub ops: Vec<Op>,
}

/// What may be chosen about a server.
#[derive(Clone, Debug)]
pub struct Choices {
    pub offers_oob: bool,
    pub pretty: bool,
    pub concurrent: usize,
    pub queue: usize,
    pub max_output: usize,
}

impl Arbitrary<'_> for Choices {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(Self {
            offers_oob: u.arbitrary()?,
            pretty: u.arbitrary()?,
            concurrent: u.int_in_range(0..=3)?,
            queue: u.int_in_range(0..=9)?,
            max_output: if u.arbitrary()? { 1 << 20 } else { u.int_in_range(1..=400)? },
        })
    }
}

/// One thing that a client, a transport or the application does. A byte chooses one of those there
/// are at that time.
#[derive(Arbitrary, Clone, Debug)]
pub enum Op {
    /// `qmp_capabilities`, with out-of-band execution or without.
    Negotiate(bool),
    /// A command with some text among its arguments.
    Command {
        out_of_band: bool,
        form: Form,
        text: String,
    },
    /// Any bytes. From here on it is not known what the client asked for.
    Input(Vec<u8>),
    Descriptor,
    TakeDescriptor,
    Answer(u8, Outcome),
    /// To a command that was answered.
    AnswerAgain(u8),
    /// With data of some size, which is JSON or not.
    Event(u8, bool),
    Send(Most),
    Eof,
    Reset,
    Close,
}

/// How a command is written.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Form {
    Plain,
    Pretty,
    SingleQuotes,
}

/// What the application answers.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Return,
    Error,
    /// It cannot be written.
    NotJson,
}

pub fn check(data: &[u8]) {
    crate::with_program(data, play);
}

/// Plays a program with the client's bytes whole and in pieces, each time to the connection's end.
pub fn play(program: &Program) {
    let [whole, bytes, pieces] =
        [usize::MAX, 1, 7].map(|chunk| Run::play(&program.choices, chunk, &program.ops));
    assert_eq!(bytes, whole, "byte by byte");
    assert_eq!(pieces, whole, "in pieces");
}
