//! What is left of connections that have ended. This counts the descriptors of the whole process, so
//! it is a test alone.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::{Builder, Events};
use qmp_tests::scripted::{PATIENCE, pair, run};

const CONNECTIONS: usize = 50;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until no more than so many are open: threads that are about to end have time to.
#[track_caller]
fn settle_at(most: usize) {
    let start = Instant::now();
    while descriptors() > most {
        assert!(start.elapsed() < PATIENCE, "{} are open, not {most}", descriptors());
        thread::yield_now();
    }
}

/// A connection that has ended and has no client any more; an event of it was not fetched.
fn ended(by_the_server: bool) -> Events {
    let (socket, script) = pair(move |peer| {
        peer.greet();
        peer.event("STOP", "{}");
        let stop = peer.expect("stop");
        peer.reply(&stop, "{}");
        if !by_the_server {
            peer.expect_eof();
        }
    });
    let (client, events) = Builder::new().from_stream_with_events(socket).unwrap();
    run(&client, "stop").unwrap();
    if by_the_server {
        client.closed();
    }
    drop(client);
    script.join();
    events
}

#[test]
fn c18_event_iterators_hold_no_descriptors_of_connections_that_have_ended() {
    // Whatever stays for good is there after these.
    drop([ended(true), ended(false)]);
    let before = descriptors();
    let mut kept: Vec<_> = (0..CONNECTIONS).map(|number| ended(number % 2 == 0)).collect();
    settle_at(before);
    for events in &mut kept {
        assert_eq!(events.next().unwrap().unwrap().name(), "STOP");
        assert!(events.next_timeout(Duration::ZERO).is_none());
        assert!(events.next().is_none());
    }
}
