//! What comes in: C1, C2, C3 and C5, by whole sessions and by their limits.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use qmp_proto::{CloseReason, Config, Violation};

use support::peer::{Peer, Told, config, event, success};
use support::trace::play;

#[test]
fn c1_a_session_is_the_same_however_it_is_cut() {
    play(
        r#"
        do execute query-status
        <- {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}\r\n
        -> {"execute": "qmp_capabilities", "id": $0}
        <- {"return": {}, "id": "gone"}\r\n{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\r\n
        == stray
        == event STOP
        <- {"return": {}, "id": $0}\r\n
        == ready
        -> {"execute": "query-status", "id": $1}
        do execute eject
        do execute stop
        -> {"execute": "eject", "id": $2}
        -> {"execute": "stop", "id": $3}
        do cancel $3
        <- {"id": $2, "error": {"class": "DeviceNotFound", "desc": "no \"a\" {"}}{"return":{"a":"}\\"},"id":$1}{"return":1,"id":$3}
        == error $2 no "a" {
        == reply $1 {"a":"}\\"}
        do execute quit
        -> {"execute": "quit", "id": $4}
        <- {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}\r\n
        == event SHUTDOWN
        -- reset
        == reply $4 {}
        == closed: closed after quit
        "#,
    );
}

#[test]
fn c10_an_out_of_band_session() {
    play(
        r#"
        <- {"QMP": {"capabilities": ["oob"]}}\n
        -> {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": $0}
        <- {"return": {}, "id": $0}\n
        == ready
        do execute migrate
        -> {"execute": "migrate", "id": $1}
        do oob migrate-pause
        -> {"exec-oob": "migrate-pause", "id": $2}
        do oob yank
        -> {"exec-oob": "yank", "id": $3}
        <- {"return": {}, "id": $3}{"return": {}, "id": $2}{"return": {}, "id": $1}
        == reply $3 {}
        == reply $2 {}
        == reply $1 {}
        do close
        == closed: closed on request
        "#,
    );
}

#[test]
fn c2_lines_mean_nothing() {
    play(
        r#"
        <- \xff{\r\n    "QMP": {\r\n        "capabilities": [\r\n        ]\r\n    }\r\n}\r\n
        -> {"execute": "qmp_capabilities", "id": $0}
        <- \xff\xff{"return":{},"id":$0}{"event":"A"}{"event":"B"} \n\n\xff {\n"event"\n:\n"C"\n}
        == ready
        == event A
        == event B
        == event C
        do execute a
        do execute b
        -> {"execute": "a", "id": $1}
        -> {"execute": "b", "id": $2}
        <- {"return":{\r\n    "list": [\r\n        {\r\n        }\r\n    ]\r\n},"id":\r\n$1\r\n}{"id":$2,"return":[]}
        == reply $1 {\r\n    "list": [\r\n        {\r\n        }\r\n    ]\r\n}
        == reply $2 []
        -- eof
        == closed: the server closed the connection
        "#,
    );
}

#[test]
fn c5_what_a_message_has_besides_does_not_matter() {
    play(
        r#"
        <- {"more": [1, {"QMP": 2}], "QMP": {"capabilities": ["later", "oob"], "new": {}}, "x": null}
        -> {"execute": "qmp_capabilities", "id": $0}
        <- {"id": 5, "new": "}", "return": {}, "id": $0}
        == ready
        do execute a
        do execute b
        -> {"execute": "a", "id": $1}
        -> {"execute": "b", "id": $2}
        <- {"event": "NEW_EVENT", "data": {"new": [nul]}, "timestamp": {"seconds": -1, "microseconds": -1}, "more": 1}
        == event NEW_EVENT
        <- {"error": {"class": "NewClass", "desc": "", "new": {"class": 1}}, "id": $1}
        == error $1
        <- {"return": nul], "id": $2}
        == unanswered $2
        == closed: mismatched bracket at byte 14 of a message
        "#,
    );
}

#[test]
fn c3_a_message_beyond_max_message_closes_and_names_the_limit() {
    for chunk in [1, 10, usize::MAX] {
        let mut peer = Peer::ready(config(|config| config.max_message = Some(400)));
        let fitting = format!("{{\"event\":\"{}\"}}", "A".repeat(400 - 12));
        assert_eq!(fitting.len(), 400);
        fitting.as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
        assert_eq!(peer.told().len(), 1);
        let larger = format!("{{\"event\":\"{}\"}}", "A".repeat(400 - 11));
        larger.as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
        let reason = CloseReason::Violation(Violation::TooLarge { limit: 400 });
        assert!(reason.to_string().contains("max_message (400 bytes)"), "{reason}");
        assert_eq!(peer.told(), [Told::Closed(reason)]);
    }
}

#[test]
fn c3_a_message_beyond_max_depth_closes_and_names_the_limit() {
    let nested = |levels: usize| {
        format!("{{\"event\":\"A\",\"data\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
    };
    for (max_depth, limit) in [(300, 300), (1024, 1024), (5000, 1024)] {
        let mut peer = Peer::ready(config(|config| config.max_depth = max_depth));
        peer.feed(nested(limit));
        assert_eq!(peer.told(), [Told::Event("A".to_owned())]);
        peer.feed(nested(limit + 1));
        let told = peer.told();
        let [Told::Closed(reason @ CloseReason::Violation(Violation::TooDeep { .. }))] = &told[..]
        else {
            panic!("{told:?}");
        };
        assert!(reason.to_string().contains(&format!("max_depth ({limit} levels)")), "{reason}");
    }
}

/// By the number of calls and their sizes: each byte of a large reply is handed over once, a few
/// at a time, in pieces that end in every kind of place.
#[test]
fn c3_a_large_reply_in_small_pieces_is_whole() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("human-monitor-command");
    peer.take_all();
    let payload = format!("\"{}\"", "0x00\\t\\\"\\\\ {[}] \\u00e9,: ".repeat(100_000));
    let text = format!("{{\"return\": {payload}, \"id\": {id}}}\r\n{}", event("STOP"));
    for chunk in support::random_chunks(text.as_bytes(), 3000, 5) {
        peer.feed(chunk);
    }
    let told = peer.told();
    assert!(told == [Told::Return(id, payload), Told::Event("STOP".to_owned())]);
}

#[test]
fn c5_what_is_no_message_closes() {
    for (text, reason) in [
        ("[]", "expected a JSON object, found the byte 0x5b"),
        ("null", "expected a JSON object, found the byte 0x6e"),
        ("\0", "expected a JSON object, found the byte 0x00"),
        ("}", "expected a JSON object, found the byte 0x7d"),
        ("{]", "mismatched bracket at byte 1 of a message"),
        ("{}", "unreadable message: expected one of the members QMP, return, error and event"),
        (
            "{\"id\": 1}",
            "unreadable message: expected one of the members QMP, return, error and event",
        ),
        ("{\"event\": 5}", "unreadable message: expected a string in \"event\""),
        (
            "{\"error\": 5}",
            "unreadable message: expected an object with class and desc in \"error\"",
        ),
    ] {
        let mut peer = Peer::ready(Config::default());
        let id = peer.execute("a");
        peer.take_all();
        peer.feed([text, &success(id)].concat());
        let told = peer.told();
        let [Told::Unanswered(_), Told::Closed(closed)] = &told[..] else {
            panic!("{text}: {told:?}");
        };
        assert_eq!(closed.to_string(), reason, "{text}");
    }
}

/// Where it is no text, it is an error all the same.
#[test]
fn c5_an_error_that_is_not_readable_throughout_fails_its_command_alone() {
    let nested = ["[".repeat(200), "]".repeat(200)].concat();
    let readable = r#""class": "GenericError", "desc": "no""#;
    for error in [
        r#"{"class": "GenericError", "desc": "\ud800"}"#,
        r#"{"class": "GenericError", "desc": "a \udc00 b"}"#,
        &format!(r#"{{{readable}, "new": inf}}"#),
        &format!(r#"{{"new": nan, {readable}, "newer": -inf}}"#),
        &format!(r#"{{{readable}, "new": "\ud800"}}"#),
        &format!(r#"{{{readable}, "\ud800": 1}}"#),
        &format!(r#"{{{readable}, "new": 1e400}}"#),
        &format!(r#"{{"new": {nested}, {readable}}}"#),
    ] {
        for chunk in [1, usize::MAX] {
            let mut peer = Peer::ready(Config::default());
            let ids = [peer.execute("a"), peer.execute("b")];
            peer.take_all();
            let text = format!("{{\"error\": {error}, \"id\": {}}}{}", ids[0], success(ids[1]));
            text.as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
            let told = peer.told();
            let [Told::Error(first, desc), Told::Return(second, _)] = &told[..] else {
                panic!("{error}: {told:?}");
            };
            assert_eq!([*first, *second], ids);
            assert_eq!(desc == "no", error.contains(readable), "{error}: {desc}");
        }
    }
}

#[test]
fn c5_members_whose_names_are_no_text_are_passed_over() {
    for name in [r"\ud800", r"\udc00", r"a\ud800b", r"\ud800\ud800"] {
        let member = format!(r#""{name}": {{"{name}": ["{name}"]}}"#);
        let mut peer = Peer::ready(Config::default());
        let ids = [peer.execute("a"), peer.execute("b")];
        peer.take_all();
        peer.feed(format!(
            r#"{{{member}, "event": "A", {member}}}
               {{"return": 1, {member}, "id": {}}}
               {{{member}, "error": {{"class": "GenericError", "desc": "no"}}, "id": {}}}"#,
            ids[0], ids[1]
        ));
        let told = [
            Told::Event("A".to_owned()),
            Told::Return(ids[0], "1".to_owned()),
            Told::Error(ids[1], "no".to_owned()),
        ];
        assert_eq!(peer.told(), told, "{name}");
    }
}
