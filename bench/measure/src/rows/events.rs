//! Events that come as fast as the server can send them, to one subscriber.

use std::io;
use std::path::Path;

use super::{left_out, start};
use crate::clients::*;
use crate::count;
use crate::place::Cpu;
use crate::results::Row;
use crate::rounds::Rounds;
use crate::server::Server;
use crate::worker::Start;

const EVENTS: usize = 100_000;
const ROUNDS: usize = 11;
const CLIENTS: [Client; 11] = [
    STD,
    STD_TYPED,
    SMOL_BARE,
    ASYNC_STD_BARE,
    BLOCKING,
    SMOL,
    ASYNC_STD,
    QAPI_SYNC,
    QAPI_TOKIO,
    QMP_TOKIO,
    PYTHON,
];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let path = server.path();
    times(&path)?;
    for client in CLIENTS {
        if let Err(error) = counts(client, &path) {
            left_out(client, &error);
        }
    }
    Ok(())
}

fn times(path: &Path) -> io::Result<()> {
    let workers = start(&CLIENTS, &Start::new("events", path))?;
    let rounds = Rounds::run(workers, EVENTS, ROUNDS)?;
    for result in rounds.rows("events, each", ("ns", 1.0), |client| client.limit()) {
        result.goal(290.0).write();
    }
    Ok(())
}

fn counts(client: Client, path: &Path) -> io::Result<()> {
    if client != PYTHON {
        if let Some(value) = count::instructions(client, "events", path, EVENTS / 5)? {
            Row::new("events, instructions", client, value, "Ir").goal(2700.0).write();
        }
    }
    let events = client.share(EVENTS);
    let Some(mut worker) = Start::new("events", path).start(client)? else { return Ok(()) };
    let outcome = worker.work(events)?;
    let lost = (events - outcome.done) as f64;
    Row::new("events, lost of 100,000", client, lost, "events").goal(0.0).write();
    if client == PYTHON {
        return Ok(());
    }
    let memory = outcome.peak as f64 / 1e6;
    Row::new("events, peak of memory", client, memory, "MB").goal(4.0).write();
    let Some(mut worker) = Start::new("events", path).counted().start(client)? else {
        return Ok(());
    };
    worker.work(events)?;
    let allocations = worker.work(events)?.allocations as f64 / events as f64;
    Row::new("events, allocations", client, allocations, "each").goal(1.0).write();
    Ok(())
}
