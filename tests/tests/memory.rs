//! Memory stays as it is, however long it goes on. This measures that of the whole process, so it is
//! a test alone. It takes a few seconds, or `QMP_SOAK_SECONDS`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::{Builder, Client, Error, EventLimits, Request, from_stream};
use qmp_tests::scripted::{PATIENCE, Peer, event_text, pair, run};

/// More than the allocator's moods, and less than what a leak in each of many rounds would come to.
const MOODS: usize = 16 << 20;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    1024 * line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
}

#[test]
fn c3_memory_stays_flat() {
    at_a_server_that_never_reads();
    let seconds =
        std::env::var("QMP_SOAK_SECONDS").map_or(3, |text| text.parse().expect("seconds"));
    at_full_speed(Duration::from_secs(seconds));
}

/// Each command would add 400,000 bytes, if it stayed.
fn at_a_server_that_never_reads() {
    const COMMANDS: usize = 100;
    let (tell, seen_enough) = mpsc::channel::<()>();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        seen_enough.recv_timeout(4 * PATIENCE).unwrap();
    });
    let client = from_stream(socket).unwrap().with_timeout(Duration::from_millis(1));
    let text = "x".repeat(400_000);
    let run_big = || {
        let arguments = serde_json::json!({ "text": text });
        client.execute_request(Request::new("big").arguments(arguments)).unwrap_err()
    };
    assert_eq!(run_big(), Error::TimedOut { sent: true });
    let before = resident_bytes();
    for _ in 0..COMMANDS {
        assert_eq!(run_big(), Error::TimedOut { sent: false });
    }
    stayed_at(before);
    tell.send(()).unwrap();
    script.join();
}

/// Session after session: of one alone, a leak may hide in what the allocator holds.
fn at_full_speed(duration: Duration) {
    busy_session();
    let (start, before) = (Instant::now(), resident_bytes());
    let (mut sessions, mut events) = (0, 0);
    while start.elapsed() < duration {
        events += busy_session();
        sessions += 1;
        stayed_at(before);
    }
    let commands = sessions * 2 * WORKERS.len() * ROUNDS;
    println!("{:?}: {sessions} sessions, {commands} commands, {events} events", start.elapsed());
    println!("{} KiB at first, {} KiB at last", before >> 10, resident_bytes() >> 10);
}

/// What each of the threads executes, and how often.
const WORKERS: [&str; 3] = ["small", "events", "large"];
const ROUNDS: usize = 100;

/// Threads that execute and give up, events that are read and events that are not, small replies and
/// large ones, and strays. Gives how many events were read.
fn busy_session() -> usize {
    let (socket, script) = pair(serve);
    let limits = EventLimits { events: 100, ..EventLimits::default() };
    let client = Builder::new().event_limits(limits).from_stream(socket).unwrap();
    let (unread, read) = (client.events(), client.events());
    let events = thread::scope(|scope| {
        let reader = scope.spawn(|| read.count());
        let workers = WORKERS.map(|name| {
            let client = &client;
            scope.spawn(move || (0..ROUNDS).for_each(|_| execute(client, name)))
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        client.close(PATIENCE).unwrap();
        reader.join().unwrap()
    });
    script.join();
    assert_eq!(unread.count(), 101, "one of them tells how many are lost");
    events
}

fn execute(client: &Client, name: &'static str) {
    run(client, name).unwrap();
    // Nobody waits so briefly: the reply comes when it is discarded, or the command is withdrawn.
    match run(&client.with_timeout(Duration::from_micros(50)), name) {
        Ok(_) | Err(Error::TimedOut { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn serve(peer: &mut Peer) {
    peer.greet();
    let events = event_text("NOISE", "{\"a\": [1, 2, 3]}").repeat(20);
    let large = format!("\"{}\"", "x".repeat(200_000));
    while let Some(command) = peer.try_command() {
        let value = if command.name == "large" { &large } else { "{}" };
        let mut text = command.success(value);
        if command.name == "events" {
            text = format!("{events}{text}{{\"return\": {{}}, \"id\": \"stray\"}}");
        }
        peer.try_send(text);
    }
}

#[track_caller]
fn stayed_at(before: usize) {
    let after = resident_bytes();
    assert!(after < before + MOODS, "{before} bytes before, {after} after");
}
