//! The session that was recorded is accepted, any other is not.

use std::fmt::Write as _;
use std::time::Duration;

use qmp_proto::trace::{Direction, Entry, Recorder, Redaction, Trace};
use qmp_proto::{Config, Connection, Dialect, Output, Request};
use qmp_server::{Mismatch, Replay};
use serde_json::{Value, json};

use super::{TITLE, record, take, without_ends};

/// A server in memory: what it says when it was told something.
trait Server {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8>;
}

/// One that is written here.
impl<F: FnMut(&[u8]) -> Vec<u8>> Server for F {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self(bytes)
    }
}

impl Server for Replay {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        take(self, &mut sent);
        self.handle_input(bytes);
        take(self, &mut sent);
        sent
    }
}

fn real_server(bytes: &[u8]) -> Vec<u8> {
    let mut said = String::new();
    if bytes.is_empty() {
        said += "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7},\r\n \
                 \"package\": \"\"}, \"capabilities\": []}}\r\n";
    }
    for command in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        let command = command.unwrap();
        let reply = json!({ "return": { "to": command["execute"] }, "id": command["id"] });
        said += &format!("{reply}\r\n");
    }
    said.into_bytes()
}

/// A client that does what it is told, one command after the other.
fn run(
    nonce: u64,
    commands: &[(&'static str, Value)],
    server: &mut impl Server,
    tap: &mut Recorder,
) {
    let mut connection = <Connection>::new(Config::default(), nonce);
    let mut commands = commands.iter();
    let mut told = Vec::new();
    let at = Duration::from_millis(5);
    loop {
        tap.record(Direction::ToServer, &told, at);
        let said = server.hear(&told);
        tap.record(Direction::ToClient, &said, at);
        connection.handle_input(&said);
        while let Some(output) = connection.poll_output() {
            if let (Output::Ready(_) | Output::Reply(..), Some((name, arguments))) =
                (output, commands.next())
            {
                connection.execute(Request::new(*name).arguments(arguments), None).unwrap();
            }
        }
        told.clear();
        while let Some(transmit) = connection.transmit() {
            told.extend_from_slice(transmit.bytes);
            let taken = transmit.bytes.len();
            connection.advance(taken);
        }
        if told.is_empty() {
            break;
        }
    }
    tap.end(Direction::ToServer, at);
}

fn session() -> Vec<(&'static str, Value)> {
    vec![
        ("query-status", json!({})),
        ("set_password", json!({"protocol": "vnc", "password": "hunter2"})),
        ("device_del", json!({"id": "net0", "more": [1, {"x": null}]})),
    ]
}

fn recorded(redact: bool) -> Trace {
    let mut recorder = Recorder::new(1000);
    if redact {
        recorder = recorder.redacted(Redaction::default());
    }
    let mut text = recorder.header().to_owned();
    run(1, &session(), &mut real_server, &mut recorder);
    while let Some(entry) = recorder.poll_entry() {
        writeln!(text, "{entry}").unwrap();
    }
    assert_eq!(text.contains("hunter2"), !redact);
    text.parse().unwrap()
}

/// Plays a trace to a client that does this; its ids are others than those recorded.
fn play(trace: Trace, commands: &[(&'static str, Value)]) -> Result<(), Mismatch> {
    let mut replay = Replay::new(trace);
    run(2, commands, &mut replay, &mut Recorder::new(1000));
    replay.handle_eof();
    assert_eq!(replay.is_finished(), replay.mismatch().is_none());
    replay.mismatch().cloned().map_or(Ok(()), Err)
}

#[test]
fn c21_a_replay_accepts_the_session_that_was_recorded() {
    let trace = recorded(false);
    assert_eq!(trace.entries().len(), 1 + 2 * 4 + 1);
    assert_eq!(play(trace, &session()), Ok(()));
}

/// With the line, what was expected and what came; the ids are the client's own.
#[track_caller]
fn assert_mismatch(mismatch: Result<(), Mismatch>, line: usize, expected: &str, got: &str) {
    let without_id = |text: &str| match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(mut members)) => {
            members.remove("id");
            Value::Object(members).to_string()
        }
        _ => text.to_owned(),
    };
    let mismatch = mismatch.unwrap_err();
    assert_eq!(mismatch.line, line);
    assert_eq!(without_id(&mismatch.expected), expected);
    assert_eq!(without_id(&mismatch.got), got);
    let text =
        format!("line {line} of the trace: expected {}, got {}", mismatch.expected, mismatch.got);
    assert_eq!(mismatch.to_string(), text);
}

#[test]
fn c21_a_changed_session_is_a_mismatch() {
    let mut changed = session();
    changed[2].1["id"] = json!("net1");
    assert_mismatch(
        play(recorded(false), &changed),
        9,
        r#"{"arguments":{"id":"net0","more":[1,{"x":null}]},"execute":"device_del"}"#,
        r#"{"arguments":{"id":"net1","more":[1,{"x":null}]},"execute":"device_del"}"#,
    );
    let mut changed = session();
    changed.swap(0, 1);
    assert_mismatch(
        play(recorded(false), &changed),
        5,
        r#"{"arguments":{},"execute":"query-status"}"#,
        r#"{"arguments":{"password":"hunter2","protocol":"vnc"},"execute":"set_password"}"#,
    );
    let mut longer = session();
    longer.push(("stop", json!({})));
    let stop = r#"{"arguments":{},"execute":"stop"}"#;
    assert_mismatch(play(recorded(false), &longer), 11, "the end of the stream", stop);
    let shorter = &session()[..2];
    assert_mismatch(
        play(recorded(false), shorter),
        9,
        r#"{"arguments":{"id":"net0","more":[1,{"x":null}]},"execute":"device_del"}"#,
        "the end of the stream",
    );
}

#[test]
fn c21_a_replay_of_a_redacted_trace_ignores_what_was_replaced() {
    assert_eq!(play(recorded(true), &session()), Ok(()));
    let mut other = session();
    other[1].1["password"] = json!({"any": ["thing"]});
    assert_eq!(play(recorded(true), &other), Ok(()));
    assert!(play(recorded(false), &other).is_err());
    // Nothing but that.
    other[1].1["protocol"] = json!("spice");
    assert_mismatch(
        play(recorded(true), &other),
        8,
        r#"{"arguments":{"password":"(redacted)","protocol":"vnc"},"execute":"set_password"}"#,
        r#"{"arguments":{"password":{"any":["thing"]},"protocol":"spice"},"execute":"set_password"}"#,
    );
}

/// A replay of these lines, each a microsecond's.
fn replay(lines: &[&str]) -> Replay {
    let lines: String = lines.iter().map(|line| format!("0.000001 {line}\n")).collect();
    Replay::new(format!("{TITLE}{lines}").parse().unwrap())
}

/// What it sends now.
fn said(replay: &mut Replay) -> String {
    let mut sent = Vec::new();
    take(replay, &mut sent);
    sent.escape_ascii().to_string()
}

#[test]
fn c21_the_servers_lines_wait_for_the_clients() {
    let mut replay = replay(&[
        r#"<- {"a": 1}"#,
        "<- !x\\xff",
        r#"-> {"id": 1}"#,
        r#"-> {"id": 2}"#,
        r#"<- {"id": 2}"#,
        r#"<- {"id": 1}"#,
        r#"-> {"id": 3}"#,
        r#"<- {"id": 3}"#,
        r#"<- {"id": 1}"#,
        r#"<- {"id": 4, "a": {"id": 3}}"#,
        "<- --",
        "-> --",
    ]);
    assert_eq!(said(&mut replay), r#"{\"a\": 1}\r\nx\xff"#);
    replay.handle_input(br#"{"id": "b"}"#);
    assert_eq!(said(&mut replay), "");
    replay.handle_input(b"{\"id\": {\"c\"");
    replay.handle_input(b": []}}\n");
    assert_eq!(said(&mut replay), r#"{\"id\": {\"c\": []}}\r\n{\"id\": \"b\"}\r\n"#);
    replay.handle_input(br#"{"id": 5}"#);
    assert!(!replay.is_finished());
    let last = r#"{\"id\": 5}\r\n{\"id\": \"b\"}\r\n{\"id\": 4, \"a\": {\"id\": 3}}\r\n"#;
    assert_eq!(said(&mut replay), last);
    assert!(replay.is_finished());
    // The server is gone: nobody hears this.
    replay.handle_input(b"{}");
    replay.handle_eof();
    assert!(replay.is_finished());
}

/// Several commands at once, as a client sends them whose window is wide.
#[test]
fn c21_commands_may_come_before_the_replies_that_stand_before_them() {
    let mut replay =
        replay(&[r#"-> {"id":1}"#, r#"<- {"id":1}"#, r#"-> {"id":2}"#, r#"<- {"id":2}"#]);
    replay.handle_input(br#"{"id":8}{"id":9}"#);
    assert_eq!(said(&mut replay), r#"{\"id\":8}\r\n{\"id\":9}\r\n"#);
    assert!(replay.is_finished());
}

/// A recorded client that used an id again, in turn and at the same time.
#[test]
fn c21_ids_that_repeat_stand_for_one_after_the_other() {
    let lines = [
        r#"-> {"execute":"a","id":1}"#,
        r#"<- {"return":"a","id":1}"#,
        r#"-> {"execute":"b","id":1}"#,
        r#"-> {"execute":"c","id":1.0}"#,
        r#"-> {"execute":"d","id":1}"#,
        r#"<- {"return":"b","id":1}"#,
        r#"<- {"return":"c","id":1.0}"#,
        r#"<- {"return":"d","id":1}"#,
    ];
    let mut replay = replay(&lines);
    for (name, id) in [("a", "7"), ("b", "8"), ("c", "\"x\""), ("d", "9")] {
        replay.handle_input(format!("{{\"execute\":\"{name}\",\"id\":{id}}}").as_bytes());
    }
    assert_eq!(replay.mismatch(), None);
    let expected = [("a", "7"), ("b", "8"), ("c", "\"x\""), ("d", "9")]
        .map(|(name, id)| format!("{{\"return\":\"{name}\",\"id\":{id}}}\r\n"));
    let mut sent = Vec::new();
    take(&mut replay, &mut sent);
    assert_eq!(String::from_utf8(sent).unwrap(), expected.concat());
    assert!(replay.is_finished());
}

/// Their replies would be the same.
#[test]
fn c21_two_commands_in_flight_have_two_ids() {
    let lines = [
        r#"-> {"execute":"a","id":1}"#,
        r#"-> {"execute":"b","id":2}"#,
        r#"<- {"return":"a","id":1}"#,
        r#"-> {"execute":"a","id":1}"#,
    ];
    let mut replay = replay(&lines);
    replay.handle_input(br#"{"execute":"a","id":7}{"execute":"b","id":7}"#);
    let mismatch = replay.mismatch().unwrap();
    assert_eq!((mismatch.line, &*mismatch.expected), (3, r#"{"execute":"b","id":2}"#));
    let got = r#"{"execute":"b","id":7}, which has the id of another command in flight"#;
    assert_eq!(mismatch.got, got);

    // Answered, it is free again; the same recorded id may have the same new one.
    let mut replay = self::replay(&lines);
    replay.handle_input(br#"{"execute":"a","id":7}{"execute":"b","id":8}{"execute":"a","id":7}"#);
    assert_eq!(replay.mismatch(), None);
    let lines = [r#"-> {"execute":"a","id":1}"#, r#"-> {"execute":"b","id":1}"#];
    let mut replay = self::replay(&lines);
    replay.handle_input(br#"{"execute":"a","id":7}{"execute":"b","id":7}"#);
    assert!(replay.is_finished());
}

#[test]
fn c21_what_a_server_would_tell_apart_is_a_mismatch() {
    for (recorded, sent) in [
        (r#"{"execute":"a","id":1}"#, r#"{"execute":"a","id":1,"id":1}"#),
        (
            r#"{"execute":"a","arguments":{"n":18446744073709551616}}"#,
            r#"{"execute":"a","arguments":{"n":18446744073709551617}}"#,
        ),
    ] {
        let mut replay = replay(&[&format!("-> {recorded}")]);
        replay.handle_input(sent.as_bytes());
        assert_eq!(replay.mismatch().map(|mismatch| &*mismatch.got), Some(sent));
    }
}

#[track_caller]
fn assert_refused(lines: &[&str], input: &[u8], ends: bool, expected: &str) {
    let mut replay = replay(lines);
    replay.handle_input(input);
    if ends {
        replay.handle_eof();
    }
    assert_eq!(replay.mismatch().unwrap().to_string(), expected);
    assert!(!replay.is_finished());
    assert_eq!(said(&mut replay), "", "it says nothing any more");
    replay.handle_input(b"{}");
    replay.handle_eof();
    assert_eq!(replay.mismatch().unwrap().to_string(), expected, "the first one stays");
}

#[test]
fn c21_a_mismatch_says_line_expected_and_got() {
    let refused = assert_refused;
    let command = &[r#"-> {"execute":"a","id":1}"#][..];
    let line = "line 2 of the trace: expected {\"execute\":\"a\",\"id\":1}, got ";
    refused(command, b"{\"execute\":\n\"a\"}", false, &[line, r#"{"execute": "a"}"#].concat());
    refused(command, b"nonsense\r\n", false, &[line, r"!nonsense\x0d\x0a"].concat());
    refused(command, b"", true, &[line, "the end of the stream"].concat());
    refused(command, b"{\"execute\":", true, &[line, "!{\"execute\":"].concat());
    refused(
        command,
        br#"{"execute":"a","id":2}{}"#,
        false,
        "line 3 of the trace: expected the end of the trace, got {}",
    );
    refused(
        &["-> --"],
        b"{}",
        false,
        "line 2 of the trace: expected the end of the stream, got {}",
    );
    refused(&["-> {}"], b"{\"id\":1}", false, "line 2 of the trace: expected {}, got {\"id\":1}");
    refused(&["-> !x"], b"y\n", false, "line 2 of the trace: expected !x, got !y\\x0a");
    refused(&["-> !\\xff", "-> {}"], b"{}", false, "line 2 of the trace: expected !\\xff, got {}");
    // It leaves before everything was sent to it.
    let reply = ["-> {}", "<- {\"a\":1}", "<- {\"a\":2}", "-> --"];
    refused(
        &reply,
        b"{}",
        true,
        "line 3 of the trace: expected {\"a\":1}, got the end of the stream",
    );
    let end = ["<- {\"a\":1}", "<- --"];
    refused(&end, b"", true, "line 2 of the trace: expected {\"a\":1}, got the end of the stream");
}

/// As QEMU does, which answers what came before the end.
#[test]
fn c21_what_the_server_says_behind_the_clients_end_is_sent() {
    let lines = [
        r#"-> {"execute":"a","id":1}"#,
        "-> --",
        r#"<- {"return":{},"id":1}"#,
        r#"<- {"event":"SHUTDOWN"}"#,
        "<- --",
    ];
    let ended = || {
        let mut replay = replay(&lines);
        replay.handle_input(br#"{"execute":"a","id":7}"#);
        assert_eq!(said(&mut replay), "");
        assert!(!replay.is_finished());
        replay.handle_eof();
        replay
    };
    let mut replay = ended();
    assert!(!replay.is_finished());
    replay.handle_eof();
    let rest = r#"{\"return\":{},\"id\":7}\r\n{\"event\":\"SHUTDOWN\"}\r\n"#;
    assert_eq!(said(&mut replay), rest);
    assert!(replay.is_finished());
    // A client that is gone hears none of it.
    let mut replay = ended();
    replay.handle_failure();
    assert!(replay.is_finished());
    assert_eq!(replay.transmit(), None);
    let mut replay = self::replay(&lines);
    replay.handle_failure();
    assert_eq!(replay.mismatch().map(|mismatch| mismatch.line), Some(2));
    assert!(!replay.is_finished());
}

/// Comments and empty lines count.
#[test]
fn c21_lines_are_counted_as_in_the_text() {
    let text = format!("{TITLE}\n# note\n0.000001 <- {{}}\n\n0.000001 -> {{}}\n");
    let mut replay = Replay::new(text.parse().unwrap());
    replay.handle_input(b"{\"a\":1}");
    assert_eq!(replay.mismatch().map(|mismatch| mismatch.line), Some(6));
}

/// Of a trace that was never a text, as in the text that it would be.
#[test]
fn c21_lines_are_counted_without_a_text_too() {
    let entry = Entry::new(Duration::ZERO, Direction::ToServer, b"{}");
    for (redacted, line) in [(false, 3), (true, 4)] {
        let mut trace = Trace::new(redacted);
        trace.push(entry.clone());
        trace.push(entry.clone());
        let mut replay = Replay::new(trace);
        replay.handle_input(b"{}{\"a\":1}");
        assert_eq!(replay.mismatch().map(|mismatch| mismatch.line), Some(line));
    }
}

/// What was no JSON was replaced whole, and equals all that is none.
#[test]
fn c21_replaced_bytes_equal_all_bytes() {
    let outcome = |redacted: bool, input: &[u8]| {
        let mut trace = Trace::new(redacted);
        trace.push(Entry::new(Duration::ZERO, Direction::ToServer, b"(redacted)"));
        let mut replay = Replay::new(trace);
        replay.handle_input(input);
        replay.is_finished()
    };
    assert!(outcome(true, b"hunter2\n"));
    assert!(!outcome(true, b"{}"));
    assert!(!outcome(false, b"hunter2\n"));
}

/// Deeper than any parser of values goes, on a test's stack of 2 MiB.
#[test]
fn c21_depth_is_no_obstacle() {
    let nested = |inner: &str| {
        let (open, close) = ("{\"a\":[".repeat(20_000), "]}".repeat(20_000));
        [&open, inner, &close].concat()
    };
    let pieces = [nested("1"), nested("{\"password\":\"hunter2\"}")];
    let pieces = pieces.iter().map(|piece| (Direction::ToServer, piece.as_bytes()));
    let recorder = Recorder::new(1 << 20).redacted(Redaction::default());
    let trace: Trace = record(recorder, pieces).parse().unwrap();
    let mut replay = Replay::new(without_ends(trace));
    replay.handle_input(nested("1 ").as_bytes());
    replay.handle_input(nested("{\"password\":[]}").as_bytes());
    assert!(replay.is_finished(), "{:?}", replay.mismatch().map(|mismatch| mismatch.line));
}

/// A session with a guest agent, in which half a reply of another client's comes first.
#[test]
fn c23_a_session_with_a_guest_agent_is_recorded_and_replayed() {
    fn agent(bytes: &[u8], echoes: bool) -> Vec<u8> {
        let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0xFF).collect();
        let mut said = Vec::new();
        for command in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
            let command = command.unwrap();
            let mut value = &command["execute"];
            if value == "guest-sync-delimited" {
                value = &command["arguments"]["id"];
                said.extend_from_slice(b"{\"return\": \"half a rep\xff");
            }
            let id = command.get("id").filter(|_| echoes);
            let id = id.map(|id| format!(", \"id\": {id}")).unwrap_or_default();
            said.extend_from_slice(format!("{{\"return\": {value}{id}}}\n").as_bytes());
        }
        said
    }
    let session = |nonce: u64, server: &mut dyn FnMut(&[u8]) -> Vec<u8>, tap: &mut Recorder| {
        let mut config = Config::default();
        config.dialect = Dialect::GuestAgent;
        let mut connection = <Connection>::new(config, nonce);
        for name in ["guest-ping", "guest-slow", "guest-info"] {
            connection.execute(Request::new(name), None).unwrap();
        }
        let mut told = Vec::new();
        while told.len() < 4 {
            let sent = connection.transmit().map(|transmit| transmit.bytes.to_vec()).unwrap();
            connection.advance(sent.len());
            tap.record(Direction::ToServer, &sent, Duration::ZERO);
            let said = server(&sent);
            tap.record(Direction::ToClient, &said, Duration::ZERO);
            connection.handle_input(&said);
            told.extend(std::iter::from_fn(|| connection.poll_output()));
        }
        tap.end(Direction::ToServer, Duration::ZERO);
        let values = told.iter().filter_map(|output| match output {
            Output::Reply(_, Ok(raw)) => Some(raw.as_str().unwrap().to_owned()),
            _ => None,
        });
        values.collect::<Vec<_>>()
    };
    let new = || Recorder::new(1000).dialect(Dialect::GuestAgent);
    let redacted = || new().redacted(Redaction::default().except("return"));
    for (mut tap, echoes, early) in [
        (new(), false, false),
        (redacted(), false, false),
        (new(), true, false),
        (redacted(), true, false),
        // As clients before there were ids recorded it.
        (new(), false, true),
    ] {
        let values = session(1, &mut |bytes| agent(bytes, echoes), &mut tap);
        let mut text = tap.header().to_owned();
        while let Some(entry) = tap.poll_entry() {
            let line = entry.to_string();
            let question = early && line.contains("guest-sync-delimited");
            let line =
                line.split_once("},\"id\"").filter(|_| question).map_or(&*line, |(line, _)| line);
            writeln!(text, "{line}{}", if question { "}}" } else { "" }).unwrap();
        }
        let info = if echoes { "\"guest-info\", \"id\": " } else { "\"guest-info\"}\n" };
        let expected = text.contains(" <- !\\xff\n") && text.contains(info);
        assert!(expected && text.contains(" -> !\\xff\n"), "{text}");
        assert_eq!(
            text.matches("\"id\":").count(),
            if early {
                1
            } else if echoes {
                9
            } else {
                2
            },
            "{text}"
        );
        let mut replay = Replay::new(text.parse().unwrap());
        let again = session(2, &mut |bytes| replay.hear(bytes), &mut new());
        assert_eq!(again, values);
        replay.handle_eof();
        assert!(replay.is_finished(), "{:?}", replay.mismatch());
    }
}

fn replayed(trace: &str, stream: &[u8]) -> Option<Mismatch> {
    let mut replay = Replay::new(trace.parse().unwrap());
    replay.handle_input(stream);
    take(&mut replay, &mut Vec::new());
    replay.handle_eof();
    replay.mismatch().cloned()
}

/// Recorders may have written each short line, or have joined them.
#[test]
fn c21_short_lines_are_replayed_however_they_were_recorded() {
    let stream = "a\n".repeat(500);
    let one_by_one =
        TITLE.to_owned() + &r"0.000001 -> !a\x0a LINE".replace(" LINE", "\n").repeat(500);
    assert_eq!(replayed(&one_by_one, stream.as_bytes()), None);
    assert_eq!(replayed(&one_by_one, &stream.as_bytes()[2..]).unwrap().line, 501);

    let stream = stream.repeat(2) + "{\"execute\": \"stop\", \"id\": 1}\n{\"execute\": \"cont\"}\n";
    for recorder in [Recorder::new(1 << 20), Recorder::new(1 << 20).redacted(Redaction::default())]
    {
        let joined = record(recorder, [(Direction::ToServer, stream.as_bytes())]);
        assert!(joined.lines().count() < 600);
        assert_eq!(replayed(&joined, stream.as_bytes()), None);
    }
    let joined = record(Recorder::new(1 << 20), [(Direction::ToServer, stream.as_bytes())]);
    let other = stream.replace("a\n{", "b\n{");
    assert!(replayed(&joined, other.as_bytes()).is_some());
}

/// A message of twelve bytes or less is joined too, with the line end in it.
#[test]
fn c21_a_joined_message_is_replayed_with_its_line_ends() {
    let stream = "a\n".repeat(5000) + "{\"a\":\n1}\n" + &"b\n".repeat(20);
    let joined = record(Recorder::new(1 << 20), [(Direction::ToServer, stream.as_bytes())]);
    assert!(joined.contains(r#"{"a":\x0a1}"#));
    assert_eq!(replayed(&joined, stream.as_bytes()), None);
}
