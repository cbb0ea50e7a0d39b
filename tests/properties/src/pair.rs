//! A client and a server, joined: whatever is done, and however the bytes between them are cut,
//! every command ends once and both sides agree on how. Where bytes are lost or damaged on the way
//! to the client, it ends cleanly all the same.

mod agent;
mod agreement;
mod pipe;
mod run;

use arbitrary::{Arbitrary, Result, Unstructured};

pub use crate::client::Kind;
use crate::{Most, pick};
pub use run::{Coverage, Run};

/// What may be chosen about a run.
#[derive(Clone, Debug)]
pub struct Choices {
    /// The server is a guest agent.
    pub agent: bool,
    pub oob: bool,
    pub pretty: bool,
    /// The server takes a descriptor when it is told of the command, and else when it answers.
    pub early_take: bool,
    pub window: Option<usize>,
    pub concurrent: usize,
    /// How many bytes fit into the pipe to the server and into the pipe to the client.
    pub capacities: [usize; 2],
    pub max_output: usize,
}

impl Arbitrary<'_> for Choices {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let capacity = |u: &mut Unstructured<'_>| {
            Ok(if u.arbitrary()? { usize::MAX } else { u.int_in_range(16..=400)? })
        };
        // One byte for both, so that inputs of before there were agents mean the same.
        let first: u8 = u.arbitrary()?;
        Ok(Self {
            agent: first >> 4 == 8,
            oob: first & 1 == 1,
            pretty: u.arbitrary()?,
            early_take: u.arbitrary()?,
            window: if u.arbitrary()? { Some(u.int_in_range(1..=8)?) } else { None },
            concurrent: u.int_in_range(1..=4)?,
            capacities: [capacity(u)?, capacity(u)?],
            max_output: if u.arbitrary()? { 1 << 20 } else { u.int_in_range(1..=400)? },
        })
    }
}

/// One thing that the application, the server or the transport between them does. A byte chooses
/// one of those there are at that time.
///
/// A guest agent is killed and started anew where another server sends an event. Where the stream is
/// half closed or cut, another client comes in the place of this one.
#[derive(Arbitrary, Clone, Debug)]
pub enum Op {
    /// A command with arguments of some size.
    Execute(Kind, u8),
    Cancel(u8),
    /// The server answers any of the calls that it has.
    Answer(u8, bool),
    Event(u8),
    /// At most so many bytes go into the pipe, or come out of it.
    ClientSends(Most),
    ServerReads(Most),
    ServerSends(Most),
    ClientReads(Most),
    /// Both pipes move until they are full or empty, and nobody else does anything.
    Settle,
    ClientCloses,
    ClientAborts,
    ServerCloses,
    /// The client's half of the stream ends behind what is in the pipe.
    HalfClose,
    /// All but so many of the bytes to the client are lost, and the stream ends.
    Cut(u8),
    /// Bits of a byte on its way to the client are flipped.
    Damage(u8, u8),
}

#[derive(Arbitrary, Clone, Debug)]
pub struct Program {
    pub choices: Choices,
    pub ops: Vec<Op>,
}

pub fn check(data: &[u8]) {
    crate::with_program(data, |program: &Program| {
        play(program.choices.clone(), &program.ops);
    });
}

/// Plays a program to its end, and the run to quiet after it.
pub fn play(choices: Choices, ops: &[Op]) -> Coverage {
    if choices.agent {
        return agent::play(&choices, ops);
    }
    let mut run = Run::new(choices);
    for op in ops {
        step(&mut run, op);
        run.after_each_step();
    }
    run.finish()
}

fn step(run: &mut Run, op: &Op) {
    let choose = |choice: u8| move |count| pick(choice, count).unwrap_or(0);
    match *op {
        Op::Execute(kind, size) => run.execute(kind, usize::from(size) / 2),
        Op::Cancel(choice) => run.cancel(choose(choice)),
        Op::Answer(choice, ok) => run.answer(choose(choice), ok),
        Op::Event(size) => run.event(usize::from(size)),
        Op::ClientSends(most) => drop(run.client_sends(most.bytes())),
        Op::ServerReads(most) => drop(run.server_reads(most.bytes())),
        Op::ServerSends(most) => drop(run.server_sends(most.bytes())),
        Op::ClientReads(most) => drop(run.client_reads(most.bytes())),
        Op::Settle => run.settle(),
        Op::ClientCloses => run.client_closes(),
        Op::ClientAborts => run.client_aborts(),
        Op::ServerCloses => run.server_closes(),
        Op::HalfClose => run.half_close(),
        Op::Cut(kept) => run.cut(usize::from(kept)),
        Op::Damage(choice, bits) => run.damage(choose(choice), bits),
    }
}
