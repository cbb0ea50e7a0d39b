//! A trace reads back as it was written, and a recording has all that went by in it.

use std::time::Duration;

use qmp_proto::Dialect;
use qmp_proto::trace::{Direction, Entry, Payload, Recorder, Redaction, Trace};
use qmp_server::Replay;

const AT: Duration = Duration::from_micros(1_000_002);

/// The bytes are a trace's text, and what goes by and is recorded. The first one also chooses how
/// large a recorded message may be.
pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        check_text(text);
    }
    let limits = [1 << 20, 1, 7, 40];
    let limit = limits[data.first().map_or(0, |byte| usize::from(*byte) % limits.len())];
    check_recording(data, limit);
}

fn check_text(text: &str) {
    match text.parse::<Trace>() {
        Ok(trace) => {
            reads_back(&trace);
            let redacted = trace.clone().redacted(&Redaction::default());
            reads_back(&redacted);
            assert_eq!(
                redacted.clone().redacted(&Redaction::default()),
                redacted,
                "redacted twice"
            );
            play(trace);
        }
        Err(error) => assert!((1..=text.lines().count().max(1)).contains(&error.line), "{error}"),
    }
}

fn reads_back(trace: &Trace) {
    let written = trace.to_string();
    assert_eq!(written.parse::<Trace>().as_ref(), Ok(trace), "{written}");
    assert_eq!(written.parse::<Trace>().unwrap().to_string(), written);
}

/// The server that it was finds nothing to object to in the client that it had: one that sends
/// nothing but messages.
fn play(trace: Trace) {
    let mut replay = Replay::new(trace.clone());
    let of_client = |entry: &&Entry| entry.direction() == Direction::ToServer;
    let said: Vec<&Payload> =
        trace.entries().iter().filter(of_client).map(Entry::payload).collect();
    take_all(&mut replay);
    for payload in &said {
        replay.handle_input(payload.to_string().as_bytes());
        take_all(&mut replay);
    }
    let server_left = trace.entries().iter().any(|entry| *entry.payload() == Payload::End);
    replay.handle_eof();
    if !server_left && said.iter().all(|payload| matches!(payload, Payload::Json(_))) {
        assert_eq!(replay.mismatch().map(ToString::to_string), None);
        assert!(replay.is_finished());
    }
}

fn take_all(replay: &mut Replay) {
    while let Some(bytes) = replay.transmit() {
        let sent = bytes.len();
        assert!(sent > 0, "an empty transmit");
        replay.advance(sent);
    }
}

fn check_recording(bytes: &[u8], limit: usize) {
    for dialect in [Dialect::Qmp, Dialect::GuestAgent] {
        check_recording_with(|| Recorder::new(limit).dialect(dialect), bytes);
    }
}

fn check_recording_with(new: impl Fn() -> Recorder, bytes: &[u8]) {
    let whole = record(new(), bytes, usize::MAX);
    for chunk in [1, 3, 64] {
        assert_eq!(record(new(), bytes, chunk), whole, "in pieces of {chunk}");
    }
    let mut trace = Trace::new(false);
    whole.iter().for_each(|entry| trace.push(entry.clone()));
    reads_back(&trace);
    let recorded: Vec<u8> = whole.iter().flat_map(recorded_bytes).collect();
    assert!(without_space(&recorded).eq(without_space(bytes)), "something is lost");
    let redaction = Redaction::default();
    let redacted = record(new().redacted(redaction.clone()), bytes, 5);
    let expected: Vec<Entry> = whole.into_iter().map(|entry| entry.redacted(&redaction)).collect();
    assert_eq!(redacted, expected, "redacted while it is recorded");
}

fn record(mut recorder: Recorder, bytes: &[u8], chunk: usize) -> Vec<Entry> {
    bytes.chunks(chunk).for_each(|chunk| recorder.record(Direction::ToClient, chunk, AT));
    recorder.end(Direction::ToClient, AT);
    std::iter::from_fn(|| recorder.poll_entry()).collect()
}

fn recorded_bytes(entry: &Entry) -> Vec<u8> {
    match entry.payload() {
        Payload::Json(json) => json.clone().into_bytes(),
        Payload::Bytes(bytes) => bytes.clone(),
        _ => Vec::new(),
    }
}

/// White space between messages is not recorded, and line ends in them become spaces.
fn without_space(bytes: &[u8]) -> impl Iterator<Item = &u8> {
    bytes.iter().filter(|byte| !byte.is_ascii_whitespace())
}
