//! Longer than an example: a page for each thing to build on this crate.
//!
//! - [`event_loop`]: the connection in a loop of your own, over a socket that never blocks.
//! - [`fuzzing`]: fuzzing what you do with what QEMU says, without a QEMU.
//! - [`memory`]: how much memory what comes can take, for each type that it is decoded to.
//!
//! How to use a client, and what is easily done wrong with one, is in `qmp_blocking::guide`.

#[doc = include_str!("event_loop.md")]
pub mod event_loop {}
#[doc = include_str!("fuzzing.md")]
pub mod fuzzing {}
#[doc = include_str!("memory.md")]
pub mod memory {}
