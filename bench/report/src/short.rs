//! The few lines that the README of the repository has too.

use std::fmt::Write;

use crate::results::{Figure, Results, number};

/// What they are called there, and their rows.
const ROWS: [(&str, &str); 7] = [
    ("a command, server on the same CPU", "round trip, one CPU"),
    ("the same with qemu-storage-daemon", "round trip, qemu-storage-daemon"),
    ("each of many commands, 64 outstanding", "64 outstanding"),
    ("an event in a flood", "events, each"),
    ("a reply of 16 MiB, decoded", "16 MiB reply, typed"),
    ("memory of that", "16 MiB reply, typed, peak of memory"),
    ("heap of an idle connection", "heap of an idle connection, of 1,000"),
];

/// A table of them.
pub fn table(results: &Results) -> String {
    let mut text = String::from(
        "## In short\n\n| | `qmp-blocking` | `qmp-smol` | the least possible | the best other client |\n\
         |---|---|---|---|---|\n",
    );
    for (name, row) in ROWS {
        let of = |what: &str| results.of(row).find(|figure| figure.what == what);
        let cells = [
            of("ours blocking").map(value),
            of("ours smol").map(value),
            results.best(row, "limit").map(value),
            results
                .best(row, "peer")
                .map(|peer| format!("{} ({})", value(peer), peer.what.trim_start_matches("peer "))),
        ];
        let cells = cells.map(Option::unwrap_or_default);
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text + "\n"
}

fn value(figure: &Figure) -> String {
    format!("{} {}", number(figure.value), figure.unit.trim_end_matches(" per command"))
}
