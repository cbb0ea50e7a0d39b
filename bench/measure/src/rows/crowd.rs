//! A thousand connections at once, each of which executes commands that an event follows.

use std::io;

use super::start;
use crate::clients::*;
use crate::place::Cpu;
use crate::rounds::Rounds;
use crate::server::Server;
use crate::worker::Start;

const ROW: &str = "1,000 connections, a command and an event";
const TIMES: usize = 5;
const ROUNDS: usize = 11;
const CLIENTS: [Client; 7] =
    [SMOL_BARE, ASYNC_STD_BARE, SMOL, ASYNC_STD, QAPI_TOKIO, QMP_TOKIO, PYTHON];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let workers = start(&CLIENTS, &Start::new("crowd:1000", &server.path()))?;
    let rounds = Rounds::run(workers, TIMES, ROUNDS)?;
    for result in rounds.rows(ROW, ("µs", 1e3), limit) {
        result.ratio_goal(Some(1.25)).write();
    }
    Ok(())
}

/// Nobody makes a thousand threads of std's.
fn limit(client: Client) -> Client {
    match client.limit() {
        STD => SMOL_BARE,
        limit => limit,
    }
}
