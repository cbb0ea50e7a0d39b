//! How long a command takes where 64 are outstanding.

use std::io;

use super::start;
use crate::clients::*;
use crate::place::Cpu;
use crate::rounds::Rounds;
use crate::server::Server;
use crate::worker::Start;

const COMMANDS: usize = 6400;
const ROUNDS: usize = 21;
const CLIENTS: [Client; 11] = [
    STD,
    STD_TYPED,
    SMOL_BARE,
    ASYNC_STD_BARE,
    BLOCKING,
    SUBMITTED,
    SMOL,
    ASYNC_STD,
    QAPI_TOKIO,
    QMP_TOKIO,
    PYTHON,
];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let path = server.path();
    for (row, scenario, goal) in [
        ("64 outstanding", "outstanding", Some(2.5)),
        ("64 outstanding, window of 7", "window", None),
    ] {
        let workers = start(&CLIENTS, &Start::new(scenario, &path))?;
        let rounds = Rounds::run(workers, COMMANDS, ROUNDS)?;
        for result in rounds.rows(row, ("µs per command", 1e3), |_| STD) {
            let goal = goal.filter(|_| !result.is_of(SUBMITTED));
            result.ratio_goal(goal).write();
        }
    }
    Ok(())
}
