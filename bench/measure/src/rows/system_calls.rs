//! System calls of a client for one command.

use std::collections::BTreeMap;
use std::io;

use super::left_out;
use crate::clients::*;
use crate::count;
use crate::place::Cpu;
use crate::results::Row;
use crate::server::Server;

const COMMANDS: usize = 1280;
const CLIENTS: [Client; 11] = [
    BLOCKING,
    SMOL,
    ASYNC_STD,
    SMOL_OUTSIDE,
    STD,
    SMOL_BARE,
    ASYNC_STD_BARE,
    QAPI_SYNC,
    QAPI_TOKIO,
    QMP_TOKIO,
    PYTHON,
];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    for (row, scenario, goal) in [
        ("system calls, one after the other", "commands", None),
        ("system calls, 64 outstanding", "outstanding", Some(0.1)),
        ("system calls, 64 outstanding, window of 7", "window", Some(0.5)),
    ] {
        for client in CLIENTS {
            // Where many are outstanding, all is done in tasks anyway.
            if client == SMOL_OUTSIDE && goal.is_some() {
                continue;
            }
            let count = client.share(COMMANDS);
            match count::system_calls(client, scenario, &server.path(), count) {
                Ok(Some(calls)) => write(row, client, goal, &calls),
                Ok(None) => {}
                Err(error) => left_out(client, &error),
            }
        }
    }
    Ok(())
}

fn write(row: &str, client: Client, goal: Option<f64>, calls: &BTreeMap<String, f64>) {
    let parts: Vec<_> = calls.iter().map(|(name, calls)| format!("{name} {calls:.2}")).collect();
    let result = Row::new(row, client, calls.values().sum(), "per command");
    let result = match goal {
        Some(goal) => result.goal(goal),
        None => result,
    };
    result.note(parts.join(", ")).write();
}
