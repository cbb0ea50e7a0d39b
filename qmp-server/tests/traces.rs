//! C21: recorded sessions as text, without secrets if need be, and their replay.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use qmp_proto::trace::{Direction, Entry, Recorder, Redaction, Trace};
use qmp_server::Replay;
use serde_json::{Value, json};

#[path = "traces/replay.rs"]
mod replay;

const TITLE: &str = "# QMP trace, version 1\n";

fn direction(to_server: bool) -> Direction {
    if to_server { Direction::ToServer } else { Direction::ToClient }
}

/// What a recorder makes of pieces, all at the same time, and of both streams' ends.
fn record<'a>(
    mut recorder: Recorder,
    pieces: impl IntoIterator<Item = (Direction, &'a [u8])>,
) -> String {
    let mut text = recorder.header().to_owned();
    for (direction, bytes) in pieces {
        recorder.record(direction, bytes, Duration::from_millis(1));
    }
    recorder.end(Direction::ToClient, Duration::from_millis(2));
    recorder.end(Direction::ToServer, Duration::from_millis(3));
    while let Some(entry) = recorder.poll_entry() {
        writeln!(text, "{entry}").unwrap();
    }
    text
}

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 20, 4, |inner| {
        let name = prop_oneof!["[a-z]{0,3}", Just("password".to_owned()), any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Messages in one line or on many, and what is none.
fn arbitrary_bytes() -> impl Strategy<Value = Vec<u8>> {
    let object = || arbitrary_json().prop_map(|json| json!({ "return": json }));
    prop_oneof![
        object().prop_map(|json| json.to_string().into_bytes()),
        object().prop_map(|json| format!("{json:#}\r\n").into_bytes()),
        r#"[ \r\n\\x"'{}\[\]]{0,9}"#.prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..9),
        Just(b"\xff".to_vec()),
    ]
}

fn arbitrary_entry() -> impl Strategy<Value = Entry> {
    (any::<Duration>(), any::<bool>(), prop::option::of(arbitrary_bytes())).prop_map(
        |(at, to_server, bytes)| match bytes {
            Some(bytes) => Entry::new(at, direction(to_server), &bytes),
            None => Entry::end(at, direction(to_server)),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c21_what_is_written_is_read_back(
        entries in prop::collection::vec(arbitrary_entry(), 0..9),
        redacted: bool,
    ) {
        let mut trace = Trace::new(redacted);
        entries.into_iter().for_each(|entry| trace.push(entry));
        let text = trace.to_string();
        prop_assert_eq!(text.lines().count(), trace.entries().len() + 1 + usize::from(redacted));
        let read: Trace = text.parse().unwrap();
        prop_assert_eq!(&read, &trace);
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn c21_any_chunking_gives_the_same_lines(
        parts in prop::collection::vec(arbitrary_bytes(), 0..9),
        cuts in prop::collection::vec(1..20_usize, 1..9),
        max_message in 1..200_usize,
    ) {
        let bytes = parts.concat();
        let whole = record(Recorder::new(max_message), [(Direction::ToClient, &bytes[..])]);
        let mut rest = &bytes[..];
        let pieces = cuts.iter().cycle().map_while(|cut| {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            rest = behind;
            (!piece.is_empty()).then_some((Direction::ToClient, piece))
        });
        prop_assert_eq!(record(Recorder::new(max_message), pieces), whole);
    }

    /// But for white space between messages and their line ends, nothing is lost.
    #[test]
    fn c21_nothing_is_lost(bytes in prop::collection::vec(arbitrary_bytes(), 0..9)) {
        let visible = |bytes: &[u8]| {
            let bytes = bytes.iter().copied();
            bytes.filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>()
        };
        let bytes = bytes.concat();
        let text = record(Recorder::new(1 << 20), [(Direction::ToClient, &bytes[..])]);
        let trace = without_ends(text.parse().unwrap());
        let mut replay = Replay::new(trace);
        let mut sent = Vec::new();
        take(&mut replay, &mut sent);
        prop_assert_eq!(visible(&sent), visible(&bytes));
    }

    #[test]
    fn c21_no_text_and_no_client_makes_it_panic(
        text in any::<String>(),
        lines in prop::collection::vec(r#"([01]\.[0-9]{6} (<-|->) )?(\{\}|!|--|\\x| |a){0,3}"#, 0..4),
        bytes in arbitrary_bytes(),
    ) {
        let _ = text.parse::<Trace>();
        if let Ok(trace) = format!("{TITLE}{}", lines.join("\n")).parse::<Trace>() {
            let mut replay = Replay::new(trace);
            replay.handle_input(&bytes);
            take(&mut replay, &mut Vec::new());
            replay.handle_eof();
            prop_assert!(replay.is_finished() || replay.mismatch().is_some());
        }
    }

    /// A message that is sent as it was recorded is accepted, however deep or odd it is.
    #[test]
    fn c21_the_same_bytes_are_accepted(parts in prop::collection::vec(arbitrary_bytes(), 0..9)) {
        let bytes = parts.concat();
        let text = record(Recorder::new(1 << 20), [(Direction::ToServer, &bytes[..])]);
        let mut replay = Replay::new(without_ends(text.parse().unwrap()));
        replay.handle_input(&bytes);
        replay.handle_eof();
        prop_assert_eq!(replay.mismatch(), None);
        prop_assert!(replay.is_finished());
    }
}

/// Takes all that there is to send, some bytes at a time.
fn take(replay: &mut Replay, sent: &mut Vec<u8>) {
    while let Some(bytes) = replay.transmit() {
        let taken = bytes.len().min(5);
        sent.extend_from_slice(&bytes[..taken]);
        replay.advance(taken);
    }
}

fn without_ends(trace: Trace) -> Trace {
    let mut kept = Trace::new(trace.is_redacted());
    let entries = trace.entries().iter().filter(|entry| !entry.to_string().ends_with(" --"));
    entries.for_each(|entry| kept.push(entry.clone()));
    kept
}

#[track_caller]
fn assert_no_trace(text: &str, error: &str) {
    assert_eq!(text.parse::<Trace>().unwrap_err().to_string(), error);
}

#[test]
fn c21_what_is_no_trace_is_told_by_its_line() {
    let title = "line 1 of the trace: expected # QMP trace, version 1";
    assert_no_trace("", title);
    assert_no_trace("0.000001 -> {}", title);
    assert_no_trace("# QMP trace, version 2\n", title);
    let line = |line: &str| format!("{TITLE}\n# a comment\n{line}\n");
    let payload = "line 4 of the trace: expected a JSON object, ! and bytes, or --";
    assert_no_trace(&line("0.000001 -> {"), payload);
    assert_no_trace(&line("0.000001 -> [1]"), payload);
    assert_no_trace(&line("0.000001 {}"), "line 4 of the trace: expected -> or <- behind the time");
    assert_no_trace(&line("-> {}"), "line 4 of the trace: expected a time, such as 0.000001");
}

#[test]
fn c21_a_redacted_trace_says_so() {
    let text = record(Recorder::new(99).redacted(Redaction::default()), []);
    assert_eq!(text, "# QMP trace, version 1\n# redacted\n0.002000 <- --\n0.003000 -> --\n");
    let trace: Trace = text.parse().unwrap();
    assert!(trace.is_redacted());
    assert_eq!(trace.to_string(), text);
    assert!(!TITLE.parse::<Trace>().unwrap().is_redacted());
}

/// What real commands and replies carry, each with the secret in it.
const SECRETS: &[&str] = &[
    r#"{"execute":"object-add","arguments":{"qom-type":"secret","id":"s","data":"hunter2"}}"#,
    r#"{"execute":"object-add","arguments":{"data":"hunter2","id":"s","qom-type":"secret"}}"#,
    r#"{"execute":"object-add","arguments":{"qom-type":"secret","id":"s","props":{"data":"hunter2"}}}"#,
    r#"{"execute":"qom-set","arguments":{"path":"/objects/s","property":"data","value":"hunter2"}}"#,
    r#"{"return":"hunter2","id":1}"#,
    r#"{"execute":"set_password","arguments":{"protocol":"vnc","password":"hunter2"}}"#,
    r#"{"execute":"change-vnc-password","arguments":{"password":"hunter2"}}"#,
    r#"{"execute":"guest-set-user-password","arguments":{"username":"u","password":"hunter2","crypted":false}}"#,
    r#"{"execute":"guest-ssh-add-authorized-keys","arguments":{"username":"u","keys":["hunter2","hunter2"]}}"#,
    r#"{"execute":"human-monitor-command","arguments":{"command-line":"change vnc password hunter2"}}"#,
    r#"{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"hunter2"}]}}"#,
    r#"{"execute":"sev-inject-launch-secret","arguments":{"packet-header":"h","secret":"hunter2"}}"#,
    r#"{"execute":"blockdev-add","arguments":{"driver":"https","cookie":"hunter2"}}"#,
    r#"{"execute":"guest-exec","arguments":{"path":"p","arg":["-p","hunter2"],"env":["A=hunter2"],"input-data":"hunter2"}}"#,
    r#"{"return":{"exited":true,"out-data":"hunter2","err-data":"hunter2"}}"#,
    r#"{"return":{"count":7,"buf-b64":"hunter2"}}"#,
    r#"{"a":[{"b":[[{"p\u0061ssword":{"hunter2":["hunter2"]}}]]}]}"#,
    r#"{"execute":"ringbuf-write","arguments":{"device":"d","data":"hunter2"}}"#,
    // What cannot be read may be anything.
    "{'execute':'set_password','arguments':{'password':'hunter2'}}",
    r#"{"password":"hunter2"#,
    r#"{"password":"hunter2"]]}"#,
    "{\"password\":\"hunter2ä",
    "hunter2\r\n",
    "{\"a\":\n1} hunter2",
    r#"{'execute':'object-add','arguments':{'data':'}}}{"a":"hunter2"}'}}"#,
    r#"{'execute':'object-add','arguments':{'data':{"a":"hunter2"}}}"#,
    "{'password':'\n\n{\"a\":\"hunter2\"}\n'}",
    r#"{"password":'"'}}{"a":"hunter2"}"'}"#,
    r#"{"password":"a"b}{"a":"hunter2"}"}"#,
    r#"{"password":True,"secret":{"a":"hunter2"}}"#,
];

#[test]
fn c21_no_secret_is_in_a_redacted_trace() {
    for secret in SECRETS {
        for length in [1, 7, 1000] {
            for to_server in [false, true] {
                let bytes = secret.as_bytes();
                let pieces = bytes.chunks(length).map(|piece| (direction(to_server), piece));
                let recorder = Recorder::new(1000).redacted(Redaction::default());
                let text = record(recorder, pieces);
                assert!(!text.contains("hunter2"), "{text}");
                assert!(text.contains("(redacted)"), "{text}");
                // In parts it is no JSON.
                let pieces = bytes.chunks(length).map(|piece| (direction(to_server), piece));
                let recorder = Recorder::new(20).redacted(Redaction::default());
                let text = record(recorder, pieces);
                assert!(!text.contains("hunter2"), "{text}");
            }
        }
    }
}

/// How clients write strings, with more or less care. What ends a string too early makes another
/// message of the secret, for servers too, so that alone is left out.
const QUOTES: [fn(&str) -> String; 5] = [
    |text| json!(text).to_string(),
    |text| json!(text).to_string().replace('h', "\\u0068"),
    |text| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
    |text| format!("'{}'", text.replace('\'', "")),
    |text| format!("\"{}\"", text.replace('"', "")),
];

/// A secret with what may lead astray before it and behind it.
fn arbitrary_secret() -> impl Strategy<Value = String> {
    let odd = || r#"[ a"'{}\[\]:,\\\n\r\t\x01\xffé0T]{0,6}"#;
    let inner = prop::sample::select(
        &["hunter2", r#"{"a":"hunter2"}"#, r#"{"execute":"a","id":"hunter2"}"#, "{'a':'hunter2'}"]
            [..],
    );
    (odd(), inner, odd()).prop_map(|(before, inner, behind)| [&before, inner, &behind].concat())
}

fn arbitrary_command() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(
        &["password", "data", "p\\u0061ssword", "key", "command-line", "x\":1,\"secret"][..],
    );
    let quote = || prop::sample::select(&QUOTES[..]);
    let names_quote = prop::sample::select(&["\"", "'"][..]);
    let space = || "[ \r\n]{0,2}";
    let levels = prop_oneof![0..3_usize, Just(1500)];
    let value = (arbitrary_secret(), quote(), levels).prop_map(|(secret, quote, levels)| {
        [&"[".repeat(levels), &*quote(&secret), &"]".repeat(levels)].concat()
    });
    (name, names_quote, value, space(), space(), any::<bool>()).prop_map(
        |(name, quote, value, one, other, latin)| {
            // Over these it would be told as a string alone.
            let name =
                if value.starts_with('[') { name.replace("data", "key") } else { name.into() };
            let text = format!("{{{one}{quote}{name}{quote}{other}:{one}{value}{other}}}{one}");
            match latin {
                true => {
                    text.chars().map(|character| u8::try_from(character).unwrap_or(0xFF)).collect()
                }
                false => text.into_bytes(),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    /// However badly it is written down, in whatever pieces it comes, and whatever was before it.
    #[test]
    fn c21_no_client_gives_a_secret_away(
        commands in prop::collection::vec(arbitrary_command(), 1..4),
        end in any::<prop::sample::Index>(),
        longest in 1..100_usize,
        max_message in prop_oneof![Just(1 << 20), 1..200_usize],
        to_server: bool,
    ) {
        let mut bytes = commands.concat();
        bytes.truncate(end.index(2 * bytes.len()));
        let recorder = || Recorder::new(max_message).redacted(Redaction::default());
        let pieces = bytes.chunks(longest).map(|piece| (direction(to_server), piece));
        let text = record(recorder(), pieces);
        prop_assert!(!text.contains("hunter2"), "{}\n{}", bytes.escape_ascii(), text);
        let trace: Trace = record(Recorder::new(max_message), [(direction(to_server), &bytes[..])]).parse().unwrap();
        prop_assert_eq!(trace.redacted(&Redaction::default()).to_string(), text);
    }
}

#[test]
fn c21_a_trace_is_redacted_afterwards_too() {
    for secret in SECRETS {
        let pieces = || [(Direction::ToServer, secret.as_bytes())];
        let trace: Trace = record(Recorder::new(1000), pieces()).parse().unwrap();
        let redacted = record(Recorder::new(1000).redacted(Redaction::default()), pieces());
        assert_eq!(trace.redacted(&Redaction::default()).to_string(), redacted);
    }
}

#[test]
fn c21_what_is_shown_for_programmers_has_no_values() {
    for secret in SECRETS {
        let pieces = [(Direction::ToServer, secret.as_bytes())];
        let trace: Trace = record(Recorder::new(1000), pieces).parse().unwrap();
        let mut recorder = Recorder::new(1000);
        recorder.record(Direction::ToServer, secret.as_bytes(), Duration::ZERO);
        let mut replay = Replay::new(trace.clone());
        let shown = format!("{trace:?} {replay:?} {recorder:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        replay.handle_input(b"{}");
        let shown = format!("{replay:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn c21_two_sessions_are_no_trace() {
    let session = "# QMP trace, version 1\n0.000001 -> {}\n0.000002 -> --\n";
    assert_eq!(session.parse::<Trace>().unwrap().entries().len(), 2);
    let error = session.repeat(2).parse::<Trace>().unwrap_err();
    assert_eq!(error.line, 4);
}

/// A member's value keeps its place, whatever was joined before it.
#[test]
fn c21_a_secret_after_a_flood_is_redacted() {
    for line in ["a\n", "ok\n", "\u{1}\n"] {
        for count in [300, 600, 5000] {
            let secret = "{\"arg\":     \n{\"x\":\"hunter2\"}}\n";
            let pretty = "{\n\"return\": {\n \"keys\": [\n {\"type\": \"hunter2\"}\n]}}\n";
            let stream = [&*line.repeat(count), secret, &*line.repeat(count), pretty].concat();
            let recorder = Recorder::new(1 << 20).redacted(Redaction::default());
            let text = record(recorder, [(Direction::ToServer, stream.as_bytes())]);
            assert!(!text.contains("hunter2"), "{count} times {line:?}");
        }
    }
}

/// Floods of the shortest lines of each kind, and of bytes that take most, after a month and after 30 years.
#[test]
fn c21_a_recording_has_at_most_six_bytes_for_each_of_the_stream_and_8_kib() {
    let floods: [&[u8]; 6] = [b"\xff", b"\x01\xff", b"a\n", b"{}", b"{\xff", b"\x80"];
    for (flood, length) in floods.into_iter().flat_map(|flood| [(flood, 372), (flood, 20_000)]) {
        for (max_message, seconds) in [(1 << 20, 2_600_000), (1 << 20, 999_999_999), (1, 1000)] {
            let stream = flood.repeat(length);
            let mut recorder = Recorder::new(max_message);
            let at = Duration::from_secs(seconds);
            recorder.record(Direction::ToClient, &stream, at);
            recorder.end(Direction::ToClient, at);
            let entries = std::iter::from_fn(|| recorder.poll_entry());
            let recorded: usize = entries.map(|entry| entry.to_string().len() + 1).sum();
            let most = 6 * stream.len() + 8192;
            assert!(recorded <= most, "{recorded} of {most}: {}", flood.escape_ascii());
        }
    }
}
