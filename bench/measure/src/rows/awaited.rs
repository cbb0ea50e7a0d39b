//! Commands, one after the other, while another task, or a callback, waits for an event.

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

const COMMANDS: usize = 300;
const FOLLOWED: usize = 50;
const ROUNDS: usize = 25;
const COUNTED: usize = 1000;
const CLIENTS: [Client; 6] = [STD, SMOL_BARE, ASYNC_STD_BARE, BLOCKING, SMOL, ASYNC_STD];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let path = server.path();
    times("round trip, one CPU, an event awaited", "awaited", COMMANDS, None, &path)?;
    times("8 commands, and an event 0.2 ms later", "followed", FOLLOWED, Some(1.5), &path)?;
    for client in [BLOCKING, SMOL, ASYNC_STD] {
        match count::instructions(client, "awaited", &path, COUNTED) {
            Ok(Some(count)) => {
                Row::new("instructions, an event awaited", client, count, "Ir").write()
            }
            Ok(None) => {}
            Err(error) => left_out(client, &error),
        }
    }
    Ok(())
}

fn times(
    row: &str,
    scenario: &str,
    count: usize,
    goal: Option<f64>,
    path: &Path,
) -> io::Result<()> {
    let workers = start(&CLIENTS, &Start::new(scenario, path))?;
    let rounds = Rounds::run(workers, count, ROUNDS)?;
    for result in rounds.rows(row, ("µs", 1e3), |client| client.limit()) {
        result.ratio_goal(goal).write();
    }
    Ok(())
}
