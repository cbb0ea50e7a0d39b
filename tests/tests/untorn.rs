//! C8: a command goes out whole or not at all, whatever happens to who asked for it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use qmp_blocking::{Builder, Client, CloseReason, Error, Raw, Refusal, Request, from_stream};
use qmp_tests::scripted::{PATIENCE, pair, run};
use serde::{Serialize, Serializer, ser};

/// More than a socket holds.
const BIG: usize = 600_000;
const SHORT: Duration = Duration::from_millis(5);

fn run_big(client: &Client, name: &'static str) -> Result<Raw, Error> {
    let arguments = serde_json::json!({ "text": "{\"[".repeat(BIG / 3) });
    client.execute_request(Request::new(name).arguments(arguments))
}

fn timed_out(outcome: Result<Raw, Error>) -> bool {
    match outcome {
        Err(Error::TimedOut { sent }) => sent,
        other => panic!("expected a timeout, found {other:?}"),
    }
}

#[test]
fn c8_timeouts_in_the_middle_of_a_command_tear_nothing() {
    const THREADS: usize = 3;
    let (all_timed_out, may_read) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let claimed = may_read.recv_timeout(PATIENCE).unwrap();
        // The script's reader fails where a command is not whole.
        for command in peer.commands(claimed) {
            assert_eq!(command.name, "big");
            assert!(command.raw.len() > BIG);
            peer.reply(&command, "\"late\"");
        }
        let last = peer.expect("last");
        peer.reply(&last, "\"last\"");
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    let claimed = thread::scope(|scope| {
        let hasty = client.with_timeout(SHORT);
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let hasty = hasty.clone();
                scope.spawn(move || timed_out(run_big(&hasty, "big")))
            })
            .collect();
        // The first is on the wire in part. Those that were not claimed together with it are
        // withdrawn.
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_ne!(claimed, 0);
    all_timed_out.send(claimed).unwrap();
    assert_eq!(run(&client, "last").unwrap().as_str(), Ok("\"last\""));
    drop(client);
    script.join();
}

/// Nobody calls after the timeout: the rest goes out all the same.
#[test]
fn c8_what_is_left_of_a_command_goes_out_by_itself() {
    let (all_timed_out, may_read) = mpsc::channel();
    let (read, was_read) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        may_read.recv_timeout(PATIENCE).unwrap();
        read.send(peer.expect("big").raw.len()).unwrap();
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    assert!(timed_out(run_big(&client.with_timeout(SHORT), "big")));
    all_timed_out.send(()).unwrap();
    assert!(was_read.recv_timeout(PATIENCE).expect("the whole command") > BIG);
    drop(client);
    script.join();
}

/// A server that writes while it does not read: who writes first and reads then would never end.
#[test]
fn c8_a_full_socket_in_both_directions_is_no_deadlock() {
    const COMMANDS: usize = 4;
    let (socket, script) = pair(|peer| {
        peer.greet();
        let mut noise = || peer.event("NOISE", &format!("\"{}\"", "x".repeat(BIG)));
        (0..4).for_each(|_| noise());
        for _ in 0..COMMANDS {
            let command = peer.expect("big");
            peer.reply(&command, &format!("\"{}\"", "y".repeat(BIG)));
        }
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    thread::scope(|scope| {
        for _ in 0..COMMANDS {
            scope.spawn(|| {
                assert_eq!(run_big(&client, "big").unwrap().as_str().unwrap().len(), BIG + 2)
            });
        }
    });
    drop(client);
    script.join();
}

#[test]
fn c8_a_command_withdrawn_before_its_turn_is_never_seen() {
    let (withdrawn, may_answer) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let first = peer.expect("first");
        may_answer.recv_timeout(PATIENCE).unwrap();
        peer.reply(&first, "{}");
        assert_eq!(peer.serve(), ["last"]);
    });
    let client = Builder::new().window(1).from_stream(socket).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| run(&client, "first"));
        while client.wait_idle(Duration::ZERO).is_ok() {
            thread::yield_now();
        }
        assert!(!timed_out(run(&client.with_timeout(SHORT), "withdrawn")));
        assert!(!timed_out(run_big(&client.with_timeout(Duration::ZERO), "withdrawn")));
        withdrawn.send(()).unwrap();
        first.join().unwrap().unwrap();
    });
    run(&client, "last").unwrap();
    drop(client);
    script.join();
}

/// Arguments that are no good.
struct Bad {
    panics: bool,
}

impl Serialize for Bad {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        ser::SerializeMap::serialize_entry(&mut map, "half", "a command")?;
        assert!(!self.panics, "a Serialize panics, as this test wants it");
        Err(ser::Error::custom("no"))
    }
}

#[test]
fn c8_arguments_that_fail_or_panic_change_nothing_on_the_wire() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        assert_eq!(peer.serve(), ["before", "after"]);
    });
    let client = from_stream(socket).unwrap();
    let request = |panics| Request::new("bad").arguments(Bad { panics });
    run(&client, "before").unwrap();
    let refused = client.execute_request(request(false)).unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::InvalidJson(_))), "{refused:?}");
    let panicked = catch_unwind(AssertUnwindSafe(|| client.execute_request(request(true))));
    assert!(panicked.is_err());
    run(&client, "after").unwrap();
    client.wait_idle(PATIENCE).unwrap();
    drop(client);
    script.join();
}

/// The caller's thread dies while others wait.
#[test]
fn c8_a_callers_panic_hurts_no_other() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        let [first, second] = [peer.command(), peer.command()];
        // Both matchers see it: one of the two panics.
        peer.event("ANY", "{}");
        peer.reply(&second, "{}");
        peer.reply(&first, "{}");
        assert_eq!(peer.serve(), ["last"]);
    });
    let client = from_stream(socket).unwrap();
    thread::scope(|scope| {
        let until = |panics: bool| {
            let matcher = move |_: &_| !panics || panic!("a matcher panics, as this test wants it");
            client.execute_until(&qmp_blocking::commands::Stop, matcher).map(|_| ())
        };
        let threads = [true, false].map(|panics| scope.spawn(move || until(panics)));
        let outcomes = threads.map(|thread| thread.join().unwrap());
        assert_eq!(outcomes, [Err(Error::MatcherPanicked), Ok(())]);
    });
    run(&client, "last").unwrap();
    drop(client);
    script.join();
}

#[test]
fn c8_a_connection_that_ends_in_the_middle_of_a_command_says_so() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        peer.wait_for_input();
    });
    let client = from_stream(socket).unwrap();
    let error = run_big(&client, "big").unwrap_err();
    assert!(
        matches!(error, Error::Unanswered(CloseReason::Failed(_) | CloseReason::Eof { .. })),
        "{error:?}"
    );
    script.join();
}
