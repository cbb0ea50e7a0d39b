//! What becomes of payloads: C4 and C5, and where a `DecodeError` points (C22).
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;

use qmp_proto::commands::{QueryQmpSchema, QueryStatus, RunState};
use qmp_proto::events::{Shutdown, ShutdownCause, Stop};
use qmp_proto::{
    Command, Config, DecodeError, DecodeErrorKind, Dialect, Empty, Event, Output, Raw, Request,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use support::peer::{Peer, Told, config};

/// What comes of a `return` with this payload.
#[track_caller]
fn returned(payload: impl AsRef<[u8]>) -> Raw {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("query-block");
    peer.take_all();
    peer.feed(
        [b"{\"return\": ", payload.as_ref(), format!(", \"id\": {id}}}").as_bytes()].concat(),
    );
    match peer.connection.poll_output() {
        Some(Output::Reply(_, Ok(raw))) => raw,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn event(json: &str) -> Event {
    let mut peer = Peer::ready(Config::default());
    peer.feed(json);
    match peer.connection.poll_output() {
        Some(Output::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// `levels` arrays in one another.
fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

#[test]
fn c5_a_payload_that_is_no_json_fails_its_own_call_alone() {
    let mut peer = Peer::ready(Config::default());
    let (bad, good) = (peer.execute("a"), peer.execute("b"));
    peer.take_all();
    peer.feed(format!("{{\"return\": [1 nul \"\\q\"], \"id\": {bad}}}\n"));
    let Some(Output::Reply(id, Ok(raw))) = peer.connection.poll_output() else {
        panic!("no reply");
    };
    assert_eq!(id, bad);
    let error = raw.parse::<Value>().unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Syntax);
    assert_eq!(raw.as_str(), Ok("[1 nul \"\\q\"]"), "it can be looked at all the same");
    peer.answer(good);
    assert_eq!(peer.told(), [Told::Return(good, "{}".to_owned())]);
}

#[test]
fn c5_what_is_unknown_in_a_payload_is_data() {
    let raw = returned(r#"{"status": "later-status", "running": true, "later": {"a": []}}"#);
    let status = QueryStatus::decode(raw).unwrap();
    assert_eq!(status.status, RunState::Other("later-status".to_owned()));
    let shutdown =
        event(r#"{"event": "SHUTDOWN", "data": {"guest": false, "reason": "later", "more": 1}}"#);
    let shutdown = shutdown.parse_as::<Shutdown>().unwrap().unwrap();
    assert_eq!(shutdown.reason, ShutdownCause::Other("later".to_owned()));
}

#[test]
fn c5_null_is_a_value() {
    let raw = returned("null");
    assert_eq!(raw.as_str(), Ok("null"));
    raw.parse::<()>().unwrap();
    assert_eq!(raw.parse::<Option<Empty>>().unwrap(), None);
    assert_eq!(raw.parse::<Value>().unwrap(), Value::Null);
    assert_eq!(raw.parse::<Empty>().unwrap_err().kind(), DecodeErrorKind::Mismatch);
    let event = event(r#"{"event": "A", "data": null}"#);
    assert_eq!(event.data().unwrap().as_str(), Ok("null"));
}

#[test]
fn c5_an_event_decodes_as_its_own_type_alone() {
    let stop = event(r#"{"event": "STOP", "timestamp": {"seconds": 5, "microseconds": 6}}"#);
    assert_eq!(stop.parse_as::<Stop>(), Some(Ok(serde_json::from_str("{}").unwrap())));
    assert!(stop.parse_as::<Shutdown>().is_none());
    let bad = event(r#"{"event": "SHUTDOWN", "data": {"guest": 1}}"#);
    let error = bad.parse_as::<Shutdown>().unwrap().unwrap_err();
    assert_eq!(error.member(), "guest");
    let no_json = event(r#"{"event": "SHUTDOWN", "data": {"guest"}}"#);
    let error = no_json.parse_as::<Shutdown>().unwrap().unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Syntax);
    let absent = event(r#"{"event": "SHUTDOWN"}"#).parse_as::<Shutdown>().unwrap().unwrap_err();
    assert!(absent.to_string().contains("missing field `guest`"), "{absent}");
}

#[test]
fn c5_a_timestamp_of_minus_one_is_one() {
    let at = |json: &str| event(&format!(r#"{{"event": "A", "timestamp": {json}}}"#)).timestamp();
    let unset = at(r#"{"seconds": -1, "microseconds": -1}"#).unwrap();
    assert_eq!((unset.seconds, unset.microseconds), (-1, -1));
    let far = at(r#"{"seconds": 9223372036854775807, "microseconds": 999999, "zone": 0}"#).unwrap();
    assert_eq!(far.seconds, i64::MAX);
    assert_eq!(at(r#"{"seconds": 9223372036854775808, "microseconds": 0}"#), None);
    assert_eq!(at("null"), None);
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only decoding matters")]
struct Device {
    device: String,
    qdev: Option<Qdev>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only decoding matters")]
struct Qdev {
    #[serde(rename = "type")]
    kind: u8,
}

#[track_caller]
fn fault<T: for<'a> Deserialize<'a> + Debug>(payload: &str) -> DecodeError {
    returned(payload).parse::<T>().expect_err(payload)
}

#[test]
fn c22_the_member_and_the_place_are_told() {
    for (payload, member, offset) in [
        (r#"[{"device": "a"}, {"device": 5}]"#, "[1].device", 30),
        (r#"[{"device": "a", "qdev": {"type": "x"}}]"#, "[0].qdev.type", 37),
        ("[{\"device\": \"a\"},\n\n {\"device\": [5]}]", "[1].device", 32),
        (r#"[{"x": [1, {"device": 2}, [3]], "device": null}]"#, "[0].device", 46),
        (r#"[{"de\"vice, [{": 1, "device": 5}]"#, "[0].device", 32),
        (r#"{"device": "a"}"#, "", 0),
        (r#"[["a", 5]]"#, "[0][1]", 8),
        (r#"[{"device": "a"}, 5]"#, "[1]", 19),
    ] {
        let error = fault::<Vec<Device>>(payload);
        assert_eq!(error.kind(), DecodeErrorKind::Mismatch, "{payload}");
        assert_eq!(error.member(), member, "{payload}: {error}");
        let near = offset.max(1) - 1..=offset + 1;
        assert!(near.contains(&error.offset()), "{payload}: {error}");
        assert!(error.to_string().contains("Vec<payloads::Device>"), "{error}");
    }
}

#[test]
fn c22_a_member_that_is_missing_or_stands_twice_is_named() {
    let missing = fault::<Vec<Device>>(r#"[{"device": "a"}, {"qdev": null}]"#);
    assert!(missing.to_string().contains("missing field `device`"), "{missing}");
    assert!(missing.member().starts_with("[1]"), "{missing}");
    let twice = fault::<Vec<Device>>(r#"[{"device": "a", "device": "b"}]"#);
    assert!(twice.to_string().contains("duplicate field `device`"), "{twice}");
    assert_eq!(twice.member(), "[0].device");
}

#[test]
fn c5_syntax_is_told_by_its_place() {
    for (payload, offset) in
        [("[1 2]", 4), ("{\"a\" 1}", 6), ("[1,\n\n x]", 7), ("1 2", 3), ("[tru]", 5)]
    {
        let error = fault::<Value>(payload);
        assert_eq!((error.kind(), error.offset()), (DecodeErrorKind::Syntax, offset), "{payload}");
    }
    // No server can send this: it is a payload and something more.
    let error = Raw::from_static("1, 2").parse::<u8>().unwrap_err();
    assert_eq!((error.kind(), error.offset(), error.member()), (DecodeErrorKind::Syntax, 2, ""));
}

#[test]
fn c5_bytes_that_are_no_utf8_are_a_fault_of_the_payload() {
    let raw = returned(b"[\"a\xC3\x28\", 1]");
    let error = raw.as_str().unwrap_err();
    assert_eq!((error.kind(), error.offset()), (DecodeErrorKind::Syntax, 3));
    assert!(raw.parse::<Value>().is_err());
    assert_eq!(raw.as_bytes(), b"[\"a\xC3\x28\", 1]");
    assert_eq!(raw.parse::<Vec<Raw>>().unwrap_err().member(), "[0]");
}

#[test]
fn c5_a_part_can_stay_raw() {
    let parts: BTreeMap<String, Raw> = returned(r#"{"a": [1, 2], "b": null}"#).parse().unwrap();
    assert_eq!(parts["a"].as_str(), Ok("[1, 2]"));
    assert_eq!(parts["b"].as_str(), Ok("null"));
    assert_eq!(serde_json::to_string(&parts).unwrap(), r#"{"a":[1, 2],"b":null}"#);
    let whole = returned("[1, [2]]");
    assert_eq!(QueryQmpSchema::decode(whole.clone()).unwrap(), whole);
    assert!(serde_json::to_string(&returned("[1 2]")).is_err());
    // As the arguments of a command, too.
    let mut peer = Peer::ready(Config::default());
    peer.connection.execute(Request::new("x").arguments(returned(r#"{"a": 1}"#)), None).unwrap();
    assert!(peer.take_all().contains(r#""arguments":{"a": 1},"#));
}

#[test]
fn c5_strings_are_borrowed_where_they_can_be() {
    let raw = returned(r#"["plain", "b"]"#);
    let borrowed: Vec<&str> = raw.parse().unwrap();
    assert!(raw.as_bytes().as_ptr_range().contains(&borrowed[0].as_ptr()));
}

/// A stack of 2 MiB, as threads have by default.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}

/// A chain as deep as its JSON.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only decoding matters without the feature `deep`")]
struct Chain {
    next: Option<Box<Chain>>,
}

fn chain(links: usize) -> String {
    "{\"next\": ".repeat(links) + "null" + &"}".repeat(links)
}

#[test]
fn c4_what_is_deep_but_allowed_can_be_passed_over() {
    on_a_small_stack(|| {
        // The reply itself is the first level.
        let raw = returned(nested(1023));
        assert_eq!(raw.as_bytes().len(), 2046);
        raw.parse::<IgnoredAny>().unwrap();
        raw.parse::<Raw>().unwrap();
        let event = event(&format!(r#"{{"event": "A", "data": {}}}"#, nested(1023)));
        assert_eq!(event.data().unwrap(), raw);
    });
}

#[test]
fn c4_nesting_up_to_127_levels_decodes() {
    assert!(returned(nested(127)).parse::<Value>().is_ok());
    assert!(returned(chain(127)).parse::<Chain>().is_ok());
}

#[cfg(not(feature = "deep"))]
#[test]
fn c4_the_recursion_limit_is_named() {
    on_a_small_stack(|| {
        for levels in [128, 206, 1023] {
            let errors = [
                returned(nested(levels)).parse::<Value>().unwrap_err(),
                returned(chain(levels)).parse::<Chain>().unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), DecodeErrorKind::TooDeep { limit: 128 });
                assert!(error.to_string().contains("128 levels"), "{error}");
                assert!(error.to_string().contains("`deep`"), "{error}");
            }
        }
    });
}

#[cfg(feature = "deep")]
#[test]
fn c4_with_deep_all_that_max_depth_lets_through_decodes() {
    on_a_small_stack(|| {
        let value = returned(nested(1023)).parse::<Value>().unwrap();
        let depth = std::iter::successors(Some(&value), |value| value.get(0)).count();
        assert_eq!(depth, 1023);
        let chain = returned(chain(1023)).parse::<Chain>().unwrap();
        let links = std::iter::successors(Some(&chain), |chain| chain.next.as_deref()).count();
        assert_eq!(links, 1023);
    });
}

/// serde buffers these before it decodes them, and what it buffers is as deep.
#[cfg(feature = "deep")]
#[test]
fn c4_with_deep_what_serde_buffers_decodes_too() {
    #[derive(Deserialize)]
    struct Flattened {
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(#[allow(dead_code, reason = "never read")] u8),
        List(Vec<Untagged>),
    }
    on_a_small_stack(|| {
        let flattened = returned(format!("{{\"a\": {}}}", nested(1022))).parse::<Flattened>();
        assert!(flattened.unwrap().rest["a"].is_array());
        let untagged = returned(nested(1023)).parse::<Untagged>().unwrap();
        assert!(matches!(untagged, Untagged::List(list) if list.len() == 1));
    });
}

/// The feature must change nothing else.
#[test]
fn c4_deep_decodes_the_ordinary_as_ever() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct All<'a> {
        text: &'a str,
        byte: u8,
        float: f64,
        unit: (),
        pair: (i64, bool),
        option: Option<char>,
        state: RunState,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }
    let raw = returned(
        r#"{"text": "t", "byte": 255, "float": 1e3, "unit": null, "pair": [-1, true],
            "option": "c", "state": "paused", "more": {"a": 18446744073709551615}}"#,
    );
    let all: All<'_> = raw.parse().unwrap();
    assert_eq!((all.text, all.byte, all.float, all.pair), ("t", 255, 1000.0, (-1, true)));
    assert_eq!((all.option, &all.state), (Some('c'), &RunState::Paused));
    assert_eq!(all.rest["more"]["a"], u64::MAX);
    for trailing in ["[] []", "[]x", "{} 1"] {
        let error = returned(trailing).parse::<Value>().unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Syntax, "{trailing}");
    }
    assert_eq!(fault::<Vec<u8>>("[1, \"x\"]").member(), "[1]");
}

#[test]
fn c4_a_deep_payload_of_a_recorded_session_is_read() {
    let capture = support::capture("deep-nesting-qemu7");
    let mut connection = <qmp_proto::Connection>::new(Config::default(), 7);
    connection.handle_input(&capture.bytes);
    let deepest = std::iter::from_fn(|| connection.poll_output())
        .filter_map(|output| match output {
            Output::Stray(stray) => stray.outcome.ok(),
            _ => None,
        })
        .max_by_key(|raw| raw.as_bytes().len())
        .unwrap();
    let outcome = deepest.parse::<Value>().map(|_| ()).map_err(|error| error.kind());
    let deep = cfg!(feature = "deep");
    assert_eq!(outcome, if deep { Ok(()) } else { Err(DecodeErrorKind::TooDeep { limit: 128 }) });
}

/// Whatever it is decoded to, and wherever it comes from.
#[test]
fn c4_no_more_values_are_decoded_than_the_limit() {
    let too_many = Some(DecodeErrorKind::TooMany { limit: 3 });
    let mut peer = Peer::ready(config(|config| config.max_values = Some(3)));
    for (payload, fits) in [("[1,2,3]", true), ("[1,[2,3]]", false), ("[1,2,3,4]", false)] {
        let id = peer.execute("a");
        peer.take_all();
        peer.feed(format!("{{\"return\": {payload}, \"id\": \"nobody's\"}}"));
        peer.feed(format!("{{\"event\": \"E\", \"data\": {payload}}}"));
        peer.feed(format!("{{\"return\": {payload}, \"id\": {id}}}"));
        let raws =
            std::iter::from_fn(|| peer.connection.poll_output()).map(|output| match output {
                Output::Reply(_, Ok(raw)) => raw,
                Output::Event(event) => event.data().unwrap(),
                Output::Stray(stray) => stray.outcome.unwrap(),
                other => panic!("{other:?}"),
            });
        let raws: Vec<Raw> = raws.collect();
        assert_eq!(raws.len(), 3);
        for raw in raws {
            let kind = |error: DecodeError| error.kind();
            let expected = if fits { None } else { too_many };
            assert_eq!(raw.parse::<Value>().map_err(kind).err(), expected, "{payload}");
            assert_eq!(raw.parse::<Vec<Value>>().map_err(kind).err(), expected);
            assert!(raw.with_max_values(4).parse::<Value>().is_ok());
        }
    }
    let error = Raw::from_static("[1]").with_max_values(0).parse::<Vec<u8>>().unwrap_err();
    let text = "the payload has more than 0 values (the option max_values lifts this)";
    assert!(error.to_string().starts_with(text), "{error}");
}

#[test]
fn c3_the_limits_of_a_guest_agents_connection_are_tighter() {
    let mut config = Config::default();
    assert_eq!((config.largest_message(), config.most_values()), (128 << 20, 1 << 20));
    config.dialect = Dialect::GuestAgent;
    assert_eq!((config.largest_message(), config.most_values()), (48 << 20, 1 << 17));
    // Both outputs that an agent keeps of a program, in base64, and what is around them.
    assert!(2 * ((16 << 20) / 3 + 1) * 4 + 1000 < config.largest_message());
    (config.max_message, config.max_values) = (Some(5), Some(6));
    assert_eq!((config.largest_message(), config.most_values()), (5, 6));
}

/// It could fill a line, or a log.
#[test]
fn c22_a_path_in_an_error_is_cut_off() {
    let name = "\u{202e}é".repeat(100);
    let json = format!("{{\"{name}\": {{\"b\": [1, \"x\"]}}}}");
    let error = returned(&json).parse::<BTreeMap<String, BTreeMap<String, Vec<u8>>>>().unwrap_err();
    assert!(error.member().len() < 150 && error.member().ends_with("….b[1]"), "{error}");
    assert!(!error.to_string().contains('\u{202e}'), "{error}");
    let open = format!("{{\"{}\":", "n".repeat(100)).repeat(50);
    let error = returned(open + "nul" + &"}".repeat(50)).parse::<IgnoredAny>().unwrap_err();
    assert!(error.member().len() < 1200 && error.member().ends_with('…'), "{error}");
}
