//! Instructions of a client for one command, while the server runs elsewhere.

use std::io;

use super::left_out;
use crate::clients::*;
use crate::count;
use crate::place::Cpu;
use crate::results::Row;
use crate::server::Server;

const ROW: &str = "round trip, client's instructions";
const COMMANDS: usize = 1000;
const CLIENTS: [(Client, f64); 12] = [
    (BLOCKING, 6500.0),
    (SMOL, 9000.0),
    (SMOL_OUTSIDE, 9000.0),
    (ASYNC_STD, 9000.0),
    (STD, 0.0),
    (STD_TYPED, 0.0),
    (SMOL_BARE, 0.0),
    (SMOL_BARE_OUTSIDE, 0.0),
    (ASYNC_STD_BARE, 0.0),
    (QAPI_SYNC, 0.0),
    (QAPI_TOKIO, 0.0),
    (QMP_TOKIO, 0.0),
];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    for (client, goal) in CLIENTS {
        match count::instructions(client, "commands", &server.path(), COMMANDS) {
            Ok(Some(value)) => Row::new(ROW, client, value, "Ir").goal(goal).write(),
            Ok(None) => {}
            Err(error) => left_out(client, &error),
        }
    }
    Ok(())
}
