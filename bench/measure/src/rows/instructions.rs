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
const CLIENTS: [Client; 12] = [
    STD,
    STD_TYPED,
    SMOL_BARE,
    SMOL_BARE_OUTSIDE,
    ASYNC_STD_BARE,
    BLOCKING,
    SMOL,
    SMOL_OUTSIDE,
    ASYNC_STD,
    QAPI_SYNC,
    QAPI_TOKIO,
    QMP_TOKIO,
];

pub fn measure() -> io::Result<()> {
    let server = Server::scripted(Cpu::One)?;
    let mut counts = Vec::new();
    for client in CLIENTS {
        match count::instructions(client, "commands", &server.path(), COMMANDS) {
            Ok(Some(count)) => counts.push((client, count)),
            Ok(None) => {}
            Err(error) => left_out(client, &error),
        }
    }
    for (client, count) in &counts {
        let goal = if *client == BLOCKING { 6500.0 } else { 9000.0 };
        let result = Row::new(ROW, *client, *count, "Ir").goal(goal);
        match counts.iter().find(|(other, _)| *other == client.limit() && other != client) {
            Some((limit, least)) => result.beside(*limit, count / least).write(),
            None => result.write(),
        }
    }
    Ok(())
}
