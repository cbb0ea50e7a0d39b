//! What is counted by a program that watches: instructions and system calls.
//!
//! Two runs, one of which works twice as often: their difference is what the work takes, without
//! starting and connecting.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::{fs, io};

use crate::clients::Client;
use crate::failed;
use crate::worker::Start;

/// Instructions for one time, all threads of the client together.
pub fn instructions(
    client: Client,
    scenario: &str,
    socket: &Path,
    count: usize,
) -> io::Result<Option<f64>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("out");
    let callgrind = ["valgrind", "--tool=callgrind", "--quiet"].map(OsString::from).into_iter();
    let out = format!("--callgrind-out-file={}", file.display());
    let callgrind: Vec<_> = callgrind.chain([out.into()]).collect();
    let total = |count| -> io::Result<Option<f64>> {
        if !run(client, scenario, socket, &callgrind, count)? {
            return Ok(None);
        }
        let text = fs::read_to_string(&file)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.and_then(|total| total.trim().parse().ok());
        total.map(Some).ok_or_else(|| failed("callgrind told no total"))
    };
    let (Some(once), Some(twice)) = (total(count)?, total(2 * count)?) else { return Ok(None) };
    Ok(Some((twice - once) / count as f64))
}

/// System calls for one time, by name.
pub fn system_calls(
    client: Client,
    scenario: &str,
    socket: &Path,
    count: usize,
) -> io::Result<Option<BTreeMap<String, f64>>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("out");
    let strace = ["strace", "-f", "-c", "-o"].map(OsString::from).into_iter();
    let strace: Vec<_> = strace.chain([file.clone().into()]).collect();
    let calls = |count| -> io::Result<Option<BTreeMap<String, f64>>> {
        let worked = run(client, scenario, socket, &strace, count)?;
        Ok(worked.then(|| fs::read_to_string(&file)).transpose()?.map(|text| summary(&text)))
    };
    let (Some(once), Some(mut calls)) = (calls(count)?, calls(2 * count)?) else { return Ok(None) };
    for (name, calls) in &mut calls {
        *calls = (*calls - once.get(name).unwrap_or(&0.0)) / count as f64;
    }
    calls.retain(|_, calls| *calls >= 0.005);
    Ok(Some(calls))
}

/// Whether the client has such a scenario.
fn run(
    client: Client,
    scenario: &str,
    socket: &Path,
    watch: &[OsString],
    count: usize,
) -> io::Result<bool> {
    let start = Start::new(scenario, socket).watched_by(watch.to_vec());
    let Some(mut worker) = start.start(client)? else { return Ok(false) };
    worker.work(count)?;
    worker.end()?;
    Ok(true)
}

/// Reads strace's summary: share, seconds, microseconds for a call, calls, errors if any, name.
fn summary(text: &str) -> BTreeMap<String, f64> {
    let calls = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = *words.last()?;
        Some((name.to_owned(), words.get(3)?.parse().ok()?))
    });
    calls.filter(|(name, _)| name != "total").collect()
}
