//! A reply of 16 MiB: its time and the memory that it takes.

use std::io;
use std::path::Path;

use super::left_out;
use crate::clients::*;
use crate::place::Cpu;
use crate::results::Row;
use crate::rounds::Rounds;
use crate::server::Server;
use crate::worker::{Start, Worker};

const SIZE: usize = 16 << 20;
const ROUNDS: usize = 15;
const RAW: [Client; 6] = [STD, SMOL_BARE, ASYNC_STD_BARE, BLOCKING, SMOL, ASYNC_STD];
const TYPED: [Client; 8] =
    [STD_TYPED, BLOCKING, SMOL, ASYNC_STD, QAPI_SYNC, QAPI_TOKIO, QMP_TOKIO, PYTHON];
/// Twice the reply and 1 MiB.
const RAW_MEMORY: f64 = (2 * SIZE + (1 << 20)) as f64 / 1e6;

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let path = server.path();
    let raw = begin("raw", &RAW, &path, "16 MiB reply, raw, peak of memory", RAW_MEMORY)?;
    let rounds = Rounds::run(raw, 1, ROUNDS)?;
    for result in rounds.rows("16 MiB reply, raw", ("ms", 1e6), |_| STD) {
        result.ratio_goal(Some(1.3)).write();
    }
    let mut typed = begin("typed", &TYPED, &path, "16 MiB reply, typed, peak of memory", 66.0)?;
    // Beside the loop that does not decode.
    typed.extend(Start::new(format!("raw:{SIZE}"), &path).start(STD)?);
    let rounds = Rounds::run(typed, 1, ROUNDS)?;
    for result in rounds.rows("16 MiB reply, typed", ("ms", 1e6), |_| STD) {
        result.ratio_goal(Some(1.8)).write();
    }
    Ok(())
}

/// Starts them, and notes the memory of the first reply.
fn begin(
    decoding: &str,
    clients: &[Client],
    path: &Path,
    row: &str,
    goal: f64,
) -> io::Result<Vec<Worker>> {
    let scenario = format!("{decoding}:{SIZE}");
    let mut workers = Vec::new();
    for client in clients {
        let Some(mut worker) = Start::new(&scenario, path).start(*client)? else { continue };
        match worker.work(1) {
            Ok(outcome) => {
                let memory = outcome.peak as f64 / 1e6;
                if *client != PYTHON {
                    Row::new(row, *client, memory, "MB").goal(goal).write();
                }
                workers.push(worker);
            }
            Err(error) => left_out(*client, &error),
        }
    }
    Ok(workers)
}
