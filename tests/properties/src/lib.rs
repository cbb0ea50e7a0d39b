//! What has to hold whatever comes: each target takes any bytes, and panics where it does not hold.
//!
//! The fuzz targets under `fuzz` call these with what libFuzzer makes up, and `tests/corpus.rs` calls
//! them with all that is checked in there. What is about private parts stands beside them, in
//! `qmp-proto/src/codec/framer/properties.rs` and `qmp-proto/src/codec/message/properties.rs`.
#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};

pub mod address;
pub mod client;
pub mod decode;
pub mod framer;
pub mod message;
pub mod pair;
pub mod server;
pub mod trace;

/// The connection and its peer, played by hand, as in the tests of qmp-proto.
#[allow(dead_code, reason = "its tests use more of it")]
#[path = "../../../qmp-proto/tests/support/peer.rs"]
mod peer;

/// A guest agent, as in the tests of qmp-proto.
#[path = "../../../qmp-proto/tests/support/agent.rs"]
mod guest_agent;

/// Panics where something does not hold.
pub type Check = fn(&[u8]);

/// Every fuzz target by its name.
pub const TARGETS: [(&str, Check); 8] = [
    ("address", address::check),
    ("client", client::check),
    ("decode", decode::check),
    ("framer", framer::check),
    ("message", message::check),
    ("pair", pair::check),
    ("server", server::check),
    ("trace", trace::check),
];

/// Lets `play` have the program that these bytes stand for, and shows it where it fails: under
/// libFuzzer, which aborts before, it does not.
fn with_program<'a, P: Arbitrary<'a> + Debug>(data: &'a [u8], play: impl FnOnce(&P)) {
    struct Shown<P: Debug>(P);
    impl<P: Debug> Drop for Shown<P> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{:#?}", self.0);
            }
        }
    }
    if let Ok(program) = P::arbitrary_take_rest(Unstructured::new(data)) {
        play(&Shown(program).0);
    }
}

/// One of so many things, or `None` where there is none.
fn pick(choice: u8, count: usize) -> Option<usize> {
    usize::from(choice).checked_rem(count)
}

/// How many bytes one step of a transport moves: few as often as many, and everything.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Most {
    One,
    Few(u8),
    All,
}

impl Most {
    /// The number, which is never 0: a step that does nothing is no step.
    fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Few(count) => usize::from(count).max(1),
            Self::All => usize::MAX,
        }
    }
}
