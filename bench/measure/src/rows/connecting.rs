//! Connecting and negotiating, and closing again.

use std::io;

use super::start;
use crate::clients::*;
use crate::place::Cpu;
use crate::results::Row;
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
const BESIDE: [(Client, Client); 7] = [
    (BLOCKING, STD),
    (SMOL, SMOL_BARE),
    (ASYNC_STD, ASYNC_STD_BARE),
    (QAPI_SYNC, STD),
    (QAPI_TOKIO, STD),
    (QMP_TOKIO, STD),
    (PYTHON, STD),
];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let workers = start(&CLIENTS, &Start::new("connect", &server.path()))?;
    let rounds = Rounds::run(workers, CONNECTIONS, ROUNDS)?;
    for (client, time) in rounds.medians() {
        let mut result = Row::new("connect and negotiate", client, time / 1000.0, "µs");
        if let Some((_, limit)) = BESIDE.iter().find(|(who, _)| *who == client) {
            if let Some(ratio) = rounds.ratio(client, *limit) {
                result = result.beside(*limit, ratio);
            }
        }
        result.ratio_goal(1.10).write();
    }
    Ok(())
}
