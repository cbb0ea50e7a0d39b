//! How long a submitted command takes until its callback runs, while nobody waits for it, right
//! after a command that somebody waited for: beside what one takes that is waited for.
//! `cargo bench -p qmp-tests --bench submitted`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails, ends")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use qmp_blocking::commands::QueryVersion;
use qmp_blocking::{Client, server};
use qmp_tests::qemu::{Monitor, Setup};

const ROUNDS: usize = 2000;

fn main() {
    let machine = server::connect_machine(server::Machine::new()).unwrap();
    compare("embedded machine", &qmp_blocking::from_stream(machine).unwrap());
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    compare("QEMU", &server.connect());
}

fn compare(name: &str, client: &Client) {
    let (mut waited, mut submitted) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        client.execute(&QueryVersion).unwrap();
        waited.push(start.elapsed());
        let (sender, called) = mpsc::channel();
        let start = Instant::now();
        client.submit(&QueryVersion, move |_| sender.send(start.elapsed()).unwrap()).unwrap();
        submitted.push(called.recv().unwrap());
    }
    println!("{name}: waited for {}; submitted {}", quantiles(waited), quantiles(submitted));
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let [p25, p50, p90] = [25, 50, 90].map(|percent| times[ROUNDS * percent / 100]);
    format!("p25 {p25:.1?}, p50 {p50:.1?}, p90 {p90:.1?}")
}
