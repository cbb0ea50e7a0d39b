//! Faults of other clients, each reproduced against a scripted server: here they must not happen.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::time::Duration;

use qmp_blocking::commands::{QueryStatus, RunState};
use qmp_blocking::{
    Builder, Client, CloseReason, Command, ConnectError, Error, ErrorClass, EventLimits, Raw,
    connect, connect_with_events, from_stream,
};
use qmp_tests::scripted::{GREETING, PATIENCE, Peer, Script, Server, event_text, pair, run};
use serde::Serialize;

/// A client of a server that has greeted.
fn connected(script: impl FnOnce(&mut Peer) + Send + 'static) -> (Client, Script) {
    let (socket, script) = pair(|peer| {
        peer.greet();
        script(peer);
    });
    (from_stream(socket).unwrap(), script)
}

/// A server to which `stop` is nothing special, and which holds `slow` back until then.
fn late(peer: &mut Peer) {
    let slow = peer.expect("slow");
    let stop = peer.expect("stop");
    peer.reply(&slow, "\"the late one\"");
    peer.reply(&stop, "\"its own\"");
    peer.expect_eof();
}

// qapi-rs, async: the next execute after one that timed out panics, and can abort the process.
// qapi-rs, sync: the late reply of a command that timed out is handed to the next one.
#[test]
fn a_timeout_does_no_harm_to_the_next_command() {
    let (client, script) = connected(late);
    let timed_out = run(&client.with_timeout(Duration::from_millis(5)), "slow");
    assert_eq!(timed_out, Err(Error::TimedOut { sent: true }));
    assert_eq!(run(&client, "stop").unwrap().as_str(), Ok("\"its own\""));
    drop(client);
    script.join();
}

// qapi-rs: panics.
#[test]
fn the_end_of_the_stream_before_the_greeting_is_an_error() {
    let (socket, script) = pair(|_| {});
    let error = from_stream(socket).unwrap_err();
    let eof = CloseReason::Eof { mid_message: false };
    assert!(matches!(error, ConnectError::Ended { reason, .. } if reason == eof));
    script.join();
}

// qapi-rs: spawn_tokio discards all events.
#[test]
fn events_are_there_without_a_task_that_is_held_and_polled() {
    let server = Server::unix(|peer| {
        peer.greet();
        peer.event("STOP", "{}");
        peer.expect_eof();
    });
    let (client, mut events) = connect_with_events(server.address()).unwrap();
    assert_eq!(events.next_timeout(PATIENCE).unwrap().unwrap().name(), "STOP");
    drop(client);
    server.join();
}

// qapi-rs: an event, or the value of an enumeration, that is newer than its schema ends the stream.
#[test]
fn what_is_newer_than_us_is_data() {
    let (client, script) = connected(|peer| {
        let query = peer.expect("query-status");
        peer.event("FROM_THE_FUTURE", r#"{"with": ["anything"]}"#);
        peer.reply(&query, r#"{"status": "levitating", "running": true, "height": 7}"#);
        peer.expect_eof();
    });
    let mut events = client.events();
    let status = client.execute(&QueryStatus).unwrap();
    assert_eq!(status.status, RunState::Other("levitating".to_owned()));
    assert_eq!(events.next().unwrap().unwrap().name(), "FROM_THE_FUTURE");
    drop(client);
    script.join();
}

// qmp: dropping every client leaks the socket, and QEMU, which serves one client, locks out all.
#[test]
fn dropping_every_client_lets_the_next_one_in() {
    let server = Server::unix_listener(|listener| {
        for _ in 0..2 {
            let mut peer = listener.accept();
            peer.greet();
            peer.expect_eof();
        }
    });
    let client = connect(server.address()).unwrap();
    let clone = client.clone();
    let _events = client.events();
    drop((client, clone));
    drop(connect(server.address()).unwrap());
    server.join();
}

// qmp: `events().recv()` hangs for ever after a disconnect. qemu.qmp: iteration never ends at EOF.
#[test]
fn events_end_with_the_connection() {
    let (client, script) = connected(|peer| peer.event("LAST", "{}"));
    let names: Vec<_> = client.events().map(|event| event.unwrap().name().to_owned()).collect();
    assert!(names.is_empty() || names == ["LAST"], "{names:?}");
    assert!(client.events().next().is_none());
    script.join();
}

// qmp: an error without an id is ignored, and the caller waits out its timeout.
#[test]
fn an_error_without_an_id_answers_the_one_command_in_flight() {
    let (client, script) = connected(|peer| {
        peer.expect("stop");
        peer.send("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\r\n");
        assert_eq!(peer.serve(), ["cont"]);
    });
    let Err(Error::Command(error)) = run(&client, "stop") else { panic!("the server's error") };
    assert_eq!(&*error.desc, "JSON parse error");
    run(&client, "cont").unwrap();
    drop(client);
    script.join();
}

/// A command that returns something or nothing.
#[derive(Serialize)]
struct Maybe;

impl Command for Maybe {
    const NAME: &'static str = "maybe";
    type Return = Option<i64>;
}

// qmp: `"return": null` becomes an error.
#[test]
fn a_null_is_a_return_as_any_other() {
    let (client, script) = connected(|peer| {
        for value in ["null", "7", "null"] {
            let command = peer.command();
            peer.reply(&command, value);
        }
        peer.expect_eof();
    });
    assert_eq!(client.execute(&Maybe), Ok(None));
    assert_eq!(client.execute(&Maybe), Ok(Some(7)));
    assert_eq!(run(&client, "raw").unwrap().as_str(), Ok("null"));
    drop(client);
    script.join();
}

// qmp: connecting fails.
#[test]
fn an_event_before_the_capabilities_reply_is_an_event() {
    let server = Server::unix(|peer| {
        peer.say_hello();
        let negotiation = peer.expect("qmp_capabilities");
        peer.event("NIC_RX_FILTER_CHANGED", "{}");
        peer.reply(&negotiation, "{}");
        peer.expect_eof();
    });
    let (client, mut events) = connect_with_events(server.address()).unwrap();
    assert_eq!(events.next().unwrap().unwrap().name(), "NIC_RX_FILTER_CHANGED");
    drop(client);
    server.join();
}

// qemu.qmp: 5,000 events that nobody reads are kept for ever, twice.
// go-qemu: an event channel that nobody drains deadlocks `Run`.
#[test]
fn events_that_nobody_reads_are_bounded_and_stop_nothing() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        let stop = peer.expect("stop");
        peer.send(event_text("UNREAD", "{}").repeat(5_000));
        peer.reply(&stop, "{}");
        peer.expect_eof();
    });
    let limits = EventLimits { events: 10, ..EventLimits::default() };
    let client = Builder::new().event_limits(limits).from_stream(socket).unwrap();
    let unread = client.events();
    run(&client, "stop").unwrap();
    drop(client);
    script.join();
    assert_eq!(unread.count(), 11, "one of them tells how many are lost");
}

// qemu.qmp: any one of these ends the session.
#[test]
fn odd_messages_from_the_server_end_nothing() {
    let server = Server::unix(|peer| {
        peer.greet();
        peer.send(r#"{"error": {"class": "GenericError", "desc": "nobody's"}}"#);
        peer.send(r#"{"return": {}, "id": {"an": ["object"]}}"#);
        peer.send("{\r\n    \"event\": \"PRETTY\",\r\n    \"timestamp\": {\r\n    }\r\n}\r\n");
        let deep = peer.expect("deep");
        peer.reply(&deep, &("[".repeat(900) + &"]".repeat(900)));
        assert_eq!(peer.serve(), ["stop"]);
    });
    let (client, mut events) = connect_with_events(server.address()).unwrap();
    assert_eq!(events.next().unwrap().unwrap().name(), "PRETTY");
    assert_eq!(run(&client, "deep").unwrap().as_str().unwrap().len(), 1_800);
    run(&client, "stop").unwrap();
    drop(client);
    server.join();
}

// qemu.qmp: sends no newline, so a server that reads lines hangs.
#[test]
fn a_server_that_reads_lines_gets_lines() {
    let (socket, script) = pair(|peer| {
        peer.send(GREETING);
        for name in ["qmp_capabilities", "stop"] {
            let line = peer.line();
            assert!(line.contains(name), "{line}");
            let id = line.rsplit_once(':').unwrap().1;
            peer.send(format!("{{\"return\": {{}}, \"id\": {id}"));
        }
        assert_eq!(peer.rest(), b"");
    });
    let client = from_stream(socket).unwrap();
    run(&client, "stop").unwrap();
    drop(client);
    script.join();
}

// go-qemu: the bytes that are returned are the scanner's buffer, and change with the next message.
#[test]
fn what_was_returned_stays_as_it_was() {
    const REPLIES: usize = 50;
    let (client, script) = connected(|peer| {
        for number in 0..REPLIES {
            let command = peer.command();
            // Small ones and ones that are larger than any buffer.
            let text = number.to_string().repeat(if number % 2 == 0 { 3 } else { 50_000 });
            peer.reply(&command, &format!("\"{text}\""));
        }
        peer.expect_eof();
    });
    let replies: Vec<Raw> = (0..REPLIES).map(|_| run(&client, "next").unwrap()).collect();
    for (number, reply) in replies.iter().enumerate() {
        let text = number.to_string().repeat(if number % 2 == 0 { 3 } else { 50_000 });
        assert!(reply.as_str().unwrap()[1..].starts_with(&text), "{number}");
    }
    drop(client);
    script.join();
}

// go-qemu: an error whose desc is empty counts as a success.
#[test]
fn an_error_with_an_empty_description_is_an_error() {
    let (client, script) = connected(|peer| {
        for class in ["GenericError", "NewError"] {
            let command = peer.command();
            peer.fail(&command, class, "");
        }
        peer.expect_eof();
    });
    for class in [ErrorClass::GenericError, ErrorClass::Other("NewError".into())] {
        let Err(Error::Command(error)) = run(&client, "stop") else { panic!("the server's error") };
        assert_eq!((error.class, &*error.desc), (class, ""));
    }
    drop(client);
    script.join();
}
