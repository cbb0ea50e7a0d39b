//! C23: QEMU's guest agent, real ones and scripted ones.

use qmp_tests::agent::Agent;
use qmp_tests::scripted::Peer;

use super::qmp::guest_commands::GuestSyncDelimited;
use super::qmp::{Builder, Client, Dialect, Error};
use super::{heard, patient, qmp};

mod commands;
mod exec;
mod exec_ends;
mod files;
mod no_reply;
mod sessions;
mod silence;
mod timeouts;
mod unasked;

/// A builder for agents, with time enough.
fn agents() -> Builder {
    patient().dialect(Dialect::GuestAgent)
}

async fn connect(agent: &Agent) -> Client {
    wait!(agents().connect(agent.address())).unwrap()
}

/// A command whose reply tells whose it is.
async fn echo(client: &Client, id: i64) -> Result<i64, Error> {
    wait!(client.execute(&GuestSyncDelimited { id }))
}

/// The next command has its own reply, whatever was before.
async fn is_in_step(client: &Client) {
    for id in [1, i64::MAX, -1] {
        assert_eq!(echo(client, id).await, Ok(id));
    }
}

/// What a scripted agent does first.
fn synchronise(peer: &mut Peer) {
    let number = sync_number(peer);
    peer.send("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n");
    peer.send(delimited(number));
}

/// An answer to `guest-sync-delimited`.
fn delimited(number: i64) -> Vec<u8> {
    [b"\xff{\"return\": ", number.to_string().as_bytes(), b"}\n"].concat()
}

/// Answers `guest-sync-delimited` up to the end, before which nothing else comes.
fn serve_echoes(peer: &mut Peer) {
    while let Some(command) = peer.try_command() {
        assert_eq!(command.name, "guest-sync-delimited");
        peer.send(delimited(command.arguments["id"].as_i64().unwrap()));
    }
}

/// Waits for the beginning of a session, and gives its number.
fn sync_number(peer: &mut Peer) -> i64 {
    let sync = peer.expect("guest-sync-delimited");
    assert_eq!(sync.before.last(), Some(&0xff), "{sync:?}");
    sync.arguments["id"].as_i64().expect("a number that fits")
}
