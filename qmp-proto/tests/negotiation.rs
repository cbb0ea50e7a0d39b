//! From the first byte to `Ready`: C6 and C7 as far as they are about it, and C9.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::collections::BTreeSet;

use qmp_proto::{
    CloseReason, CommandError, Config, Connection, Evidence, IoFailure, NotQmp, Output, Phase,
    Refusal, Request,
};
use serde_json::json;

use support::peer::{
    ERROR_WITHOUT_ID, GREETING, Peer, Told, config, error, event, oob, success, tell,
};

const WITHOUT_OOB: &str = r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 10}, "package": ""}, "capabilities": ["later"]}}"#;

#[test]
fn c9_nothing_else_is_sent_before_ready() {
    let mut peer = Peer::new(Config::default());
    peer.execute("stop");
    peer.execute("quit");
    assert_eq!(peer.take_all(), "", "before the greeting");
    let (start, rest) = GREETING.split_at(GREETING.len() - 1);
    peer.feed(start);
    assert_eq!(peer.take_all(), "", "before its last byte");
    peer.feed(rest);
    let sent = peer.sent();
    assert_eq!((sent.len(), &*sent[0].name), (1, "qmp_capabilities"));
    peer.execute("cont");
    assert_eq!(peer.take_all(), "", "before the reply");
    peer.answer(sent[0].id);
    assert_eq!(peer.told(), [Told::Ready]);
    assert_eq!(peer.sent_names(), ["stop", "quit"]);
}

#[test]
fn c9_the_id_of_the_handshake_is_this_connections_alone() {
    let mut handshakes = BTreeSet::new();
    let far_apart = [u64::MAX, u64::MAX - 1, 1 << 12, 1 << 63, 0x5eed_0000_0000_0000];
    for nonce in (0..500).chain(far_apart) {
        let mut connection = <Connection>::new(Config::default(), nonce);
        connection.handle_input(GREETING.as_bytes());
        let sent = connection.transmit().unwrap().bytes.to_vec();
        let id =
            serde_json::from_slice::<serde_json::Value>(&sent).unwrap()["id"].as_u64().unwrap();
        assert!(id > 0 && id < 1 << 53, "{id} is exact as a double");
        handshakes.insert(id);
        // What was sent to others is answered before, so the ids of commands may be short.
        let first = connection.execute(Request::new("stop"), None).unwrap();
        assert_eq!(first.to_string(), "1");
        assert!(id > 1 << 50, "no command has {id}");
    }
    assert_eq!(handshakes.len(), 505);
}

#[test]
fn c9_events_before_the_reply_are_delivered() {
    let mut peer = Peer::new(Config::default());
    peer.feed([GREETING, &event("STOP"), &event("RESUME")].concat());
    peer.accept();
    peer.feed(event("RESET"));
    let event = |name: &str| Told::Event(name.to_owned());
    assert_eq!(peer.told(), [event("STOP"), event("RESUME"), Told::Ready, event("RESET")]);
}

#[test]
fn c6_what_a_previous_client_is_owed_is_not_the_reply() {
    let mut peer = Peer::new(Config::default());
    let first = peer.execute("stop");
    peer.greet();
    let handshake = peer.sent()[0].id;
    for stale in [
        "{\"return\": {}}".to_owned(),
        success("\"gone\""),
        success("{\"a\": [1, null]}"),
        success(1),
        success(first),
        success(format!("\"{handshake}\"")),
        success(format!("{handshake}.0")),
        success("inf"),
        error("null"),
        ERROR_WITHOUT_ID.to_owned(),
        ERROR_WITHOUT_ID.to_owned(),
    ] {
        peer.feed(&stale);
        assert_eq!(peer.told(), [Told::Stray], "{stale}");
        assert_eq!(peer.connection.phase(), Phase::Negotiating, "{stale}");
    }
    assert_eq!(peer.connection.strays(), 11);
    peer.answer(handshake);
    assert_eq!(peer.told(), [Told::Ready]);
    // It is a stray the second time.
    peer.answer(handshake);
    assert_eq!(peer.told(), [Told::Stray]);
    assert_eq!(peer.sent_names(), ["stop"]);
    peer.answer(first);
    assert_eq!(peer.told(), [Told::Return(first, "{}".to_owned())]);
}

#[test]
fn c6_a_stray_tells_its_id_and_what_it_says() {
    let mut peer = Peer::ready(Config::default());
    peer.feed(r#"{"return": [1], "id": {"a": 1}} {"return": 2} {"return": 3, "id": 17}"#);
    let mut strays = Vec::new();
    while let Some(Output::Stray(stray)) = peer.connection.poll_output() {
        let id = stray.id.map(|id| id.as_str().unwrap().to_owned());
        strays.push((id, stray.outcome.unwrap().as_str().unwrap().to_owned()));
    }
    let stray = |id: Option<&str>, payload: &str| (id.map(str::to_owned), payload.to_owned());
    assert_eq!(
        strays,
        [stray(Some("{\"a\": 1}"), "[1]"), stray(None, "2"), stray(Some("17"), "3")]
    );
}

#[test]
fn c9_a_refused_negotiation_ends_the_connection() {
    let mut peer = Peer::new(oob());
    let queued = peer.execute("stop");
    peer.greet();
    let handshake = peer.sent()[0].id;
    peer.refuse(handshake);
    let told = peer.told();
    let [Told::NotSent(id), Told::Closed(CloseReason::NegotiationRefused(error))] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!((*id, &*error.desc), (queued, "no"));
    assert!(!peer.connection.oob_enabled());
}

#[test]
fn c10_oob_is_off_by_default() {
    let mut peer = Peer::new(Config::default());
    peer.greet();
    let sent = peer.sent();
    assert!(sent[0].arguments.is_null(), "{sent:?}");
    peer.answer(sent[0].id);
    assert!(!peer.connection.oob_enabled());
    let refused = peer.connection.execute(Request::new("migrate-pause").out_of_band(), None);
    assert_eq!(refused, Err(Refusal::OobNotNegotiated));
}

#[test]
fn c10_oob_is_asked_for_where_it_is_offered() {
    for (greeting, offered) in [(GREETING, true), (WITHOUT_OOB, false)] {
        let mut peer = Peer::new(oob());
        let refused = Err(Refusal::OobNotNegotiated);
        let execute = |peer: &mut Peer| {
            peer.connection.execute(Request::new("migrate-pause").out_of_band(), None).map(|_| ())
        };
        assert_eq!(execute(&mut peer), refused, "before the greeting");
        peer.feed(greeting);
        assert_eq!(execute(&mut peer), refused, "before the reply");
        assert!(!peer.connection.oob_enabled(), "before the reply");
        let sent = peer.sent();
        let asked = if offered { json!({"enable": ["oob"]}) } else { json!(null) };
        assert_eq!(sent[0].arguments, asked);
        peer.answer(sent[0].id);
        assert_eq!(peer.connection.oob_enabled(), offered);
        assert_eq!(execute(&mut peer).is_ok(), offered);
    }
}

/// What a connection makes of bytes and then the end of the stream.
fn verdict(bytes: &[u8], chunk: usize) -> (CloseReason, usize) {
    let mut connection = <Connection>::new(Config::default(), 7);
    let mut used = 0;
    for chunk in bytes.chunks(chunk) {
        connection.handle_input(chunk);
        if connection.close_reason().is_some() {
            break;
        }
        used += chunk.len();
    }
    connection.handle_eof();
    let outputs: Vec<_> = std::iter::from_fn(|| connection.poll_output()).collect();
    let told: Vec<_> = outputs.iter().map(tell).collect();
    let reason = connection.close_reason().unwrap().clone();
    assert_eq!(told, [Told::Closed(reason.clone())]);
    (reason, used)
}

/// QEMU sends a previous client's reply to whoever is there, now and then before the greeting.
#[test]
fn c6_a_reply_before_the_greeting_is_a_stray() {
    let mut peer = Peer::new(Config::default());
    peer.feed(r#"{"return": {}, "id": "gone"}"#);
    peer.feed(r#"{"error": {"class": "GenericError", "desc": "gone"}}"#);
    assert_eq!(peer.told(), [Told::Stray, Told::Stray]);
    assert_eq!(peer.connection.phase(), Phase::Greeting);
    peer.feed(GREETING);
    assert_eq!(peer.connection.phase(), Phase::Negotiating);
}

/// A server may answer a previous client and end: what speaks there is QMP.
#[test]
fn c6_an_end_after_replies_and_events_alone_is_an_end() {
    for early in [r#"{"return": {}}"#.to_owned(), event("STOP")] {
        let mut peer = Peer::new(Config::default());
        peer.feed(early);
        peer.connection.handle_eof();
        let closed = Told::Closed(CloseReason::Eof { mid_message: false });
        assert_eq!(peer.told()[1..], [closed]);
    }
}

/// A part of a message too, unless the reason quotes it.
#[test]
fn c20_evidence_stays_after_an_end_before_ready() {
    for (said, kept) in
        [("{\"QMP\": {\"version\"", Some(18)), ("{", Some(1)), ("Q", None), ("", None)]
    {
        let mut peer = Peer::new(Config::default());
        peer.feed(said);
        let before = (!said.is_empty()).then_some(Evidence::Noise(said.len() as u64));
        assert_eq!(peer.connection.evidence(), before);
        peer.connection.handle_eof();
        assert_eq!(peer.connection.evidence(), kept.map(Evidence::Noise), "{said}");
    }
}

/// It may be the cause of an end before the connection is ready, and only of that.
#[test]
fn c20_an_error_stays_evidence_until_the_connection_is_ready() {
    let refused = r#"{"error": {"class": "GenericError", "desc": "too many"}}"#;
    let evidence = Some(Evidence::Error(CommandError::generic("too many").into()));
    let mut peer = Peer::new(Config::default());
    peer.feed([GREETING, refused].concat());
    assert_eq!(peer.connection.evidence(), evidence);
    peer.connection.handle_eof();
    assert_eq!(peer.connection.evidence(), evidence);
    let mut peer = Peer::new(Config::default());
    peer.feed([GREETING, refused].concat());
    peer.accept();
    assert_eq!(peer.connection.evidence(), None);
    peer.connection.handle_eof();
    assert_eq!(peer.connection.evidence(), None);
}

#[test]
fn c9_events_before_the_greeting_are_delivered() {
    let early = concat!(
        r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "VSERPORT_CHANGE", "#,
        r#""data": {"open": false, "id": "channel0"}}"#
    );
    let stop = Told::Event("STOP".to_owned());
    for chunk in [1, 7, usize::MAX] {
        let mut peer = Peer::new(Config::default());
        let text = [early, "\r\n", &event("STOP").repeat(1000), GREETING].concat();
        text.as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
        assert_eq!(peer.connection.phase(), Phase::Negotiating);
        peer.accept();
        let told = peer.told();
        let (first, rest) = told.split_first().unwrap();
        assert_eq!(*first, Told::Event("VSERPORT_CHANGE".to_owned()));
        assert_eq!(*rest, [vec![stop.clone(); 1000], vec![Told::Ready]].concat());
    }
}

fn unknown(said: &str) -> NotQmp {
    NotQmp::Unknown { said: said.into() }
}

#[test]
fn c7_what_talks_first_is_named_by_its_shortest_prefix() {
    use NotQmp::{Http, HumanMonitor, OtherJson, Ssh, Telnet, Vnc};
    for (bytes, speaker, deciding) in [
        (&b"QEMU 7.2.22 monitor - type 'help' for more information"[..], HumanMonitor, 5),
        (b"\r\n(qemu) ", HumanMonitor, 9),
        (b"(qemu) {\"QMP\": {}}", HumanMonitor, 7),
        (b"\xff\xfb\x01\xff\xfb\x03{\"QMP\": {}}", Telnet, 2),
        (b"\xff\xff\xfd{", Telnet, 3),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Ssh, 4),
        (b"HTTP/1.1 101 Switching Protocols\r\n", Http, 5),
        (b"RFB 003.008\n", Vnc, 4),
        (b"QMP", unknown("QMP"), 2),
        (b"QEMUX", unknown("QEMUX"), 5),
        (b"(qemu)\n", unknown("(qemu)"), 7),
        (b"[{\"QMP\": {}}]", unknown("[{"), 1),
        (b"\0", unknown("\\x00"), 1),
        (b"\xef\xbb\xbf{\"QMP\": {}}", unknown("\\xef\\xbb\\xbf{"), 1),
        (b" \xff\xf0{", unknown("\\xf0{"), 3),
        (b"char device redirected", unknown("char device redirected"), 1),
        (b"{\"event\": 7}\n", OtherJson, 12),
        (b"{\"jsonrpc\": \"2.0\"}", OtherJson, 18),
        (b"{\"QMP\": null}", OtherJson, 13),
        (b"{\"QMP\": []}", OtherJson, 11),
        (b"{}{}", OtherJson, 2),
    ] {
        let text = bytes.escape_ascii();
        for chunk in 1..=bytes.len() {
            let (reason, used) = verdict(bytes, chunk);
            match (&reason, &speaker) {
                // It is quoted as far as its words have come.
                (CloseReason::NotQmp(NotQmp::Unknown { said }), NotQmp::Unknown { said: all }) => {
                    assert!(!said.is_empty() && all.starts_with(&**said), "{said} of {all}");
                    assert!(chunk < bytes.len() || said == all, "{said} of {all}");
                }
                _ => assert_eq!(reason, CloseReason::NotQmp(speaker.clone()), "{text}, {chunk}"),
            }
            assert!(used < deciding, "{text} in chunks of {chunk}: after {used}");
        }
        assert_eq!(verdict(bytes, 1).1, deciding - 1, "{text}: decided too early");
    }
}

#[test]
fn c7_at_the_end_of_the_stream_what_came_decides() {
    let eof = |mid_message| CloseReason::Eof { mid_message };
    let unknown = |said| CloseReason::NotQmp(unknown(said));
    for (bytes, reason) in [
        (&b""[..], eof(false)),
        (b" \r\n", eof(false)),
        (b"\xff\xff", eof(false)),
        (b"QEM", unknown("QEM")),
        (b"\r\n(qemu)", unknown("(qemu)")),
        (b"{", eof(true)),
        (b" {\"QMP\": {\"vers", eof(true)),
        (GREETING.as_bytes(), eof(false)),
    ] {
        for chunk in [1, usize::MAX] {
            assert_eq!(verdict(bytes, chunk).0, reason, "{}", bytes.escape_ascii());
        }
    }
}

/// QEMU's standard output is the monitor's stream with `-qmp stdio`.
#[test]
fn c7_what_is_printed_before_it_is_ready_is_quoted() {
    let mut peer = Peer::new(Config::default());
    peer.greet();
    peer.feed("char device redirected to /dev/pts/3 (label serial0)\r\n");
    let line = "char device redirected to /dev/pts/3 (label serial0)";
    assert_eq!(peer.connection.close_reason(), Some(&CloseReason::NotQmp(unknown(line))));
}

/// A server that closes a socket with unread bytes resets it.
#[test]
fn c7_a_reset_is_an_end_of_the_stream_too() {
    let unknown = CloseReason::NotQmp(unknown("QEM"));
    let reset = CloseReason::Failed(IoFailure::Reset);
    for (said, reason) in [("QEM", unknown), (r#"{"return": {}}"#, reset)] {
        let mut peer = Peer::new(Config::default());
        peer.feed(said);
        peer.connection.handle_failure(IoFailure::Reset);
        assert_eq!(peer.connection.close_reason(), Some(&reason));
    }
}

#[test]
fn c17_a_failure_before_ready_ends_what_is_queued_as_not_sent() {
    for greeted in [false, true] {
        let mut peer = Peer::new(config(|config| config.descriptors = true));
        let first = peer.execute("stop");
        let second = peer.execute_fd("getfd", 1);
        if greeted {
            peer.greet();
            assert!(peer.take(5).is_some());
        }
        peer.connection.handle_failure(IoFailure::Reset);
        let closed = Told::Closed(CloseReason::Failed(IoFailure::Reset));
        assert_eq!(peer.told(), [Told::NotSent(first), Told::NotSent(second), closed]);
        assert!(peer.open().is_empty());
        assert_eq!(peer.take_all(), "");
    }
}
