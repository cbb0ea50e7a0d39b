//! `bench-report FOLDER RESULTS...`: writes `REPORT.md` and `plots/` into the folder, of results as JSON
//! lines, in the order in which they are named. `FOLDER/reasons.txt` says why a goal is not reached.
#![forbid(unsafe_code)]

mod axis;
mod chart;
mod machine;
mod plots;
mod reasons;
mod results;
mod short;
mod table;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use crate::reasons::Reasons;
use crate::results::Results;

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    let written = match &words[..] {
        [folder, results @ ..] => write(Path::new(folder), results),
        [] => Err(io::Error::other("usage: bench-report FOLDER RESULTS...")),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path, files: &[String]) -> io::Result<()> {
    let results = Results::read(files)?;
    let reasons = Reasons::read(&folder.join("reasons.txt"))?;
    let plots = plots::write(&results, &folder.join("plots"))?;
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `bench/run`; [README.md](README.md) says what is measured and how.\n\n",
    );
    text += &machine::describe();
    text += &short::table(&results);
    text += &table::summary(&results, &reasons);
    text += &plots;
    text += &table::all(&results);
    fs::write(folder.join("REPORT.md"), text)
}
