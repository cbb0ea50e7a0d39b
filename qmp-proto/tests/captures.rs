//! The recorded sessions of real servers.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use qmp_proto::{CloseReason, Config, Connection, NotQmp, Output, Phase, Raw};

use support::Capture;
use support::peer::GREETING;

/// A session up to this size is split at every point, one at a time.
const SMALL: usize = 4096;

#[test]
fn the_index_knows_each_capture_and_its_size() {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(support::CAPTURES).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let name = file.strip_suffix(".bin").or_else(|| file.strip_suffix(".bin.gz"));
        // What the client sent has no messages to count.
        files.extend(name.filter(|name| !name.ends_with(".sent")).map(str::to_owned));
    }
    let index = support::index();
    assert_eq!(files, index.keys().cloned().collect());

    for capture in support::captures() {
        assert_eq!(capture.bytes.len(), index[&capture.name].bytes, "{}", capture.name);
    }
}

#[test]
fn a_capture_is_found_by_its_name() {
    let capture = support::capture("greeting-qemu7");
    assert_eq!(capture.name, "greeting-qemu7");
    assert!(capture.bytes.starts_with(br#"{"QMP": "#));
    assert_eq!(capture.counts["greeting"], 1);
}

/// How the captures end that are no QMP session, or more than one. The others end open.
fn ending(name: &str) -> Option<CloseReason> {
    Some(match name {
        "hmp-monitor-qemu7" => CloseReason::NotQmp(NotQmp::HumanMonitor),
        "telnet-qemu7" => CloseReason::NotQmp(NotQmp::Telnet),
        "websocket-qemu7" => CloseReason::NotQmp(NotQmp::Http),
        // The guest agent does not greet, but a reply before the greeting may be a previous client's.
        "qga-qga7" | "qga-partial-qga7" => CloseReason::Eof { mid_message: false },
        _ => return None,
    })
}

/// All that a connection tells of some bytes: of each output everything, payloads included.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    greetings: u64,
    told: Vec<String>,
}

fn see<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut connection = <Connection>::new(Config::default(), 7);
    let mut seen = Seen::default();
    for chunk in chunks {
        connection.handle_input(chunk);
        seen.told.extend(std::iter::from_fn(|| connection.poll_output()).map(|o| describe(&o)));
    }
    // Each greeting is answered, as none of the replies is ours.
    let sent = connection.transmit().map_or(&b""[..], |transmit| transmit.bytes);
    seen.greetings = sent.iter().filter(|byte| **byte == b'\n').count() as u64;
    seen
}

fn describe(output: &Output) -> String {
    let text = |raw: &Raw| raw.as_bytes().escape_ascii().to_string();
    match output {
        Output::Event(event) => {
            let data = event.data().as_ref().map(text);
            format!("event {} {data:?} {:?}", event.name(), event.timestamp().expect("a timestamp"))
        }
        Output::Stray(stray) => {
            let id = stray.id.as_ref().map(text);
            match &stray.outcome {
                Ok(raw) => format!("return {} {id:?}", text(raw)),
                Err(error) => format!("error {error} {id:?}"),
            }
        }
        Output::Closed(reason) => format!("closed {reason:?}"),
        other => panic!("without a reply of ours: {other:?}"),
    }
}

/// How many there are of each kind, and of each event.
fn count(seen: &Seen) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut kinds, mut events) = (BTreeMap::new(), BTreeMap::new());
    for told in &seen.told {
        let mut words = told.split(' ').map(str::to_owned);
        let kind = words.next().unwrap();
        if kind == "event" {
            *events.entry(words.next().unwrap()).or_default() += 1;
        }
        *kinds.entry(kind).or_default() += 1;
    }
    if seen.greetings > 0 {
        kinds.insert("greeting".to_owned(), seen.greetings);
    }
    (kinds, events)
}

/// The golden counts, as far as a connection sees the messages: it takes an id that is no JSON as
/// it comes, and passes over what is between messages.
fn golden(capture: &Capture) -> BTreeMap<String, u64> {
    let mut counts = capture.counts.clone();
    let invalid = counts.remove("invalid_json").unwrap_or_default();
    *counts.entry("return".to_owned()).or_default() += invalid;
    counts.remove("junk");
    counts.retain(|_, count| *count > 0);
    counts
}

#[test]
fn c2_every_message_of_every_session_is_found() {
    for capture in support::captures().iter().filter(|capture| ending(&capture.name).is_none()) {
        let seen = see([capture.bytes.as_slice()]);
        assert_eq!(count(&seen), (golden(capture), capture.events.clone()), "{}", capture.name);
    }
}

/// None of the ids is ours: nobody is given another's reply, the handshake included.
#[test]
fn c6_the_replies_of_other_sessions_are_strays() {
    for capture in support::captures().iter().filter(|capture| ending(&capture.name).is_none()) {
        let mut connection = <Connection>::new(Config::default(), 7);
        connection.handle_input(&capture.bytes);
        let of = |kind| capture.counts.get(kind).copied().unwrap_or_default();
        let replies = of("return") + of("error") + of("invalid_json");
        assert_eq!(connection.strays(), replies, "{}", capture.name);
        assert_eq!(connection.phase(), Phase::Negotiating, "{}", capture.name);
    }
}

#[test]
fn c7_what_is_no_qmp_session_is_named() {
    for capture in support::captures() {
        let mut connection = <Connection>::new(Config::default(), 7);
        connection.handle_input(&capture.bytes);
        if capture.name.starts_with("qga-") {
            assert_eq!(connection.close_reason(), None, "{}", capture.name);
            connection.handle_eof();
        }
        assert_eq!(connection.close_reason(), ending(&capture.name).as_ref(), "{}", capture.name);
    }
}

/// The guest agent's messages, with a greeting put before them.
#[test]
fn c2_line_ends_and_0xff_between_messages_do_not_matter() {
    for name in ["qga-qga7", "qga-partial-qga7"] {
        let capture = support::capture(name);
        let seen = see([GREETING.as_bytes(), &capture.bytes]);
        let (mut counts, _) = count(&seen);
        assert_eq!(counts.remove("greeting"), Some(1));
        assert_eq!(counts, golden(&capture), "{name}");
        assert!(capture.bytes.contains(&0xFF) && !capture.bytes.contains(&b'\r'));
    }
}

#[test]
fn c5_each_of_two_sessions_in_a_row_is_read() {
    let capture = support::capture("strings-qemu7");
    let second = capture.bytes.windows(7).rposition(|bytes| bytes == b"{\"QMP\":").unwrap();
    let (first, second) = capture.bytes.split_at(second);
    let mut sum: BTreeMap<String, u64> = BTreeMap::new();
    for session in [first, second] {
        for (kind, number) in count(&see([session])).0 {
            *sum.entry(kind).or_default() += number;
        }
    }
    assert_eq!(sum, golden(&capture));
}

/// One split a run.
#[test]
fn c1_a_small_session_split_in_two_anywhere_is_the_same() {
    for capture in support::captures().iter().filter(|capture| capture.bytes.len() <= SMALL) {
        let whole = see([capture.bytes.as_slice()]);
        for at in 0..=capture.bytes.len() {
            let (start, rest) = capture.bytes.split_at(at);
            assert!(see([start, rest]) == whole, "{} at {at}", capture.name);
        }
    }
}

/// Every point is split at, but several far ones at a time: one at a time would take minutes.
#[test]
fn c1_a_larger_session_split_anywhere_is_the_same() {
    const APART: usize = 512;
    let sizes = SMALL + 1..=16 << 10;
    for capture in support::captures().iter().filter(|capture| sizes.contains(&capture.bytes.len()))
    {
        let whole = see([capture.bytes.as_slice()]);
        for first in 0..APART.min(capture.bytes.len()) {
            let (start, rest) = capture.bytes.split_at(first);
            let chunks = [start].into_iter().chain(rest.chunks(APART));
            assert!(see(chunks) == whole, "{} at {first}", capture.name);
        }
    }
}

#[test]
fn c1_a_session_byte_by_byte_is_the_same() {
    for capture in support::captures() {
        let whole = see([capture.bytes.as_slice()]);
        assert!(see(capture.bytes.chunks(1)) == whole, "{}", capture.name);
    }
}

#[test]
fn c1_a_session_in_random_chunks_is_the_same() {
    for capture in support::captures() {
        let whole = see([capture.bytes.as_slice()]);
        for seed in 1..=8 {
            let chunks = support::random_chunks(&capture.bytes, 1 << (seed + 3), seed);
            assert!(see(chunks) == whole, "{} with seed {seed}", capture.name);
        }
    }
}
