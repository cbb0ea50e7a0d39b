//! The server's machine by itself: the greeting, the negotiation, and what is read and run when.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use qmp_proto::{Connection, Version};
use qmp_server::Config;
use serde_json::Value;

use support::server::{
    NEGOTIATE, NEGOTIATE_OOB, Server, after_greeting, config, event, greeting, id_and_class, ready,
    ready_oob,
};

/// What a recorded server was, by its greeting.
fn recorded(name: &str) -> (Config, Vec<u8>) {
    let bytes = support::recorded::capture(name).bytes;
    let mut client = <Connection>::new(qmp_proto::Config::default(), 1);
    client.handle_input(&bytes);
    let greeting = client.greeting().unwrap().clone();
    let config = config(|config| {
        config.version = greeting.version.unwrap();
        config.capabilities = greeting.capabilities;
        config.pretty = bytes.starts_with(b"{\r\n");
    });
    (config, bytes)
}

#[test]
fn the_greeting_is_that_of_qemu_to_the_byte() {
    let mut pretty = 0;
    for name in ["greeting-qemu7", "greeting-qsd7", "greeting-qemu7-pretty", "greeting-qsd7-pretty"]
    {
        let (config, bytes) = recorded(name);
        pretty += usize::from(config.pretty);
        let greeting = greeting(&config);
        let session = String::from_utf8(bytes).unwrap();
        assert_eq!(greeting, session[..greeting.len()], "{name}");
    }
    assert_eq!(pretty, 2);
}

#[test]
fn the_greeting_tells_what_is_offered() {
    let offered = |capabilities: &[&str]| {
        let capabilities = capabilities.iter().map(ToString::to_string).collect();
        let config = config(|config| {
            (config.version, config.capabilities) = (Version::new(9, 1, 0), capabilities);
        });
        let greeting: Value = serde_json::from_str(&greeting(&config)).unwrap();
        assert_eq!(greeting["QMP"]["version"]["qemu"]["major"], 9);
        greeting["QMP"]["capabilities"].to_string()
    };
    assert_eq!(offered(&[]), "[]");
    assert_eq!(offered(&["oob", "later"]), r#"["oob","later"]"#);
}

#[test]
fn before_the_negotiation_every_command_is_refused() {
    after_greeting(
        &Config::default(),
        r#"
        -> {"execute": "query-version", "id": 1}
        <! 1 CommandNotFound
        -> {"execute": "quit"}
        <! - CommandNotFound
        do vain-event STOP
        -> {"exec-oob": "qmp_capabilities", "id": 2}
        <! 2 GenericError
        -> {"execute": 1, "id": 3}{"id": 4}{"execute": "a", "arguments": [], "id": 5}
        <! 3 GenericError
        <! 4 GenericError
        <! 5 GenericError
        -> {"execute": "qmp_capabilities", "id": 6}
        <- {"return": {}, "id": 6}
        == ready
        do event STOP
        <- {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}
        "#,
    );
}

#[test]
fn what_is_to_be_enabled_must_be_offered() {
    after_greeting(
        &config(|config| config.capabilities = vec!["later".into()]),
        r#"
        -> {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 1}
        <! 1 GenericError
        -> {"execute": "qmp_capabilities", "arguments": {"enable": ["later", "oob"]}, "id": 2}
        <! 2 GenericError
        -> {"execute": "qmp_capabilities", "arguments": {"enable": "later"}, "id": 3}
        <! 3 GenericError
        -> {"execute": "qmp_capabilities", "arguments": {"enable": [1]}, "id": 4}
        <! 4 GenericError
        -> {"execute": "qmp_capabilities", "arguments": {"x": 1}, "id": 5}
        <! 5 GenericError
        -> {"execute": "qmp_capabilities", "arguments": null, "id": 6}
        <! 6 GenericError
        -> {"execute": "stop", "id": 7}
        <! 7 CommandNotFound
        -> {"execute": "qmp_capabilities", "arguments": {"enable": ["later"]}, "id": 8}
        <- {"return": {}, "id": 8}
        == ready
        -> {"execute": "stop", "id": 9}
        == call stop {}
        do return stop {}
        <- {"return": {}, "id": 9}
        "#,
    );
}

#[test]
fn there_is_one_negotiation() {
    ready_oob(
        r#"
        -> {"execute": "qmp_capabilities", "id": 1}
        <! 1 CommandNotFound
        -> {"exec-oob": "qmp_capabilities", "id": 2}
        <! 2 GenericError
        -> {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": "again"}
        <! "again" CommandNotFound
        -> {"execute": "qmp_capabilities", "arguments": {"a": 1}, "id": "\u001f"}
        <! "\u001f" GenericError
        -> {"execute": "qmp_capabilities", "arguments": {"enable": ["later"]}, "id": "unknown"}
        <! "unknown" GenericError
        -> {"exec-oob": "yank", "id": 3}
        == oob yank {}
        do return yank {}
        <- {"return": {}, "id": 3}
        "#,
    );
}

#[test]
fn a_command_is_told_and_answered() {
    ready(
        r#"
        -> {"execute": "stop"}
        == call stop {}
        do return stop {"a": [1, {"b": "x"}], "c": {}}
        <- {"return": {"a": [1, {"b": "x"}], "c": {}}}
        -> {"arguments": {"a": [1,2]}, "id": 1, "execute": "device_add"}
        == call device_add {"a":[1,2]}
        do error device_add DeviceNotFound
        <- {"id": 1, "error": {"class": "DeviceNotFound", "desc": "no"}}
        -> {"execute": "\u0073top", "id": 2}
        == call stop {}
        do error stop
        <- {"id": 2, "error": {"class": "", "desc": "no"}}
        "#,
    );
}

#[test]
fn what_is_no_command_is_refused_with_its_id() {
    ready(
        r#"
        -> {"execute": "a", "extra": 1, "id": 1}
        <! 1 GenericError
        -> {"execute": "a", "arguments": [], "id": 2}
        <! 2 GenericError
        -> {"execute": "a", "arguments": null, "id": 3}
        <! 3 GenericError
        -> {"execute": ["a"], "id": 4}
        <! 4 GenericError
        -> {"id": 5}
        <! 5 GenericError
        -> {"arguments": {}}
        <! - GenericError
        -> {}
        <! - GenericError
        -> {"exec-oob": "yank", "id": 6}
        <! 6 GenericError
        -> {"execute": "a", "exec-oob": "b", "id": 7}
        <! 7 GenericError
        ?? wants input
        "#,
    );
    ready_oob(
        r#"
        -> {"execute": "a", "exec-oob": "b", "id": 1}
        <! 1 GenericError
        -> {"exec-oob": 1, "id": 2}
        <! 2 GenericError
        "#,
    );
}

#[test]
fn without_oob_nothing_is_read_while_a_command_runs() {
    ready(
        r#"
        -> {"execute": "a", "id": 1}
        == call a {}
        ?? wants no input
        -> {"execute": "b", "id": 2} {"id": 3} {"execute": "c", "id": 4}
        ?? wants no input
        do return a {}
        <- {"return": {}, "id": 1}
        == call b {}
        ?? wants no input
        do return b {}
        <- {"return": {}, "id": 2}
        <! 3 GenericError
        == call c {}
        do return c {}
        <- {"return": {}, "id": 4}
        ?? wants input
        "#,
    );
}

#[test]
fn out_of_band_passes_those_that_wait() {
    ready_oob(
        r#"
        -> {"execute": "a", "id": 1} {"execute": "b", "id": 2} {"id": 3}
        == call a {}
        ?? wants input
        -> {"exec-oob": "yank", "id": 4} {"exec-oob": 5, "id": 5} {"execute": "c", "id": 6}
        == oob yank {}
        ?? wants no input
        do return yank {}
        <- {"return": {}, "id": 4}
        <! 5 GenericError
        ?? wants input
        do return a {}
        <- {"return": {}, "id": 1}
        == call b {}
        do return b {}
        <- {"return": {}, "id": 2}
        <! 3 GenericError
        == call c {}
        -> {"exec-oob": "yank", "id": 7}
        == oob yank {}
        do return c {}
        <- {"return": {}, "id": 6}
        do return yank {}
        <- {"return": {}, "id": 7}
        "#,
    );
}

/// As measured: with the ninth in flight, an out-of-band command waits too.
#[test]
fn eight_wait_beside_the_one_that_runs() {
    let mut server = Server::ready(Config::default(), NEGOTIATE_OOB);
    for at in 0..9 {
        assert!(server.connection.wants_input(), "before command {at}");
        server.feed(format!(r#"{{"execute": "c{at}", "id": {at}}}"#));
    }
    assert_eq!(server.told(), ["call c0 {}"]);
    assert!(!server.connection.wants_input());
    server.feed(r#"{"exec-oob": "yank", "id": "oob"} {"execute": "c9"}"#);
    assert_eq!(server.told(), [""; 0]);
    server.answer("c0", "{}");
    assert_eq!(server.told(), ["call c1 {}", "oob yank {}"]);
    assert!(!server.connection.wants_input());
    server.answer("yank", "{}");
    assert!(!server.connection.wants_input());
    server.answer("c1", "{}");
    assert!(server.connection.wants_input());
    assert_eq!(server.told(), ["call c2 {}"]);
}

#[test]
fn the_queue_has_the_length_that_is_asked_for() {
    for queue in [0, 1, 2, 20] {
        let mut server = Server::ready(config(|config| config.queue = queue), NEGOTIATE_OOB);
        let mut taken = 0;
        while server.connection.wants_input() {
            server.feed(r#"{"execute": "c"}"#);
            taken += 1;
        }
        assert_eq!(taken, queue.max(1) + 1);
    }
}

#[test]
fn as_many_are_told_at_once_as_is_asked_for() {
    for (concurrent, negotiate) in
        [(0, NEGOTIATE), (1, NEGOTIATE), (3, NEGOTIATE), (0, NEGOTIATE_OOB), (3, NEGOTIATE_OOB)]
    {
        let mut server = Server::ready(config(|config| config.concurrent = concurrent), negotiate);
        for at in 0..7 {
            server.feed(format!(r#"{{"execute": "c{at}", "id": {at}}}"#));
        }
        let at_once = concurrent.max(1);
        let calls = |range: std::ops::Range<usize>| -> Vec<_> {
            range.map(|at| format!("call c{at} {{}}")).collect()
        };
        assert_eq!(server.told(), calls(0..at_once));
        assert_eq!(server.connection.wants_input(), negotiate == NEGOTIATE_OOB);
        // Any of them may be the first to be answered.
        server.answer(&format!("c{}", at_once - 1), "1");
        let answer = format!("{{\"return\": 1, \"id\": {}}}\r\n", at_once - 1);
        assert_eq!(server.sent(), answer);
        assert_eq!(server.told(), calls(at_once..at_once + 1));
    }
}

#[test]
fn faults_are_answered_in_their_turn_and_without_an_id() {
    ready_oob(
        r#"
        -> {"execute": "a", "id": 1} {]\xff {"execute": "b", "id": 2}
        == call a {}
        do return a {}
        <- {"return": {}, "id": 1}
        <! - GenericError
        <! - GenericError
        == call b {}
        do return b {}
        <- {"return": {}, "id": 2}
        "#,
    );
}

/// Where the string goes on, it takes the object behind the byte for a part of it, and nothing is
/// answered. Control characters and what no UTF-8 text has end it, behind a backslash too.
#[test]
fn which_bytes_stand_in_a_string() {
    for byte in 0..=u8::MAX {
        for before in [&b"'"[..], b"'\\"] {
            let closes = byte == b'\'' && before == b"'";
            let goes_on = (0x20..=0xFD).contains(&byte) && !closes;
            let mut server = Server::ready(Config::default(), NEGOTIATE);
            server.feed([before, &[byte], b"{}"].concat());
            assert_eq!(server.sent().is_empty(), goes_on, "{byte:#x} behind {before:?}");
        }
    }
}

/// A client that is told at once can stop, and what it goes on sending is not kept.
#[test]
fn c3_a_command_beyond_max_command_is_refused_once() {
    let config = config(|config| config.max_command = 80);
    let mut server = Server::ready(config, NEGOTIATE_OOB);
    let large = |length: usize| format!(r#"{{"execute": "a", "id": "{}"}}"#, "x".repeat(length));
    server.feed(large(50));
    assert_eq!(server.told(), ["call a {}"]);
    server.answer("a", "{}");
    server.sent();
    server.feed(large(100_000).trim_end_matches('}'));
    assert_eq!(id_and_class(&server.sent()), "- GenericError");
    server.feed("}");
    assert_eq!(server.sent(), "");
    server.feed(large(10));
    assert_eq!(server.told(), ["call a {}"]);
    // So many bytes wait, and those of the command that passed it.
    server.feed(large(50));
    assert!(server.connection.wants_input());
    server.feed(large(50));
    assert!(!server.connection.wants_input());
}

/// A client that does not read gets no more than `max_output` and what was on its way.
#[test]
fn who_does_not_read_is_sent_no_more() {
    let mut server = Server::ready(config(|config| config.max_output = 100), NEGOTIATE_OOB);
    server.feed(r#"{"execute": "a", "id": 1} {"execute": "b", "id": 2}"#);
    assert_eq!(server.told(), ["call a {}"]);
    assert!(server.connection.event(&event("STOP", "")));
    assert!(server.connection.event(&event("STOP", "")));
    assert!(!server.connection.event(&event("STOP", "")), "beyond max_output");
    assert!(!server.connection.wants_input());
    // What runs is answered all the same, but nothing else starts.
    server.answer("a", "{}");
    server.feed(r#"{"exec-oob": "yank"} {]"#);
    assert_eq!(server.told(), [""; 0]);
    let waiting = server.connection.transmit().unwrap().len();
    server.connection.advance(waiting - 100);
    assert_eq!(server.told(), [""; 0], "100 bytes wait");
    server.connection.advance(1);
    assert_eq!(server.told(), ["call b {}", "oob yank {}"]);
    assert!(server.connection.event(&event("RESUME", "")));
}
