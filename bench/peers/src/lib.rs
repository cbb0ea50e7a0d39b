//! Other clients, as workers. Those for tokio run in one thread, which suits them best where there
//! is one CPU.
#![forbid(unsafe_code)]

mod qapi_sync;
mod qapi_tokio;
mod qmp_tokio;
mod tokio;

use bench_worker::Open;

/// All of them, by name.
pub const CLIENTS: &[(&str, Open)] = &[
    ("qapi-sync", qapi_sync::open),
    ("qapi-tokio", qapi_tokio::open),
    ("qmp-tokio", qmp_tokio::open),
];
