//! Replies too many.

use qmp_tests::scripted::{Command, Peer, pair};

use super::super::qmp::Request;
use super::super::qmp::guest_commands::GuestGetTime;
use super::super::runtime::tell;
use super::agents;

/// So much a thread reads at once, so the reply too many is there and unread when it has its own.
const SIZE: usize = 4 << 10;

/// The next command. Sessions begin before it as often as the client wants.
fn next(peer: &mut Peer, echoes: bool) -> Command {
    loop {
        let command = peer.command();
        if command.name != "guest-sync-delimited" {
            assert_eq!(command.id.is_null(), !echoes, "{command:?}");
            return command;
        }
        let number = command.arguments["id"].to_string();
        peer.send(b"\xff");
        match echoes {
            true => peer.reply(&command, &number),
            false => peer.send(format!("{{\"return\": {number}}}\n")),
        }
    }
}

/// A command's own reply, so many bytes long, and another one behind it.
fn answer_twice(peer: &mut Peer, command: &Command) {
    let envelope = command.success("\"\"").len();
    let own = command.success(&format!("\"{}\"", "x".repeat(SIZE - envelope)));
    peer.send([own, command.success("1")].concat());
}

#[test]
fn c23_a_reply_too_many_that_is_there_is_not_the_next_commands() {
    const ROUNDS: usize = 5;
    tell(async {
        for echoes in [false, true] {
            let (socket, script) = pair(move |peer| {
                for _ in 0..ROUNDS {
                    let long = next(peer, echoes);
                    answer_twice(peer, &long);
                    let time = next(peer, echoes);
                    assert_eq!(time.name, "guest-get-time");
                    peer.reply(&time, "2");
                }
                peer.expect_eof();
            });
            let client = wait!(agents().from_stream(socket)).unwrap();
            for _ in 0..ROUNDS {
                wait!(client.execute_request(Request::new("guest-long"))).unwrap();
                assert_eq!(wait!(client.execute(&GuestGetTime)), Ok(2), "ids: {echoes}");
            }
            drop(client);
            script.join();
        }
    });
}
