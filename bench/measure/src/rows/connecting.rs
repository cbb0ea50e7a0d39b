//! Connecting and negotiating, and closing again.

use std::io;

use super::start;
use crate::clients::*;
use crate::place::Cpu;
use crate::rounds::Rounds;
use crate::server::Server;
use crate::worker::Start;

const CONNECTIONS: usize = 100;
const ROUNDS: usize = 31;
const CLIENTS: [Client; 10] = [
    STD,
    BLOCKING,
    SMOL_BARE,
    SMOL,
    ASYNC_STD_BARE,
    ASYNC_STD,
    QAPI_SYNC,
    QAPI_TOKIO,
    QMP_TOKIO,
    PYTHON,
];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let workers = start(&CLIENTS, &Start::new("connect", &server.path()))?;
    let rounds = Rounds::run(workers, CONNECTIONS, ROUNDS)?;
    for result in rounds.rows("connect and negotiate", ("µs", 1e3), |client| client.limit()) {
        result.ratio_goal(Some(1.10)).write();
    }
    Ok(())
}
