//! What the plots show beside the table.

use std::io;
use std::path::Path;

use super::{left_out, start};
use crate::clients::*;
use crate::place::Cpu;
use crate::results::Point;
use crate::rounds::Rounds;
use crate::server::Server;
use crate::worker::Start;

/// Sizes of replies, in bytes.
const SIZES: [usize; 10] =
    [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];
const TYPED: [Client; 7] = [STD_TYPED, BLOCKING, SMOL, QAPI_SYNC, QAPI_TOKIO, QMP_TOKIO, PYTHON];
const LONE: [Client; 8] =
    [STD, BLOCKING, SMOL_BARE, SMOL, QAPI_SYNC, QAPI_TOKIO, QMP_TOKIO, PYTHON];
const COMMANDS: usize = 20_000;

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let path = server.path();
    throughput(&path)?;
    latency(&path)
}

/// Replies decoded into a string, by their size.
fn throughput(path: &Path) -> io::Result<()> {
    for size in SIZES {
        let begin = Start::new(format!("typed:{size}"), path);
        for client in TYPED {
            // Python's refuses a reply above 10 MiB.
            let Some(worker) = begin.start(client)? else { continue };
            let count = ((8 << 20) / size).clamp(1, 1000);
            match Rounds::run(vec![worker], count, 5) {
                Ok(rounds) => {
                    let Some(time) = rounds.time() else { continue };
                    let (x, y) = (size as f64, size as f64 / time * 1e3);
                    Point { plot: "throughput", series: client.what, x, y }.write();
                }
                Err(error) => left_out(client, &error),
            }
        }
    }
    Ok(())
}

/// How long each of many commands takes.
fn latency(path: &Path) -> io::Result<()> {
    for mut worker in start(&LONE, &Start::new("commands", path))? {
        let client = worker.client;
        worker.work(1000)?;
        let each = worker.work_each(client.share(COMMANDS))?.each;
        for (at, nanoseconds) in each.iter().enumerate() {
            let x = if at < 99 { at as f64 + 1.0 } else { 99.9 };
            let y = *nanoseconds as f64 / 1e3;
            Point { plot: "latency", series: client.what, x, y }.write();
        }
    }
    Ok(())
}
