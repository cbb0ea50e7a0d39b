//! Envelopes, and how much of a message is copied or kept.

use alloc::format;
use alloc::string::ToString;

use bytes::Bytes;

use super::*;
use crate::codec::framer::Framer;

/// Reads a message that comes whole, or in two pieces.
fn read(text: &str, whole: bool) -> Result<Message, Violation> {
    let mut framer = Framer::new(usize::MAX, 1024);
    let mut input = text.as_bytes();
    if !whole {
        let (first, rest) = input.split_at(text.len() / 2);
        assert!(framer.next(&mut &*first)?.is_none());
        input = rest;
    }
    let frame = framer.next(&mut input)?.expect("a whole message");
    Message::read(&frame)
}

/// The same either way.
#[track_caller]
fn message(text: &str) -> Message {
    let (whole, split) = (read(text, true).expect(text), read(text, false).expect(text));
    assert_eq!(format!("{whole:?}"), format!("{split:?}"));
    whole
}

#[track_caller]
fn violation(text: &str) -> Violation {
    let violation = read(text, true).expect_err(text);
    assert_eq!(read(text, false).expect_err(text), violation);
    violation
}

#[track_caller]
fn reply(text: &str) -> Reply {
    match message(text) {
        Message::Reply(reply) => reply,
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn event(text: &str) -> Event {
    match message(text) {
        Message::Event(event) => event,
        other => panic!("{text}: {other:?}"),
    }
}

#[track_caller]
fn returned(text: &str) -> Raw {
    reply(text).outcome.expect(text)
}

fn other(json: &'static str) -> ReplyId {
    ReplyId::Other(Raw::from_static(json))
}

#[test]
fn c5_members_come_in_any_order_and_unknown_ones_are_passed_over() {
    for text in [
        r#"{"return":7,"id":1}"#,
        r#"{ "id" : 1 , "return" : 7 }"#,
        "{\r\n\"id\":\t1,\n\"return\"\n:\r\n7\r\n}",
        r#"{"x":{"return":0},"id":1,"y":[{"id":9}],"return":7,"":null,"return ":8}"#,
        r#"{"data":1,"timestamp":2,"id":1,"return":7}"#,
    ] {
        let reply = reply(text);
        assert_eq!(reply.id, ReplyId::Number(1), "{text}");
        assert_eq!(reply.outcome.unwrap().as_str(), Ok("7"), "{text}");
    }
}

#[test]
fn c5_of_a_repeated_member_the_last_one_counts() {
    let repeated = reply(r#"{"return":1,"id":1,"return":2,"id":2,"\u0069d":3,"r\u0065turn":4}"#);
    assert_eq!(repeated.id, ReplyId::Number(3));
    assert_eq!(repeated.outcome.unwrap().as_str(), Ok("4"));
    let error = r#"{"class":"A","desc":"a","class":"B","desc":"b"}"#;
    let error = reply(&format!(r#"{{"error":7,"error":{error}}}"#)).outcome.unwrap_err();
    assert_eq!((error.class.as_str(), &*error.desc), ("B", "b"));
    let event = event(
        r#"{"event":"A","timestamp":0,"data":1,"event":"B","data":2,
           "timestamp":{"seconds":1,"microseconds":2}}"#,
    );
    assert_eq!(event.name(), "B");
    assert_eq!(event.data().unwrap().as_str(), Ok("2"));
    assert_eq!(event.timestamp().unwrap().seconds, 1);
}

#[test]
fn c6_only_a_plain_number_can_be_an_id_of_ours() {
    for (id, expected) in [
        ("1", ReplyId::Number(1)),
        ("18446744073709551615", ReplyId::Number(u64::MAX)),
        ("18446744073709551616", other("18446744073709551616")),
        ("184467440737095516151", other("184467440737095516151")),
        ("0", other("0")),
        ("01", other("01")),
        ("-1", other("-1")),
        ("1.0", other("1.0")),
        ("1e0", other("1e0")),
        ("1 2", other("1 2")),
        ("null", other("null")),
        (r#""1""#, other(r#""1""#)),
        (r#"{"a": 1}"#, other(r#"{"a": 1}"#)),
        ("[1]", other("[1]")),
        ("inf", other("inf")),
        ("-inf", other("-inf")),
    ] {
        assert_eq!(reply(&format!("{{\"return\": {{}}, \"id\": {id}}}\r\n")).id, expected);
    }
    assert_eq!(reply(r#"{"return": {}}"#).id, ReplyId::Absent);
}

#[test]
fn c5_a_payload_is_not_looked_at() {
    for payload in
        ["nul", "1 2", "{1}", r#"{"a":}"#, r#"["\ud800", "\q"]"#, "{\"a\":\"\u{1}\"}", "inf"]
    {
        assert_eq!(returned(&format!("{{\"return\":{payload}}}")).as_str(), Ok(payload));
        let event = event(&format!(r#"{{"event":"A","data":{payload},"timestamp":{payload}}}"#));
        assert_eq!(event.data().unwrap().as_str(), Ok(payload));
        assert_eq!(event.timestamp(), None);
    }
    assert_eq!(returned(r#"{"return": null}"#).as_str(), Ok("null"));
}

#[test]
fn c5_what_an_error_may_be() {
    let error = |json: &str| reply(&format!("{{\"error\": {json}}}")).outcome.unwrap_err();
    assert_eq!(error(r#"{"class": "KVMMissingCap", "desc": ""}"#).to_string(), "KVMMissingCap: ");
    assert_eq!(error(r#"{"class": "New\u0041", "desc": "\""}"#).to_string(), "NewA: \"");
    assert_eq!(error("{}").to_string(), "GenericError: ");
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let unknown = format!(r#"{{"more": {deep}, "desc": "d", "data": {{"desc": 1}}}}"#);
    assert_eq!(error(&unknown).to_string(), "GenericError: d");
}

#[test]
fn c5_what_has_no_readable_envelope_is_a_violation() {
    for text in [
        "{}",
        "{ }",
        r#"{"id": 1}"#,
        r#"{"data": 1, "timestamp": {}}"#,
        r#"{"unknown": 1}"#,
        r#"{"return": {}, "error": {"class": "A", "desc": "b"}}"#,
        r#"{"return": {}, "event": "A"}"#,
        r#"{"QMP": {}, "return": {}}"#,
        r#"{"return"}"#,
        r#"{return: 1}"#,
        r#"{"return": 1, 2: 3}"#,
        r#"{"return" x: 1}"#,
        r#"{"return": {},}"#,
        r#"{"return": }"#,
    ] {
        let Violation::Envelope { member: "", .. } = violation(text) else {
            panic!("{text}: {:?}", violation(text));
        };
    }
    for (text, at) in [
        (r#"{"event": 1}"#, "event"),
        (r#"{"event": null}"#, "event"),
        (r#"{"event": "\ud800"}"#, "event"),
        (r#"{"event": "A" "B"}"#, "event"),
        (r#"{"error": "A"}"#, "error"),
        (r#"{"error": null}"#, "error"),
        (r#"{"error": {"class": "A", "desc": "b"} x}"#, "error"),
        (r#"{"QMP": []}"#, "QMP"),
    ] {
        let Violation::Envelope { member, .. } = violation(text) else {
            panic!("{text}: {:?}", violation(text));
        };
        assert_eq!(member, at, "{text}");
    }
}

#[test]
fn c5_what_a_greeting_may_be() {
    let greeting = |json: &str| match message(&format!("{{\"QMP\": {json}}}")) {
        Message::Greeting(greeting) => greeting,
        other => panic!("{json}: {other:?}"),
    };
    assert!(greeting("{}").version.is_none());
    let unknown = greeting(
        r#"{"more": [], "capabilities": ["oob", "later"], "version": {"package": "p", "tag": 1,
            "qemu": {"major": 10, "minor": 0, "micro": 2, "nano": 3}}}"#,
    );
    assert_eq!(unknown.capabilities, ["oob", "later"]);
    let version = unknown.version.unwrap();
    assert_eq!((version.qemu.major, version.qemu.micro, &*version.package), (10, 2, "p"));
}

#[test]
fn c5_an_events_name_may_be_anything() {
    assert_eq!(event(r#"{"event": ""}"#).name(), "");
    assert_eq!(event(r#"{"event": "SHUTD\u004fWN", "data": {}}"#).name(), "SHUTDOWN");
    assert_eq!(event(r#"{"event": "\"\\", "data": [1]}"#).data().unwrap().as_str(), Ok("[1]"));
    let bare = event(r#"{"event": "A"}"#);
    assert!(bare.data().is_none() && bare.timestamp().is_none());
    let unset = event(r#"{"event": "A", "timestamp": {"seconds": -1, "microseconds": -1}}"#);
    assert_eq!(unset.timestamp().unwrap().microseconds, -1);
}

/// Text that has a buffer of its own, and where its parts are.
fn owned(parts: [usize; 3]) -> (Text<'static>, Bytes, Span) {
    let buffer = Bytes::from(alloc::vec![b'x'; parts.iter().sum()]);
    let span = Span::new(parts[0], parts[0] + parts[1]);
    (Text::Owned(buffer.clone()), buffer, span)
}

fn shares(raw: &Raw, buffer: &Bytes) -> bool {
    buffer.as_ptr_range().contains(&raw.as_bytes().as_ptr())
}

#[test]
fn c3_a_small_payload_does_not_keep_a_big_message() {
    for size in [0, 1, 100, 4095, 4096, 40_000] {
        let (text, buffer, span) = owned([10, size, 100_000]);
        let raw = Raw::keep(&text, span);
        assert!(!shares(&raw, &buffer), "{size}");
        assert_eq!(raw.as_bytes().len(), size);
    }
}

#[test]
fn c3_a_big_payload_owns_its_message_without_a_copy() {
    for size in [4097, 100_000] {
        let (text, buffer, span) = owned([11, size, 30]);
        let raw = Raw::keep(&text, span);
        assert_eq!(raw.as_bytes().as_ptr(), buffer[11..].as_ptr());
        assert_eq!(raw.into_bytes().as_ptr(), buffer[11..].as_ptr());
    }
}

#[test]
fn c3_what_is_lent_is_copied_once_and_to_size() {
    for size in [3, 5000] {
        let bytes = alloc::vec![b'7'; size + 20];
        let raw = Raw::keep(&Text::Lent(&bytes), Span::new(10, 10 + size));
        assert!(!bytes.as_ptr_range().contains(&raw.as_bytes().as_ptr()));
        assert_eq!(raw.as_bytes(), &bytes[10..10 + size]);
    }
}

#[test]
fn c3_an_event_keeps_its_parts_and_nothing_else() {
    let padding = "x".repeat(50_000);
    let text = format!(r#"{{"event": "A", "padding": "{padding}", "data": {{"b": 1}}}}"#);
    for whole in [true, false] {
        let Ok(Message::Event(event)) = read(&text, whole) else {
            panic!("no event");
        };
        assert_eq!(event.len_in_memory(), 1 + r#"{"b": 1}"#.len());
        let data = event.data().unwrap();
        assert_eq!(data.as_str(), Ok(r#"{"b": 1}"#));
    }
}

/// Messages with something remarkable in them, in one stream, against the naive reader.
#[test]
fn c5_members_are_read_as_a_naive_reader_reads_them() {
    for text in [
        r#"{"return": {}, "id": 1}{"id": 2, "error": {"class": "A", "desc": "b"}}"#,
        r#"{"event": "A", "data": {"x": [1]}, "timestamp": {"seconds": 1, "microseconds": -1}}"#,
        r#"{"event": "\u0041\"", "event": "B\u00e9", "data" : nul , "timestamp": 0}"#,
        r#"{"QMP": {"version": {"qemu": {"micro": 1, "minor": 2, "major": 3}}, "capabilities": ["oob", 1]}}"#,
        r#"{"QMP": [], "x": 1} {"QMP": {"capabilities": ["\ud800", "a"]}}"#,
        r#"{"error": {"desc": nul, "class": 7, "desc"}} {"error": "A"} {"error": {} x}"#,
        r#"{"return": inf, "id": 18446744073709551616} {"return": 1, "id": 01} {"return": 1, "id"}"#,
        r#"{"return": 1, "event": "A"} {} {"x": 1} {x: 1} {"return": } {"return": 1,}"#,
        "{\"return\":\u{c}1\u{c},\"id\":\u{c}2, \"x\u{c}\": 3}",
    ] {
        properties::check(text.as_bytes());
    }
}

#[test]
fn c6_an_id_is_a_number_where_it_is_written_as_one() {
    for text in ["1", "12345678", "123456789012345", "1234567890123456", "9999999999999999999"] {
        assert_eq!(decimal(text.as_bytes()), text.parse().ok(), "{text}");
        for at in 0..text.len() {
            // Among them what differs from a digit in one bit, or stands beside the digits.
            for byte in [b'/', b':', b'0' ^ 0x80, b'9' ^ 0x40, b'?', b' ', b'p', 0, 0xFF] {
                let mut text = text.as_bytes().to_vec();
                text[at] = byte;
                assert_eq!(decimal(&text), None, "{}", text.escape_ascii());
            }
        }
    }
    assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
    assert_eq!(decimal(b"18446744073709551616"), None);
    assert_eq!(decimal(b"1000000000000000000000000"), None);
}
