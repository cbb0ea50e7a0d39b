//! `bench-measure [ROW...]`: has the clients work beside each other, and writes the figures to standard
//! output, one JSON object a line. Without names it takes all rows.
#![forbid(unsafe_code)]

mod clients;
mod count;
mod place;
mod results;
mod rounds;
mod rows;
mod server;
mod worker;

use std::io;
use std::process::ExitCode;

use crate::rows::ROWS;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| ROWS.iter().all(|(row, _)| row != name)) {
        let names: Vec<_> = ROWS.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no row {unknown}; there are {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let mut status = ExitCode::SUCCESS;
    for (name, measure) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|row| row == name) {
            if let Err(error) = measure() {
                eprintln!("bench: {name}: {error}");
                status = ExitCode::FAILURE;
            }
        }
    }
    status
}

/// An error with a text.
fn failed(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}
