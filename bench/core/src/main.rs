//! `bench-core`: the core's rows, as JSON lines, to standard output.
//! `bench-core work WHO WHAT CHUNK ROUNDS`: one workload, for callgrind.
//! `bench-core check FILE` and `bench-core keep FILE`: the regression set's limits, compared or written.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use bench_core::workload::Workload;
use bench_core::{regression, rows};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => rows::count_all(&mut |row| {
            serde_json::to_writer(io::stdout(), row)?;
            writeln!(io::stdout())
        })
        .map(|()| true),
        ["work", who, what, chunk, rounds] => work([who, what, chunk], rounds),
        ["check", file] => regression::check(Path::new(file)),
        ["keep", file] => regression::keep(Path::new(file)).map(|()| true),
        _ => Err(io::Error::other(
            "usage: bench-core [work WHO WHAT CHUNK ROUNDS | check FILE | keep FILE]",
        )),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-core: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(workload: [&str; 3], rounds: &str) -> io::Result<bool> {
    let workload = Workload::from_words(workload);
    let (Some(workload), Ok(rounds)) = (workload, rounds.parse()) else {
        return Err(io::Error::other("no such workload"));
    };
    workload.run(rounds);
    Ok(true)
}
