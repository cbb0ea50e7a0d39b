//! C21: what a replay needs to compare a large message. A file of its own, as it looks at the whole
//! process.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fs;
use std::time::Duration;

use qmp_proto::trace::{Direction, Entry, Trace};
use qmp_server::Replay;

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn c21_a_replay_compares_with_a_small_multiple_of_the_message() {
    const ITEMS: usize = 1 << 17;
    let message = |item: &str| ["{\"a\":[", &item.repeat(ITEMS), "0]}"].concat();
    let mut trace = Trace::new(false);
    let recorded = message(r#"{"a":1,"b":[]},"#);
    trace.push(Entry::new(Duration::ZERO, Direction::ToServer, recorded.as_bytes()));
    let sent = message(r#"{"b":[],"a":1},"#);
    let mut replay = Replay::new(trace);
    let before = status("VmRSS");
    sent.as_bytes().chunks(1 << 14).for_each(|piece| replay.handle_input(piece));
    assert!(replay.is_finished());
    let grown = status("VmHWM").saturating_sub(before);
    assert!(grown < 4 * sent.len(), "{grown} bytes more for {}", sent.len());
}
