//! What the core costs: instructions, by callgrind, and allocations, by an allocator that counts.
//!
//! The program `bench-core` runs everything and writes one JSON object a line:
//!
//! ```json
//! {"row": "core, small", "what": "ours", "value": 21.3, "unit": "Ir/byte", "goal": 25}
//! ```
//!
//! `row` is a line of the report; `what` is `ours`, `limit NAME` or `peer NAME`; `goal` is the most that
//! `ours` should be, and is there only where there is one.
//!
//! Everything that reads gets the same bytes in the same pieces, and is checked for the number of
//! messages that it finds. Setting up is not counted: only what runs inside [`counted`] is, and a
//! workload is run twice with different numbers of rounds, whose difference counts, so that what
//! happens once (a lazily bound symbol, an allocator's first pages) does not.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod callgrind;
pub mod command;
pub mod data;
pub mod limits;
pub mod ours;
#[cfg(feature = "peers")]
pub mod peer;
pub mod regression;
pub mod rows;
pub mod workload;

/// What takes bytes as a transport would bring them, and makes messages of them.
pub trait Reader {
    /// Takes a piece of the stream; gives how many messages ended in it. Each is given up at once,
    /// as by an application that has looked at it.
    fn read(&mut self, piece: &[u8]) -> usize;
}

/// Runs the part of a workload that counts. Callgrind is told this function's name.
#[inline(never)]
pub fn counted<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}
