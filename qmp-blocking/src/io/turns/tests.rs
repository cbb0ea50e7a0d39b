use super::*;

use std::os::unix::net::UnixStream;

use qmp_client::SharedConnection;
use qmp_proto::Config;

use crate::io::{Progress, ThreadIo};

const LONG: Duration = Duration::from_secs(10);

/// A line without a background thread, and the server's end of it.
fn io() -> (ThreadIo, UnixStream) {
    let (ours, servers) = UnixStream::pair().unwrap();
    (ThreadIo::new(SharedConnection::new(Config::default()), ours.into()).unwrap(), servers)
}

impl Turns {
    fn wait_until_parked(&self, count: usize) {
        let start = Instant::now();
        while self.lock().parked.len() < count {
            assert!(start.elapsed() < LONG, "nobody parks");
            thread::yield_now();
        }
    }
}

fn taken(turns: &Turns) -> ReadBuffer {
    turns.take_or_park().expect("nobody reads")
}

/// The reader chooses one that has got what it waited for. That one leaves, and the other waits for
/// what is still to come.
#[test]
fn c13_who_is_chosen_and_leaves_passes_the_turn_on() {
    let (io, server) = io();
    let deadline = Some(Instant::now() + LONG);
    let buffer = taken(&io.turns);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut closed = io.shared.closed();
            io.wait(deadline, |waker| Progress::by_socket(closed.poll(waker)))
        });
        io.turns.wait_until_parked(1);
        let satisfied = scope.spawn(|| {
            io.wait(deadline, |_| match done.load(Ordering::SeqCst) {
                true => Progress::Done(()),
                false => Progress::Reads,
            })
        });
        io.turns.wait_until_parked(2);
        done.store(true, Ordering::SeqCst);
        // The last that parked is chosen.
        assert_eq!(io.turns.leave(Some(buffer)), Successor::Found);
        assert!(satisfied.join().unwrap().is_some());
        drop(server);
        assert!(waiting.join().unwrap().is_some(), "nobody has read the end");
    });
}

/// A thread that waits for idleness parks, and leaves the reply to the background thread.
#[test]
fn c16_the_background_thread_has_no_patience_while_a_thread_parks() {
    let (io, _server) = io();
    assert_eq!(io.turns.leave(Some(taken(&io.turns))), Successor::Found);
    assert_eq!(io.turns.look(0).0, Look::Changed(1));
    let start = Instant::now();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let parks = scope.spawn(|| {
            io.wait(Some(start + LONG), |_| match done.load(Ordering::SeqCst) {
                true => Progress::Done(()),
                false => Progress::Parks,
            })
        });
        while io.turns.look(0).0 != Look::Idle {
            assert!(start.elapsed() < LONG, "it is patient");
            thread::yield_now();
        }
        // Its patience has been ended.
        io.doze(Some(LONG));
        done.store(true, Ordering::SeqCst);
        parks.thread().unpark();
        assert!(parks.join().unwrap().is_some());
    });
    assert!(start.elapsed() < LONG, "nothing woke it");
    assert_eq!(io.turns.look(0).0, Look::Changed(1), "the wait is over");
}

#[test]
fn who_gives_up_is_not_chosen_later() {
    let (io, _server) = io();
    let buffer = taken(&io.turns);
    let soon = Instant::now() + Duration::from_millis(5);
    thread::scope(|scope| {
        let hasty = scope.spawn(|| io.wait(Some(soon), |_| Progress::<()>::Reads));
        assert!(hasty.join().unwrap().is_none());
    });
    assert!(io.turns.lock().parked.is_empty());
    assert_eq!(io.turns.leave(Some(buffer)), Successor::Found);
}

#[test]
fn the_background_thread_is_woken_only_where_it_sleeps_and_nobody_is_parked() {
    let turns = Turns::new();
    let buffer = taken(&turns);
    assert!(turns.look(0).0 == Look::Changed(1));
    // It has not seen the reader stay, so it looks again by itself.
    assert_eq!(turns.leave(Some(buffer)), Successor::Found);
    let buffer = taken(&turns);
    assert!(turns.look(2).0 == Look::Busy);
    assert_eq!(turns.leave(None), Successor::Found, "somebody reads");
    assert_eq!(turns.leave(Some(buffer)), Successor::Background);
    assert_eq!(turns.leave(None), Successor::Found, "it is awake");
    assert_eq!(turns.look(2).0, Look::Idle);
}

#[test]
fn a_caller_that_comes_while_the_background_thread_reads_takes_over() {
    let turns = Turns::new();
    assert_eq!(turns.look(0).0, Look::Idle);
    let buffer = turns.take_if_free().expect("nobody reads");
    assert!(turns.take_or_park().is_none());
    assert_eq!(turns.leave(Some(buffer)), Successor::Found);
    // It was this thread that was parked and is chosen.
    turns.park(None);
    drop(taken(&turns));
}

/// It is woken once for any number of them, and not where it looks again soon anyway.
#[test]
fn the_background_thread_sends_what_was_put_off_and_nobody_else_sends() {
    let turns = Turns::new();
    assert_eq!(turns.look(0), (Look::Idle, false));
    assert_eq!(turns.put_off(), Successor::Background);
    assert_eq!(turns.put_off(), Successor::Found);
    assert_eq!(turns.look(0), (Look::Idle, true), "it reads meanwhile, for a moment");
    turns.sends();
    assert_eq!(turns.put_off(), Successor::Found, "it has not looked again yet");
    turns.sends();
    assert_eq!(turns.look(0), (Look::Idle, false));
    assert_eq!(turns.put_off(), Successor::Background);
    turns.sends();
    let buffer = taken(&turns);
    assert_eq!(turns.leave(Some(buffer)), Successor::Found);
    assert_eq!(turns.look(0), (Look::Changed(1), false));
    assert_eq!(turns.put_off(), Successor::Found, "it dozes");
}

#[test]
fn the_buffer_grows_with_what_is_read_and_shrinks_again() {
    let mut buffer = ReadBuffer { bytes: zeroes(LEAST), timeout: None };
    buffer.fit(LEAST - 1);
    assert_eq!(buffer.bytes.len(), LEAST);
    for length in [LEAST, LEAST * GROWTH, MOST, MOST - 1, LEAST] {
        buffer.fit(length);
        assert!(buffer.bytes.len() > LEAST);
    }
    assert_eq!(buffer.bytes.len(), MOST);
    buffer.fit(LEAST - 1);
    assert_eq!(buffer.bytes.len(), LEAST);
}
