//! What a connection takes while nothing happens on it.

use std::io;

use super::left_out;
use crate::clients::*;
use crate::place::Cpu;
use crate::results::{Point, Row};
use crate::server::Server;
use crate::worker::Start;

/// How many more connections there are in each step: 1, 10, 100 and 1,000 in all.
const STEPS: [usize; 4] = [1, 9, 90, 900];
const CLIENTS: [Client; 8] =
    [SMOL, ASYNC_STD, BLOCKING, SMOL_BARE, ASYNC_STD_BARE, QAPI_SYNC, QAPI_TOKIO, QMP_TOKIO];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let path = server.path();
    let start = Start::new("idle", &path).counted();
    for client in CLIENTS {
        if let Err(error) = connect(client, &start) {
            left_out(client, &error);
        }
    }
    Ok(())
}

fn connect(client: Client, start: &Start<'_>) -> io::Result<()> {
    let Some(mut worker) = start.start(client)? else { return Ok(()) };
    // What the runtime takes at its first use is not a connection's.
    worker.work(1)?;
    let (mut connections, mut bytes, mut resident) = (0, 0, 0);
    for step in STEPS {
        let outcome = worker.work(step)?;
        bytes += outcome.kept;
        resident += outcome.peak;
        connections += step;
        let (x, y) = (connections as f64, bytes as f64 / 1e3);
        Point { plot: "memory", series: client.what, x, y }.write();
    }
    let kilobytes = bytes as f64 / connections as f64 / 1e3;
    let row = Row::new("heap of an idle connection, of 1,000", client, kilobytes, "KB");
    let resident = resident as f64 / connections as f64 / 1e3;
    Row::new("resident memory of an idle connection, of 1,000", client, resident, "KB").write();
    // A client for threads has a thread and its stack beside it, which is no heap.
    match client == BLOCKING {
        true => row.write(),
        false => row.goal(4.0).write(),
    }
    Ok(())
}
