//! Our clients, and loops that do the least possible, as workers.
//!
//! `std`, `smol` and `async-std` are such loops over these sockets, `…-typed` the same with each reply
//! decoded. Those whose names end in `-task` and all other tasks' run as tasks of the runtime's
//! executor, as the parts of a program for tasks do; `…-outside` run in `block_on` of another thread.
#![forbid(unsafe_code)]

mod bare;
mod bare_tasks;
mod blocking;
mod runtime;
mod tasks;

use bench_worker::Open;

use crate::runtime::{AsyncStd, Place, Smol};

/// All of them, by name.
pub const CLIENTS: &[(&str, Open)] = &[
    ("std", |scenario, path| bare::open(scenario, path, bare::Extra::Nothing)),
    ("std-typed", |scenario, path| bare::open(scenario, path, bare::Extra::Decoding)),
    ("std-long-ids", |scenario, path| bare::open(scenario, path, bare::Extra::LongIds)),
    ("blocking", blocking::open),
    ("blocking-submitted", blocking::open_submitted),
    ("smol-bare", |scenario, path| bare_tasks::open::<Smol>(scenario, path, Place::Task)),
    ("smol-bare-outside", |scenario, path| {
        bare_tasks::open::<Smol>(scenario, path, Place::Outside)
    }),
    ("smol", |scenario, path| tasks::open::<Smol>(scenario, path, Place::Task)),
    ("smol-outside", |scenario, path| tasks::open::<Smol>(scenario, path, Place::Outside)),
    ("async-std-bare", |scenario, path| bare_tasks::open::<AsyncStd>(scenario, path, Place::Task)),
    ("async-std", |scenario, path| tasks::open::<AsyncStd>(scenario, path, Place::Task)),
    ("async-std-outside", |scenario, path| tasks::open::<AsyncStd>(scenario, path, Place::Outside)),
];
