//! The server's machine by itself: events, ends, answers, descriptors, ids.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::collections::BTreeMap;

use qmp_proto::commands::RunState;
use qmp_proto::{CommandError, Connection, ErrorClass, IoFailure, Raw};
use qmp_server::{CloseReason, Config, Machine, Output, Phase, RespondError};
use serde_json::Value;

use support::server::{
    NEGOTIATE, NEGOTIATE_OOB, Server, config, event, greeting, id_and_class, ready, ready_oob,
};

#[test]
fn events_go_out_as_they_are() {
    ready(
        r#"
        do event STOP
        <- {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}
        do event X {"a": {"b": [null, 1e3]}}
        <- {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "X", "data": {"a": {"b": [null, 1e3]}}}
        do close
        == closed
        do vain-event STOP
        "#,
    );
}

#[test]
fn an_event_whose_data_is_no_json_is_not_sent() {
    let mut server = Server::ready(Config::default(), NEGOTIATE);
    let data = Raw::from_static("{\"a\":");
    let event = qmp_proto::Event::new("X", Some(&data), support::server::AT);
    assert!(!server.connection.event(&event));
    assert_eq!(server.sent(), "");
}

#[test]
fn at_the_end_of_the_stream_what_came_is_answered() {
    ready(
        r#"
        -> {"execute": "a", "id": 1} {"execute": "b", "id": 2} {"id": 3} {"execute"
        == call a {}
        -- eof
        do return a {}
        <- {"return": {}, "id": 1}
        == call b {}
        do return b {}
        <- {"return": {}, "id": 2}
        <! 3 GenericError
        == closed: the client left in the middle of a command
        "#,
    );
    ready(
        r#"
        -- eof
        == closed: the client left
        -> {"execute": "a"}
        do vain-event STOP
        -- eof
        do close
        "#,
    );
}

/// Those that run at once are all answered, in any order.
#[test]
fn at_the_end_of_the_stream_what_runs_is_answered() {
    let config = config(|config| config.concurrent = 3);
    let mut server = Server::ready(config, NEGOTIATE);
    server.feed(r#"{"execute": "a", "id": 1} {"execute": "b", "id": 2} {"exec"#);
    server.connection.handle_eof();
    assert!(!server.connection.wants_input(), "nothing can come any more");
    assert_eq!(server.told(), ["call a {}", "call b {}"]);
    server.answer("b", "{}");
    assert_eq!(server.told(), [""; 0]);
    server.answer("a", "{}");
    assert_eq!(server.sent(), "{\"return\": {}, \"id\": 2}\r\n{\"return\": {}, \"id\": 1}\r\n");
    assert_eq!(server.told(), ["closed: the client left in the middle of a command"]);
}

/// As measured: with out-of-band execution the end is noticed at once, and nobody is answered.
#[test]
fn at_the_end_of_the_stream_with_oob_nobody_is_answered() {
    let mut server = Server::ready(Config::default(), NEGOTIATE_OOB);
    server.feed(r#"{"execute": "a", "id": 1} {"execute": "b", "id": 2}"#);
    assert_eq!(server.told(), ["call a {}"]);
    server.connection.handle_eof();
    assert_eq!(server.told(), ["closed: the client left"]);
    let ticket = server.call("a").ticket;
    assert_eq!(server.connection.respond(ticket, Ok(1)), Err(RespondError::NotOutstanding));
    assert_eq!(server.sent(), "");
}

#[test]
fn a_failure_ends_it_at_once() {
    let mut server = Server::ready(Config::default(), NEGOTIATE);
    server.feed(r#"{"execute": "a"} {"execute": "b"}"#);
    assert!(server.connection.event(&event("STOP", "")));
    server.connection.handle_failure(IoFailure::Reset);
    assert_eq!(server.connection.transmit(), None);
    assert_eq!(server.told(), ["call a {}", "closed: the client reset the connection"]);
    assert_eq!(server.connection.phase(), Phase::Closed);
    server.connection.close();
    let reason = CloseReason::Failed(IoFailure::Reset);
    assert_eq!(server.connection.close_reason(), Some(&reason));
    assert_eq!(server.told(), [""; 0]);
}

#[test]
fn close_sends_what_is_written_and_no_more() {
    let mut server = Server::ready(Config::default(), NEGOTIATE_OOB);
    server.feed(r#"{"execute": "quit", "id": 1} {"execute": "b", "id": 2}"#);
    assert_eq!(server.told(), ["call quit {}"]);
    server.answer("quit", "{}");
    assert_eq!(server.told(), ["call b {}"]);
    server.connection.close();
    assert_eq!(server.connection.phase(), Phase::Closing);
    assert_eq!(server.connection.close_reason(), None, "not yet");
    assert_eq!(server.told(), [""; 0]);
    server.feed(r#"{"execute": "c", "id": 3}"#);
    server.connection.handle_eof();
    assert!(!server.connection.wants_input());
    assert!(!server.connection.event(&event("STOP", "")));
    let ticket = server.call("b").ticket;
    assert_eq!(server.connection.respond(ticket, Ok(1)), Err(RespondError::NotOutstanding));
    assert_eq!(server.sent(), "{\"return\": {}, \"id\": 1}\r\n");
    assert_eq!(server.told(), ["closed"]);
    assert_eq!(server.connection.close_reason(), Some(&CloseReason::Requested));
}

/// The greeting is sent even so.
#[test]
fn close_before_anything_else() {
    let mut server = Server::new(Config::default());
    server.connection.close();
    assert_eq!(server.told(), [""; 0]);
    assert_eq!(server.sent(), greeting(&Config::default()));
    assert_eq!(server.told(), ["closed"]);
}

#[test]
fn a_call_is_answered_once() {
    let mut server = Server::ready(Config::default(), NEGOTIATE);
    server.feed(r#"{"execute": "a", "id": 1} {"execute": "a", "id": 1}"#);
    assert_eq!(server.told(), ["call a {}"]);
    let ticket = server.call("a").ticket;
    assert_eq!(server.connection.respond(ticket, Ok(1)), Ok(()));
    assert_eq!(server.told(), ["call a {}"]);
    let again = server.connection.respond::<()>(ticket, Err(CommandError::generic("no")));
    assert_eq!(again, Err(RespondError::NotOutstanding));
    assert_eq!(server.sent(), "{\"return\": 1, \"id\": 1}\r\n");
}

#[test]
fn what_cannot_be_written_is_an_error_to_the_client() {
    let unwritable = [(); 2].map(|()| BTreeMap::from([(vec![1], 1)]));
    let mut server = Server::ready(Config::default(), NEGOTIATE);
    server.feed(r#"{"execute": "a", "id": 1}"#);
    assert_eq!(server.told(), ["call a {}"]);
    let ticket = server.call("a").ticket;
    let written = server.connection.respond(ticket, Ok(unwritable));
    assert_eq!(written, Err(RespondError::NotSerializable));
    assert_eq!(id_and_class(&server.sent()), "1 GenericError");
    server.feed(r#"{"execute": "b", "id": 2}"#);
    assert_eq!(server.told(), ["call b {}"]);
    let ticket = server.call("b").ticket;
    let written = server.connection.respond(ticket, Ok(Raw::from_static("[1,")));
    assert_eq!(written, Err(RespondError::NotSerializable));
    assert_eq!(id_and_class(&server.sent()), "2 GenericError");
}

#[test]
fn there_is_one_place_for_a_descriptor() {
    let mut server = Server::ready(Config::default(), NEGOTIATE);
    let command = r#"{"execute": "getfd"}"#;
    server.connection.handle_descriptor(1);
    assert_eq!(server.connection.take_descriptor(), None, "its byte has not come");
    server.feed(command);
    // The next one stays with its byte, which is not read while the command runs.
    server.connection.handle_descriptor(2);
    server.feed(command);
    assert_eq!(server.connection.take_descriptor(), Some(1));
    assert_eq!(server.connection.take_descriptor(), None);
    assert_eq!(server.told(), ["call getfd {}"]);
    server.answer("getfd", "{}");
    assert_eq!(server.connection.take_descriptor(), Some(2));
    assert_eq!(server.told(), ["call getfd {}"]);
    server.answer("getfd", "{}");
    // With the same byte, with another one: the last one counts.
    for (first, rest) in [(0, 3), (1, 4), (19, 5)] {
        let (start, end) = command.split_at(first);
        server.connection.handle_descriptor(30);
        server.feed(start);
        server.connection.handle_descriptor(rest);
        server.feed(end);
        assert_eq!(server.connection.take_descriptor(), Some(rest));
        assert_eq!(server.told(), ["call getfd {}"]);
        server.answer("getfd", "{}");
    }
    // It outlasts commands that do not want it.
    server.connection.handle_descriptor(6);
    server.feed(r#"{"execute": "a"}"#);
    assert_eq!(server.told(), ["call a {}"]);
    server.answer("a", "{}");
    server.feed(r#"{"id": 1} {"execute": "getfd"}"#);
    assert_eq!(server.connection.take_descriptor(), Some(6));
}

#[test]
fn ids_come_back_by_value() {
    let ids = [
        "1",
        "0",
        "-1",
        "1.5",
        "1e30",
        "18446744073709551615",
        "9007199254740993",
        "null",
        "true",
        "false",
        "\"s\"",
        "\"\"",
        "\"a\\\"b\\\\c\\n\\u0001\"",
        "\"\\u00e9\\ud83c\\udf89é🎉\"",
        "[]",
        "{}",
        "[1,\"a\",null,{\"b\":[true]}]",
        "{\"a\":2,\"z\":{\"b\":[]}}",
    ];
    for pretty in [false, true] {
        let mut server = Server::ready(config(|config| config.pretty = pretty), NEGOTIATE);
        for id in ids {
            let expected: Value = serde_json::from_str(id).unwrap();
            for (json, name) in [(r#""execute": "a", "id""#, "return"), (r#""id""#, "error")] {
                server.feed(format!("{{{json}: {id}}}"));
                if !server.told().is_empty() {
                    server.answer("a", "{}");
                }
                let sent = server.sent();
                assert!(sent.is_ascii(), "{sent}");
                let sent: Value = serde_json::from_str(&sent).unwrap();
                assert!(sent.get(name).is_some(), "{sent}");
                assert_eq!(sent["id"], expected);
            }
        }
    }
}

#[test]
fn ids_may_be_missing_and_stand_twice() {
    ready_oob(
        r#"
        -> {"execute": "a"} {"execute": "b", "id": 1} {"execute": "c", "id": 1} {"execute": "d"}
        == call a {}
        -> {"exec-oob": "yank", "id": 1}
        == oob yank {}
        do return yank "y"
        <- {"return": "y", "id": 1}
        do return a "a"
        <- {"return": "a"}
        == call b {}
        do return b "b"
        <- {"return": "b", "id": 1}
        == call c {}
        do error c GenericError
        <- {"id": 1, "error": {"class": "GenericError", "desc": "no"}}
        == call d {}
        do error d GenericError
        <- {"error": {"class": "GenericError", "desc": "no"}}
        "#,
    );
}

#[test]
fn a_client_reads_what_is_written_over_many_lines() {
    use qmp_proto::{ExecuteError, Output as Told, Request};
    let mut server = Server::new(config(|config| config.pretty = true));
    let mut client = <Connection>::new(qmp_proto::Config::default(), 1);
    client.handle_input(server.sent().as_bytes());
    client.execute(Request::new("query-name"), None).unwrap();
    client.execute(Request::new("stop"), None).unwrap();
    let send = |client: &mut Connection, server: &mut Server| {
        while let Some(transmit) = client.transmit() {
            let length = transmit.bytes.len();
            server.feed(transmit.bytes);
            client.advance(length);
        }
    };
    send(&mut client, &mut server);
    client.handle_input(server.sent().as_bytes());
    send(&mut client, &mut server);
    assert_eq!(server.told(), ["ready", "call query-name {}"]);
    assert!(server.connection.event(&event("STOP", r#"{"a": {}}"#)));
    server.answer("query-name", r#"{"name": "\"{[", "empty": [{}, []]}"#);
    assert_eq!(server.told(), ["call stop {}"]);
    server.refuse("stop", CommandError::new(ErrorClass::DeviceNotFound, "é"));
    let sent = server.sent();
    assert!(sent.lines().count() > 20, "{sent}");
    client.handle_input(sent.as_bytes());
    let told: Vec<_> = std::iter::from_fn(|| client.poll_output()).collect();
    let [Told::Ready(_), Told::Event(event), Told::Reply(_, Ok(name)), Told::Reply(_, Err(stop))] =
        &told[..]
    else {
        panic!("{told:?}")
    };
    let value: Value = event.data().unwrap().parse().unwrap();
    assert_eq!(value, serde_json::json!({"a": {}}));
    let value: Value = name.parse().unwrap();
    assert_eq!(value, serde_json::json!({"name": "\"{[", "empty": [{}, []]}));
    let error = CommandError::new(ErrorClass::DeviceNotFound, "é");
    assert_eq!(*stop, ExecuteError::Command(error));
    assert_eq!(client.strays(), 0);
}

/// What a call is may be seen in a log; its arguments may not.
#[test]
fn c22_a_call_does_not_show_its_arguments() {
    let mut server = Server::ready(Config::default(), NEGOTIATE);
    server.feed(r#"{"execute": "set_password", "arguments": {"password": "s3cret"}}"#);
    let Some(Output::Call(call)) = server.connection.poll_output() else { panic!() };
    let shown = format!("{call:?} {:?}", server.connection);
    assert!(shown.contains("set_password") && !shown.contains("s3cret"), "{shown}");
}

/// Whatever the limit, a client that reads gets on.
#[test]
fn without_any_room_one_message_goes_out_after_the_other() {
    for max_output in [0, 1] {
        let mut server = Server::new(config(|config| config.max_output = max_output));
        assert!(!server.sent().is_empty(), "the greeting");
        server.feed(format!(r#"{NEGOTIATE} {{"execute": "a", "id": 1}} {{"execute": "b"}}"#));
        assert_eq!(server.told(), ["ready"], "the answer to the negotiation is not sent yet");
        assert_eq!(server.sent(), "{\"return\": {}}\r\n");
        assert_eq!(server.told(), ["call a {}"]);
        assert!(server.connection.event(&event("STOP", "")));
        assert!(!server.connection.event(&event("RESUME", "")));
        server.answer("a", "{}");
        assert_eq!(server.told(), [""; 0]);
        assert!(server.sent().ends_with("{\"return\": {}, \"id\": 1}\r\n"));
        assert_eq!(server.told(), ["call b {}"]);
    }
}

/// A client is told what is wrong with its arguments, not how the server's program is made.
#[test]
fn c22_a_machine_does_not_tell_its_types() {
    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code, reason = "it is decoded in vain")]
    struct Inner {
        number: u8,
    }
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "it is decoded in vain")]
    struct Arguments {
        inner: Inner,
    }
    let mut machine = Machine::<u32>::new();
    machine.on("a", |_, arguments| {
        arguments.parse::<Arguments>()?;
        Ok(qmp_proto::Empty {})
    });
    let mut server = Server::ready(machine.config(), NEGOTIATE);
    for (command, told) in [
        (r#"{"execute": "a"}"#, "missing field `inner`"),
        (r#"{"execute": "a", "arguments": {"inner": 1}}"#, "expected an object"),
        (
            r#"{"execute": "a", "arguments": {"inner": {"number": "x"}}}"#,
            "expected u8, found string",
        ),
        (r#"{"execute": "a", "arguments": {"b": 1}}"#, "in `b`"),
        (r#"{"execute": "stop", "arguments": {"b": 1}}"#, "in `b`"),
    ] {
        server.feed(command);
        server.told();
        let call = server.calls.pop().unwrap();
        machine.execute(&call, &mut server.connection, support::server::AT);
        let sent = server.sent();
        assert!(sent.contains(told), "{sent}");
        for name in ["Arguments", "Inner", "::", "struct"] {
            assert!(!sent.contains(name), "{sent}");
        }
    }
}

#[test]
fn a_machine_of_ones_own_commands() {
    let mut machine = Machine::<u32>::default();
    machine.on("give", |vm, _| {
        vm.event_later("GIVEN", Some(&7));
        vm.take_descriptor().ok_or_else(|| CommandError::generic("there is none"))
    });
    let mut server = Server::ready(machine.config(), NEGOTIATE);
    let mut run = |command: &str, descriptor: Option<u32>| {
        descriptor.into_iter().for_each(|number| server.connection.handle_descriptor(number));
        server.feed(command);
        server.told();
        let call = server.calls.pop().unwrap();
        machine.execute(&call, &mut server.connection, support::server::AT);
        (server.sent(), machine.status().clone(), machine.has_ended())
    };
    let (given, status, _) = run(r#"{"execute": "give"}"#, Some(3));
    let lines: Vec<&str> = given.lines().collect();
    assert_eq!(lines[0], r#"{"return": 3}"#);
    assert!(lines[1].ends_with(r#""event": "GIVEN", "data": 7}"#), "{given}");
    assert_eq!(status, RunState::Prelaunch);
    let (none, ..) = run(r#"{"execute": "give"}"#, None);
    assert!(none.contains("there is none"), "{none}");
    assert_eq!(run(r#"{"execute": "cont"}"#, None).1, RunState::Running);
    assert_eq!(run(r#"{"execute": "system_reset"}"#, None).1, RunState::Running);
    assert_eq!(run(r#"{"execute": "stop"}"#, None).1, RunState::Paused);
    assert_eq!(run(r#"{"execute": "system_reset"}"#, None).1, RunState::Prelaunch);
    let (_, _, ended) = run(r#"{"execute": "quit"}"#, None);
    assert!(ended);
    assert!(format!("{machine:?}").contains("give"), "{machine:?}");
}
