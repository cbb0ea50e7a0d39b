//! The tables in `src/connection/messages.md`: each cell is played on a connection, so the tables cannot drift.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

#[path = "phases/agent.rs"]
mod agent;
#[path = "phases/monitor.rs"]
mod monitor;
mod support;

use qmp_proto::{CloseReason, Phase};

use support::peer::{Peer, Told};

/// How many times the same message comes.
const TIMES: [usize; 3] = [1, 2, 5];

/// Objects that are not messages of QMP.
const OTHER_OBJECTS: [&str; 6] = [
    r#"{"jsonrpc": "2.0"}"#,
    "{}",
    r#"{"QMP": null}"#,
    r#"{"event": 5}"#,
    r#"{"error": "no"}"#,
    r#"{"return": {}, "event": "A"}"#,
];

/// One cell of a table.
struct Cell {
    message: String,
    phase: String,
    outcome: String,
}

/// The cells of the table that follows this line.
fn cells(title: &str) -> Vec<Cell> {
    let words = |line: &str| -> Vec<String> {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines =
        include_str!("../src/connection/messages.md").lines().skip_while(|line| *line != title);
    let head = lines.find(|line| line.starts_with("| message |")).expect("a table");
    let phases: Vec<String> = words(head)[1..].iter().map(|name| name.replace('`', "")).collect();
    let mut cells = Vec::new();
    for row in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let row = words(row);
        assert_eq!(row.len(), phases.len() + 1, "{row:?}");
        for (phase, outcome) in phases.iter().zip(&row[1..]) {
            let (message, phase, outcome) = (row[0].clone(), phase.clone(), outcome.clone());
            cells.push(Cell { message, phase, outcome });
        }
    }
    cells
}

/// A table has a row for each of these messages and no others, and a column for each phase.
fn check_completeness(cells: &[Cell], messages: &[&str], phases: &[&str]) {
    let expected =
        messages.iter().flat_map(|message| phases.iter().map(move |phase| (*message, *phase)));
    let found: Vec<_> = cells.iter().map(|cell| (&*cell.message, &*cell.phase)).collect();
    assert_eq!(found, expected.collect::<Vec<_>>());
}

/// Lets the same bytes come so many times, whole or byte by byte.
fn feed(peer: &mut Peer, bytes: &[u8], times: usize, whole: bool) {
    for _ in 0..times {
        let chunk = if whole { bytes.len() } else { 1 };
        bytes.chunks(chunk).for_each(|chunk| peer.feed(chunk));
    }
}

/// The connection has ended with this reason, after ending its commands.
#[track_caller]
fn check_end(peer: &mut Peer, is_expected: impl FnOnce(&CloseReason) -> bool, cell: &str) {
    let told = peer.told();
    let Some((Told::Closed(reason), before)) = told.split_last() else {
        panic!("{cell}: {told:?}");
    };
    assert!(is_expected(reason), "{cell}: {reason:?}");
    let ends_commands = |told: &Told| matches!(told, Told::NotSent(_) | Told::Unanswered(_));
    assert!(before.iter().all(ends_commands), "{cell}: {before:?}");
    assert_eq!(peer.connection.phase(), Phase::Closed, "{cell}");
}
