//! The rows of the table, by subject.

mod awaited;
mod connecting;
mod crowd;
mod curves;
mod events;
mod idle;
mod instructions;
mod large;
mod minimal;
mod outstanding;
mod round_trip;
mod system_calls;

use std::io;

use crate::clients::Client;
use crate::worker::{Start, Worker};

/// Takes the figures of a subject.
pub type Measure = fn() -> io::Result<()>;

/// All subjects, by name.
pub const ROWS: &[(&str, Measure)] = &[
    ("instructions", instructions::measure),
    ("system-calls", system_calls::measure),
    ("round-trip", round_trip::measure),
    ("awaited", awaited::measure),
    ("outstanding", outstanding::measure),
    ("events", events::measure),
    ("large", large::measure),
    ("idle", idle::measure),
    ("crowd", crowd::measure),
    ("connecting", connecting::measure),
    ("curves", curves::measure),
    ("minimal", minimal::measure),
];

/// Starts those that have the scenario.
fn start(clients: &[Client], start: &Start<'_>) -> io::Result<Vec<Worker>> {
    clients.iter().filter_map(|client| start.start(*client).transpose()).collect()
}

/// Says what was left out, and goes on.
pub fn left_out(client: Client, error: &io::Error) {
    eprintln!("bench: {} is left out: {error}", client.what);
}
