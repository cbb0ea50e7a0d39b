//! Who receives, where callers may: the one whose command is the only one, and nobody has to wait for it.
#![cfg(not(qmp_shuttle))]
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Wake};

use futures_lite::future::block_on;
use qmp_client::Error;
use qmp_proto::commands::{Cont, Stop};
use qmp_proto::{CloseReason, Request};
use support::turns::{answer, at_callers, at_callers_of, begin, drive, next, poll_with, run_alone};
use support::{Bench, Builder, EVENT, Wakes, Wire, id, let_time_pass, poll};

mod support;

#[test]
fn c13_a_lone_caller_receives_its_reply_and_what_is_before_it() {
    let mut bench = at_callers();
    let mut execute = begin(&bench.client);
    bench.wire.say(EVENT);
    answer(&bench.wire);
    assert!(matches!(poll(Pin::new(&mut execute)), Poll::Ready(Ok(_))));
    assert_eq!(next(&mut bench.events).as_deref(), Some("GONE"));
}

/// Whether its task is woken does not hang on the driver.
#[test]
fn c13_a_lone_caller_is_woken_and_not_the_driver() {
    let mut bench = at_callers();
    let (drivers, callers) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    assert!(poll_with(&mut bench.driver, &drivers.clone().into()).is_pending());
    let mut execute = bench.client.execute(&Stop);
    assert!(poll_with(&mut execute, &callers.clone().into()).is_pending());
    let before = callers.count();
    answer(&bench.wire);
    assert_eq!(callers.count(), before + 1);
    assert!(matches!(poll_with(&mut execute, &callers.clone().into()), Poll::Ready(Ok(_))));
    assert_eq!((callers.count(), drivers.count()), (before + 1, 0));
}

/// As in a `select!` whose other branch goes on, or by `mem::forget`.
#[test]
fn c14_who_has_the_turn_and_is_never_polled_again_keeps_no_event_back() {
    let mut bench = at_callers();
    let forgotten = begin(&bench.client);
    bench.wire.say(EVENT);
    drive(&mut bench.driver);
    assert_eq!(next(&mut bench.events), None, "it leaves it to the caller for a moment");
    wait_for_no_caller(&mut bench);
    assert_eq!(next(&mut bench.events).as_deref(), Some("GONE"));
    // And so it goes on.
    bench.wire.say(EVENT);
    drive(&mut bench.driver);
    assert_eq!(next(&mut bench.events).as_deref(), Some("GONE"));
    std::mem::forget(forgotten);
}

#[test]
fn c13_who_has_the_turn_and_is_never_polled_again_keeps_no_reply_back() {
    let mut bench = at_callers();
    let forgotten = begin(&bench.client);
    let mut other = bench.client.execute(&Cont);
    assert!(poll(Pin::new(&mut other)).is_pending());
    // No time passes.
    drive(&mut bench.driver);
    answer(&bench.wire);
    drive(&mut bench.driver);
    assert!(matches!(poll(Pin::new(&mut other)), Poll::Ready(Ok(_))));
    std::mem::forget(forgotten);
}

/// It was woken to receive, and is gone instead.
#[test]
fn c8_who_is_dropped_in_its_turn_leaves_it_to_the_driver() {
    let mut bench = at_callers();
    let drivers = Arc::new(Wakes::default());
    assert!(poll_with(&mut bench.driver, &drivers.clone().into()).is_pending());
    let execute = begin(&bench.client);
    bench.wire.say(EVENT);
    answer(&bench.wire);
    drop(execute);
    assert_eq!(drivers.count(), 1);
    drive(&mut bench.driver);
    assert_eq!(next(&mut bench.events).as_deref(), Some("GONE"));
    assert!(poll(pin!(bench.client.wait_idle(None))).is_ready());
}

/// So long that the driver no longer leaves it to a caller to receive.
fn wait_for_no_caller(bench: &mut Bench) {
    for _ in 0..2 {
        let_time_pass();
        drive(&mut bench.driver);
    }
}

/// What comes after the last command is nobody's whose command is outstanding.
#[test]
fn c14_what_comes_when_no_caller_does_is_the_drivers() {
    let mut bench = at_callers();
    run_alone(&bench);
    bench.wire.say(EVENT);
    wait_for_no_caller(&mut bench);
    assert_eq!(next(&mut bench.events).as_deref(), Some("GONE"));
}

#[test]
fn c17_the_end_that_a_caller_sees_is_the_drivers_too() {
    let mut bench = at_callers();
    let drivers = Arc::new(Wakes::default());
    assert!(poll_with(&mut bench.driver, &drivers.clone().into()).is_pending());
    let mut execute = begin(&bench.client);
    bench.wire.end();
    let ended = poll(Pin::new(&mut execute));
    assert!(matches!(ended, Poll::Ready(Err(Error::Unanswered(CloseReason::Eof { .. })))));
    assert_eq!(drivers.count(), 1);
    assert!(matches!(block_on(bench.driver), CloseReason::Eof { .. }));
    assert!(bench.wire.is_shut());
}

/// As one whose executor is gone.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("this waker panics");
    }
}

#[test]
fn c17_a_waker_that_panics_in_its_turn_keeps_nobody_waiting() {
    let mut bench = at_callers();
    let mut execute = bench.client.execute(&Stop);
    // The second poll is that of a task whose executor is gone then.
    assert!(poll(Pin::new(&mut execute)).is_pending());
    assert!(poll_with(&mut execute, &Arc::new(Panics).into()).is_pending());
    bench.wire.say(EVENT);
    wait_for_no_caller(&mut bench);
    assert_eq!(next(&mut bench.events).as_deref(), Some("GONE"));
}

/// Where each reply is there at once, tasks on the same thread have their turn all the same.
#[test]
fn a_caller_lets_others_run_once_in_a_while() {
    let bench = at_callers();
    let mut first = begin(&bench.client);
    let mut last: u64 = id(bench.wire.take_sent().trim_end()).parse().unwrap();
    bench.wire.say(format!("{{\"return\": {{}}, \"id\": {last}}}\r\n"));
    assert!(poll(Pin::new(&mut first)).is_ready());
    let mut at_once = 0;
    for _ in 0..128 {
        last += 1;
        bench.wire.say(format!("{{\"return\": {{}}, \"id\": {last}}}\r\n"));
        let wakes = Arc::new(Wakes::default());
        let mut execute = bench.client.execute(&Stop);
        if poll_with(&mut execute, &wakes.clone().into()).is_ready() {
            at_once += 1;
        } else {
            assert_eq!(wakes.count(), 1, "it asks for its next turn");
            assert!(poll(Pin::new(&mut execute)).is_ready());
        }
    }
    assert!((100..128).contains(&at_once), "{at_once}");
}

/// Where tasks execute at the same time again and again, all of it goes out in one write.
#[test]
fn after_a_crowd_what_many_execute_at_once_goes_out_in_one_write() {
    let mut bench = Bench::over(Wire::new().shared(), &Builder::new());
    for writes in [2, 1, 1] {
        let before = bench.wire.writes();
        let mut callers: Vec<_> = (0..64).map(|_| bench.client.execute(&Stop)).collect();
        for caller in &mut callers {
            assert!(poll(Pin::new(caller)).is_pending());
        }
        drive(&mut bench.driver);
        assert_eq!(bench.wire.writes() - before, writes);
        answer(&bench.wire);
        drive(&mut bench.driver);
        for mut caller in callers {
            assert!(matches!(poll(Pin::new(&mut caller)), Poll::Ready(Ok(_))));
        }
    }
}

#[test]
fn c10_out_of_band_beside_a_caller_in_its_turn_is_the_drivers_at_once() {
    let mut bench = at_callers_of(&Builder::new().oob(true));
    let wakes = Arc::new(Wakes::default());
    assert!(poll_with(&mut bench.driver, &wakes.clone().into()).is_pending());
    let _kept = begin(&bench.client);
    let request = Request::new("migrate-pause").out_of_band();
    let mut passes = bench.client.execute_request(request);
    assert!(poll(Pin::new(&mut passes)).is_pending());
    assert_eq!(wakes.count(), 1);

    let sent = bench.wire.take_sent();
    let last = sent.lines().last().unwrap();
    assert!(last.contains("exec-oob"), "{sent}");
    bench.wire.say(format!("{{\"return\": {{}}, \"id\": {}}}\r\n", id(last)));
    drive(&mut bench.driver);
    assert!(poll(Pin::new(&mut passes)).is_ready(), "no time passes");
}

#[test]
fn c14_who_waits_for_an_event_has_the_driver_receive_at_once() {
    let mut bench = at_callers();
    let wakes = Arc::new(Wakes::default());
    assert!(poll_with(&mut bench.driver, &wakes.clone().into()).is_pending());
    assert_eq!(next(&mut bench.events), None);
    assert_eq!(wakes.count(), 1);
    bench.wire.say(EVENT);
    drive(&mut bench.driver);
    assert!(next(&mut bench.events).is_some(), "no time passes");
}
