//! How a client is made to work, and what is noted of it.
//!
//! A worker is a process: `WORKER CLIENT SCENARIO SOCKET`. It connects, prints `ready`, and reads
//! orders from its standard input: a line `1000` has it do its work so many times, and it prints an
//! [`Outcome`] as JSON; `1000 each` has it note how long each took. At the end of its input it ends.
#![forbid(unsafe_code)]

mod laps;
mod memory;
mod order;
mod scenario;
mod version;

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use crate::laps::lap;
use crate::memory::Peak;
pub use crate::memory::{Heap, in_heap, uncounted};
use crate::order::Order;
pub use crate::scenario::{AT_ONCE, BEFORE, LATE, Scenario};
pub use crate::version::Version;

/// Does something so many times, and says how many times it was done: events may be lost.
pub type Work = Box<dyn FnMut(usize) -> usize>;

/// Connects a client for a scenario; `None` if it has no such thing.
pub type Open = fn(Scenario, &Path) -> Option<Work>;

/// What is noted of some work.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Outcome {
    /// How often it was done.
    pub done: usize,
    pub nanoseconds: u64,
    /// Percentiles, from the 1st to the 99th, and then the 99.9th; if each was to be timed.
    #[serde(default)]
    pub each: Vec<u64>,
    /// How far the memory rose above what it was before, in bytes.
    #[serde(default)]
    pub peak: u64,
    /// What is allocated now and was not before, in bytes; 0 where it is not counted.
    #[serde(default)]
    pub kept: i64,
    /// How often memory was allocated or a block made larger; 0 where it is not counted.
    #[serde(default)]
    pub allocations: u64,
}

/// Works as it is told. The names of `clients` are those on the command line.
pub fn run(clients: &[(&str, Open)], heap: fn() -> Heap) {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [name, scenario, path] = &words[..] else { panic!("usage: CLIENT SCENARIO SOCKET") };
    let scenario = scenario.parse().expect("a scenario");
    let open = clients.iter().find(|(client, _)| client == name).expect("a client").1;
    let Some(mut work) = open(scenario, Path::new(path)) else {
        println!("none");
        return;
    };
    println!("ready");
    for line in io::stdin().lock().lines() {
        let order = line.expect("a line").parse().expect("an order");
        let outcome = obey(order, &mut work, heap);
        println!("{}", serde_json::to_string(&outcome).expect("JSON"));
        io::stdout().flush().expect("somebody reads");
    }
}

fn obey(order: Order, work: &mut Work, heap: fn() -> Heap) -> Outcome {
    let (peak, before) = (Peak::begin(), heap());
    let start = Instant::now();
    let (done, each) = match order {
        Order::Together(count) => (work(count), Vec::new()),
        Order::Each(count) => {
            laps::begin(count);
            (work(count), laps::end())
        }
    };
    let nanoseconds = start.elapsed().as_nanos() as u64;
    let after = heap();
    Outcome {
        done,
        nanoseconds,
        each,
        peak: peak.end(),
        kept: after.bytes - before.bytes,
        allocations: after.allocations - before.allocations,
    }
}
