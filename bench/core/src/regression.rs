//! Instruction counts that are not to grow unnoticed.
//!
//! A file has a line for each workload: its words and the most instructions that a round of it may
//! take, 10 % above what it took when the file was written. The counts depend on the compiler and on
//! what the processor offers to memchr and memcpy, a little; write the file anew where that changes.

use std::path::Path;
use std::{fs, io};

use crate::callgrind::Callgrind;
use crate::workload::{What, Workload};

/// What is watched.
const WATCHED: [Workload; 8] = [
    Workload::ours(What::Small),
    Workload::ours(What::Schema),
    Workload::ours(What::String(1 << 20)),
    Workload::ours(What::Pretty),
    Workload { chunk: 1, ..Workload::ours(What::Small) },
    Workload { chunk: 64, ..Workload::ours(What::List(256 << 10)) },
    Workload::ours(What::Command),
    Workload::ours(What::PreparedCommand),
];

const HEADER: &str = "\
# The most instructions that a round of each workload may take: 10 % above what it took when this was written by
# `bench-core keep`. `make bench-check` compares.
";

/// Compares with the file; shows what each workload takes, and whether all keep within their limits.
///
/// # Errors
///
/// Where a workload fails, or has no line in the file.
pub fn check(file: &Path) -> io::Result<bool> {
    let text = fs::read_to_string(file)?;
    let callgrind = Callgrind::new()?;
    let mut kept = true;
    for workload in WATCHED {
        let (key, limit) = (key(workload), limit(&text, workload)?);
        let count = count(&callgrind, workload)?;
        let within = count <= limit;
        let verdict = if within { "ok" } else { "TOO MANY" };
        println!("{key:32} {count:>12} of at most {limit:>12}  {verdict}");
        kept &= within;
    }
    Ok(kept)
}

/// Writes the file anew.
///
/// # Errors
///
/// Where a workload fails, or the file cannot be written.
pub fn keep(file: &Path) -> io::Result<()> {
    let callgrind = Callgrind::new()?;
    let mut text = HEADER.to_owned();
    for workload in WATCHED {
        let limit = count(&callgrind, workload)? * 11 / 10;
        text.push_str(&format!("{} {limit}\n", key(workload)));
    }
    fs::write(file, text)
}

fn count(callgrind: &Callgrind, workload: Workload) -> io::Result<u64> {
    let rounds = match workload.what {
        What::Command | What::PreparedCommand => 100,
        _ => 1,
    };
    Ok(callgrind.count(workload, rounds)?.round() as u64)
}

fn key(workload: Workload) -> String {
    let [_, what, chunk] = workload.words();
    format!("{what} by {chunk}")
}

fn limit(text: &str, workload: Workload) -> io::Result<u64> {
    let key = key(workload);
    let rest = text.lines().find_map(|line| line.strip_prefix(&key)?.strip_prefix(' '));
    rest.and_then(|limit| limit.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no limit for {key}: write the file anew")))
}
