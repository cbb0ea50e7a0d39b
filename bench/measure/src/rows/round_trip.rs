//! How long a command takes, one after the other.

use std::io;

use super::start;
use crate::clients::*;
use crate::place::{Cpu, cpus};
use crate::rounds::Rounds;
use crate::server::{Server, is_there};
use crate::worker::{Start, Worker};

const COMMANDS: usize = 300;
const ROUNDS: usize = 25;
const CLIENTS: [Client; 15] = [
    STD,
    STD_TYPED,
    STD_LONG_IDS,
    BLOCKING,
    SUBMITTED,
    SMOL_BARE,
    SMOL,
    SMOL_BARE_OUTSIDE,
    SMOL_OUTSIDE,
    ASYNC_STD_BARE,
    ASYNC_STD,
    QAPI_SYNC,
    QAPI_TOKIO,
    QMP_TOKIO,
    PYTHON,
];
pub fn measure() -> io::Result<()> {
    scripted("round trip, one CPU", Cpu::One, Some(1.10))?;
    if cpus() > 1 {
        scripted("round trip, across CPUs", Cpu::Other, None)?;
    }
    match is_there("qemu-storage-daemon") {
        true => storage_daemon("round trip, qemu-storage-daemon"),
        false => Ok(()),
    }
}

fn scripted(row: &str, server: Cpu, goal: Option<f64>) -> io::Result<()> {
    let server = Server::scripted(server)?;
    let workers = start(&CLIENTS, &Start::new("commands", &server.path()))?;
    compare(row, workers, goal)
}

fn storage_daemon(row: &str) -> io::Result<()> {
    let server = Server::storage_daemon(Cpu::One, CLIENTS.len())?;
    let mut workers = Vec::new();
    for (monitor, client) in CLIENTS.into_iter().enumerate() {
        let path = server.socket(monitor);
        workers.extend(Start::new("commands", &path).start(client)?);
    }
    compare(row, workers, Some(1.03))
}

fn compare(row: &str, workers: Vec<Worker>, goal: Option<f64>) -> io::Result<()> {
    let rounds = Rounds::run(workers, COMMANDS, ROUNDS)?;
    for result in rounds.rows(row, ("µs", 1e3), |client| client.limit()) {
        // Two threads more have a part in what is submitted, whichever client it is.
        let goal = goal.filter(|_| !result.is_of(SUBMITTED));
        result.ratio_goal(goal).write();
    }
    Ok(())
}
