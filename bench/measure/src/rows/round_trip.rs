//! How long a command takes, one after the other.

use std::io;

use super::start;
use crate::clients::*;
use crate::place::{Cpu, cpus};
use crate::results::Row;
use crate::rounds::Rounds;
use crate::server::{Server, is_there};
use crate::worker::{Start, Worker};

const COMMANDS: usize = 300;
const ROUNDS: usize = 25;
const CLIENTS: [Client; 13] = [
    STD,
    STD_TYPED,
    BLOCKING,
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
/// The loop over sockets of the same kind.
const BESIDE: [(Client, Client); 9] = [
    (STD_TYPED, STD),
    (BLOCKING, STD),
    (SMOL, SMOL_BARE),
    (SMOL_OUTSIDE, SMOL_BARE_OUTSIDE),
    (ASYNC_STD, ASYNC_STD_BARE),
    (QAPI_SYNC, STD),
    (QAPI_TOKIO, STD),
    (QMP_TOKIO, STD),
    (PYTHON, STD),
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
    for (client, time) in rounds.medians() {
        let mut result = Row::new(row, client, time / 1000.0, "µs");
        if let Some((_, limit)) = BESIDE.iter().find(|(who, _)| *who == client) {
            if let Some(ratio) = rounds.ratio(client, *limit) {
                result = result.beside(*limit, ratio);
            }
        }
        if let Some(goal) = goal {
            result = result.ratio_goal(goal);
        }
        result.write();
    }
    Ok(())
}
