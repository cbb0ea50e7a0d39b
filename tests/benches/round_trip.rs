//! Commands per second over a Unix socket against real QEMU: the client beside a bare socket loop
//! that does the least possible, in turns, in one run. `cargo bench -p qmp-tests`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails, ends")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use qmp_blocking::commands::QueryVersion;
use qmp_blocking::{Address, Client};
use qmp_tests::qemu::{Monitor, Server, Setup};

const ROUNDS: usize = 15;
const COMMANDS: u32 = 1000;

fn main() {
    for (name, setup) in [("QEMU", Setup::bare()), ("q-s-d", Setup::storage_daemon())] {
        let Some(setup) = setup else { continue };
        // A server serves one client of a monitor at a time.
        let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
        compare(name, &server);
    }
}

fn compare(name: &str, server: &Server) {
    let client = server.connect();
    let mut bare = Bare::connect(&server.addresses()[1]);
    run_client(&client);
    bare.run();
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (run_client(&client), bare.run())).collect();
    let rate = |times: Vec<Duration>| f64::from(COMMANDS) / median(times).as_secs_f64();
    let ours = rate(rounds.iter().map(|round| round.0).collect());
    let theirs = rate(rounds.iter().map(|round| round.1).collect());
    let mut ratios: Vec<_> =
        rounds.iter().map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "{name}: client {ours:.0} commands/s, bare loop {theirs:.0} commands/s, time per command \
         {:.3} of the bare loop's (median of {ROUNDS} pairs of {COMMANDS})",
        ratios[ROUNDS / 2]
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn run_client(client: &Client) -> Duration {
    let start = Instant::now();
    for _ in 0..COMMANDS {
        client.execute(&QueryVersion).unwrap();
    }
    start.elapsed()
}

/// One write and one read a command; a reply ends with its line.
struct Bare {
    stream: UnixStream,
    buffer: [u8; 4096],
}

impl Bare {
    fn connect(address: &Address) -> Self {
        let Address::Unix(path) = address else { panic!("a Unix socket was asked for") };
        let stream = UnixStream::connect(path).unwrap();
        let mut bare = Self { stream, buffer: [0; 4096] };
        bare.read_line();
        bare.ask(b"{\"execute\":\"qmp_capabilities\"}\n");
        bare
    }

    fn run(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..COMMANDS {
            self.ask(b"{\"execute\":\"query-version\",\"id\":1234567890123456}\n");
        }
        start.elapsed()
    }

    fn ask(&mut self, command: &[u8]) {
        self.stream.write_all(command).unwrap();
        self.read_line();
    }

    fn read_line(&mut self) {
        let mut length = 0;
        while length == 0 || self.buffer[length - 1] != b'\n' {
            length += self.stream.read(&mut self.buffer[length..]).unwrap();
        }
    }
}
