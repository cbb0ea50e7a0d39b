//! C20: clients that come at the moment when the monitor's socket appears. Up to 10.0.2, QEMU may greet
//! such a client twice, or greet it and hang.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use qmp_blocking::Address;
use qmp_blocking::commands::{QueryVersion, Quit};
use qmp_tests::qemu::{DEADLINE, Monitor, Setup, patient};

/// How long connecting took in so many starts.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn report(&mut self) {
        self.0.sort_unstable();
        let at = |share: usize| self.0[(self.0.len() - 1) * share / 100];
        let late = self.0.iter().filter(|time| **time >= Duration::from_secs(1)).count();
        println!(
            "{} starts: connected in {:.1?} (median), {:.1?} (99 of 100), {:.1?} (all); {late} took a \
             second or longer",
            self.0.len(),
            at(50),
            at(99),
            at(100)
        );
    }
}

/// Starts a server, and connects when its socket is there. Every other time the client is one of tasks.
fn start(setup: Setup, tasks: bool) -> Duration {
    let mut server = setup.monitor(Monitor::Unix).start_at_once();
    let Address::Unix(path) = server.address().clone() else { unreachable!() };
    let deadline = Instant::now() + DEADLINE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "it does not start: {server:?}");
        std::hint::spin_loop();
    }
    let begun = Instant::now();
    let took = if tasks {
        smol::block_on(async {
            let builder = qmp_smol::Builder::new().deadline(DEADLINE);
            let client = builder.connect(path.as_path()).await.unwrap();
            let took = begun.elapsed();
            client.execute(&QueryVersion).await.unwrap();
            client.execute(&Quit).await.unwrap();
            took
        })
    } else {
        let client = patient().connect(path.as_path()).unwrap();
        let took = begun.elapsed();
        client.execute(&QueryVersion).unwrap();
        client.execute(&Quit).unwrap();
        took
    };
    assert!(server.wait().success());
    took
}

fn starts(count: usize) {
    let mut times = Times::default();
    for number in 0..count {
        let setup = match number % 4 {
            3 => Setup::storage_daemon(),
            _ => Setup::bare(),
        };
        let Some(setup) = setup else { return };
        times.0.push(start(setup, number % 2 == 1));
    }
    times.report();
}

#[test]
fn c20_a_client_that_comes_when_the_socket_appears() {
    starts(20);
}

/// `QMP_STARTS=5000 cargo test --release -p qmp-tests --test real_starting -- --ignored --nocapture`
#[test]
#[ignore = "it takes minutes: the long form of the test above"]
fn c20_many_clients_that_come_when_the_socket_appears() {
    let count = std::env::var("QMP_STARTS").ok().and_then(|count| count.parse().ok());
    starts(count.unwrap_or(1_000));
}
