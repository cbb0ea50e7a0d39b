//! What the tests share: a QEMU of one's own, and a server that says what a script tells it.
//!
//! The tests are in `tests/tests`.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod agent;
pub mod calls;
pub mod crowd;
pub mod embedded;
pub mod example;
pub mod faulty_streams;
pub mod out_of_band;
pub mod python;
pub mod qemu;
pub mod readme;
pub mod screen;
pub mod scripted;
pub mod shell;
pub mod terminal;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme_compiles {}
