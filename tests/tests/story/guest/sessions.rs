//! Where a session begins, whatever was before.

use std::fs::File;
use std::io::Write;

use qmp_tests::agent::{Agent, SerialAgent};
use qmp_tests::scripted::{Server, pair};

use super::super::qmp::guest_commands::{GuestGetTime, GuestPing};
use super::super::qmp::{Client, CloseReason, Error, ErrorClass, GuestProgram, IoFailure, Request};
use super::super::runtime::{self, finish, start, tell};
use super::{agents, connect, echo, is_in_step, qmp, serve_echoes, sync_number, synchronise};

/// What others leave behind; the agent's parser remembers it.
const LEFT: [&[u8]; 10] = [
    b"",
    br#"{"execute": "guest-ping"}"#,
    br#"{"execute": "guest-pi"#,
    br#"{"execute": "guest-ping""#,
    br#"{"execute": "guest-exec", "arguments": {"path": "\"#,
    b"[[[[{{{{[",
    b"\xff\xff{",
    b"\"\xff\"",
    br#"{"execute": "guest-sync-delimited", "arguments": {"id": 123"#,
    b"GET / HTTP/1.1\r\n\r\n",
];

#[test]
fn c23_half_a_command_of_another_client_is_not_ours() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        for left in LEFT {
            agent.leave_behind(left);
            let client = connect(&agent).await;
            is_in_step(&client).await;
        }
    });
}

#[test]
fn c23_one_client_after_the_other() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        for _ in 0..20 {
            is_in_step(&connect(&agent).await).await;
        }
    });
}

#[test]
fn c23_an_agent_that_was_killed_and_started_again() {
    tell(async {
        let Some(mut agent) = Agent::start() else { return };
        for _ in 0..3 {
            let client = connect(&agent).await;
            is_in_step(&client).await;
            agent.kill();
            let reason = wait!(client.closed());
            let expected =
                matches!(reason, CloseReason::Eof { .. } | CloseReason::Failed(IoFailure::Reset));
            assert!(expected, "{reason}");
            assert!(matches!(echo(&client, 1).await, Err(Error::Refused(_))));
            // It is waited for until it is back.
            let address = agent.address();
            let coming = start(async move { wait!(agents().connect(address)) });
            agent.restart();
            is_in_step(&finish(coming).await.unwrap()).await;
        }
    });
}

/// An agent at a socket dies of a client that leaves an answer unread.
#[test]
fn c23_an_agent_outlives_a_client_that_leaves_after_an_error() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        for _ in 0..20 {
            let client = connect(&agent).await;
            let error = wait!(client.execute_request(Request::new("nonsense"))).unwrap_err();
            assert!(matches!(error, Error::Command(_)), "{error}");
            drop(client);
        }
        is_in_step(&connect(&agent).await).await;
    });
}

/// Others write to a serial line too: the guest's kernel, say.
#[test]
fn c23_what_cannot_be_read_does_not_end_the_connection() {
    tell(async {
        let (socket, script) = pair(|peer| {
            synchronise(peer);
            peer.expect("guest-ping");
            peer.send("[  1.0] kernel: noise\n{\"return\": {}}\n");
            synchronise(peer);
            serve_echoes(peer);
        });
        let client = wait!(agents().from_stream(socket)).unwrap();
        let error = wait!(client.execute(&GuestPing)).unwrap_err();
        assert!(matches!(error, Error::Unanswered(CloseReason::Violation(_))), "{error}");
        is_in_step(&client).await;
        drop(client);
        script.join();
    });
}

#[test]
fn c23_what_comes_before_the_answer_is_dropped() {
    tell(async {
        let (socket, script) = pair(|peer| {
            // It comes before anything is asked.
            peer.send(b"login: \"\xff\"{[\x00\x1b[0m\r\n");
            let number = sync_number(peer);
            peer.send("{\"return\": {\"exited\": true, \"out-data\": \"aGVs");
            for stale in ["{\"return\": 5}", "{\"return\": {}}", "{\"return\": ", "{}", "[", "\""] {
                peer.send([b"\xff", stale.as_bytes(), b"\n"].concat());
            }
            peer.send(b"\xff{\"error\": {\"class\": \"GenericError\", \"desc\": \"\xff\"}}\n");
            peer.send(format!("{{\"return\": {number}}}\n{{\"return\": \"{{\\\""));
            for byte in [b"\xff{\"return\": ", number.to_string().as_bytes(), b" }\n"].concat() {
                peer.send([byte]);
            }
            let ping = peer.expect("guest-ping");
            peer.reply(&ping, "{}");
            peer.expect_eof();
        });
        let client = wait!(agents().from_stream(socket)).unwrap();
        wait!(client.execute(&GuestPing)).unwrap();
        drop(client);
        script.join();
    });
}

/// Agents of before QEMU 2.12 know no ids: they refuse a command that has one, and none is in replies.
#[test]
fn c23_an_old_agent_that_knows_no_ids() {
    const COMMANDS: i64 = 100;
    tell(async {
        let server = Server::unix(|peer| {
            synchronise(peer);
            for id in 0..=COMMANDS {
                let command = peer.expect("guest-get-time");
                assert!(command.id.is_null(), "{command:?}");
                if id % 3 > 0 {
                    peer.send(format!("{{\"return\": {id}}}\n"));
                } else {
                    peer.fail(&command, "GenericError", "it is late");
                    // There may be more errors than one.
                    synchronise(peer);
                }
            }
            peer.expect_eof();
        });
        let client = wait!(qmp::connect_guest_agent(server.address())).unwrap();
        for id in 0..=COMMANDS {
            match wait!(client.execute(&GuestGetTime)) {
                Err(Error::Command(error)) if id % 3 == 0 => {
                    assert_eq!(error.class, ErrorClass::GenericError);
                }
                other => assert_eq!(other, Ok(id)),
            }
        }
        drop(client);
        server.join();
    });
}

/// At a line, an agent does not see that others have left.
#[test]
fn c23_an_agent_at_a_serial_line() {
    tell(async {
        let Some(mut agent) = SerialAgent::new() else { return };
        agent.start();
        agent.line().write_all(LEFT[2]).unwrap();
        let client = over(agent.line(), agent.line()).await;
        is_in_step(&client).await;
        let noise = GuestProgram::new("head").args(["-c", "1000000", "/dev/urandom"]);
        assert_eq!(wait!(client.guest_exec(&noise)).unwrap().stdout.len(), 1_000_000);
        agent.kill();
        wait!(client.closed());
    });
}

/// What it was asked before is lost, and the line shows us our own words instead.
#[test]
fn c23_an_agent_at_a_serial_line_that_starts_late() {
    tell(async {
        let Some(mut agent) = SerialAgent::new() else { return };
        let coming = start(over(agent.line(), agent.line()));
        agent.wait_for_input();
        agent.start();
        let client = finish(coming).await;
        is_in_step(&client).await;
        // async-std's files, when they are dropped, wait for the end of what is being read.
        agent.kill();
        wait!(client.closed());
    });
}

async fn over(reader: File, writer: File) -> Client {
    let (reader, writer) = (runtime::stream(reader), runtime::stream(writer));
    wait!(agents().from_io(reader, writer)).unwrap()
}
