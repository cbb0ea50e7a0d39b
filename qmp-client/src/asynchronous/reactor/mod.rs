//! What needs async-io and async-process, at whose reactor smol and async-std are: all else in `asynchronous` does without.
//!
//! `builder` has the ways to a connection: `open` connects to an address, `listener` waits for QEMU to connect, and `spawn`
//! starts it. `socket` is their transport. `adapter` makes an adapter of a runtime.

mod builder;
mod open;
pub(crate) mod listener;
mod spawn;
mod socket;
mod adapter;
