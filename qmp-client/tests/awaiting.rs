//! While a task waits for more than replies, the driver receives and no caller does: no wait depends on the
//! end of the driver's patience. Time stands still here, unless a test lets it pass.
#![cfg(not(qmp_shuttle))]
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::StreamExt;
use qmp_proto::CloseReason;
use qmp_proto::commands::{Cont, Stop};
use support::turns::{
    answer, at_callers, begin, drive, not_looked_after, poll_with, run_alone, watch,
};
use support::{Bench, Builder, EVENT, Wakes, let_time_pass, poll};

mod support;

const LONG: Duration = Duration::from_secs(10);

/// A wait of another task.
struct Wait {
    future: Pin<Box<dyn Future<Output = ()>>>,
    wakes: Arc<Wakes>,
}

impl Wait {
    fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    fn poll(&mut self) -> Poll<()> {
        poll_with(&mut self.future, &self.wakes.clone().into())
    }
}

fn event(bench: &Bench) -> Wait {
    let mut events = bench.client.events();
    Wait::new(async move { assert!(events.next().await.is_some()) })
}

fn event_within_a_time(bench: &Bench) -> Wait {
    let mut events = bench.client.events();
    Wait::new(async move { assert!(events.next_timeout(LONG).await.is_some()) })
}

/// The event of a command that was answered.
fn commands_event(bench: &Bench) -> Wait {
    let until = bench.client.execute_until(&Cont, |event| event.name() == "GONE");
    let mut wait = Wait::new(async move { assert!(until.await.is_ok()) });
    assert!(wait.poll().is_pending());
    answer(&bench.wire);
    wait
}

fn end(bench: &Bench) -> Wait {
    let client = bench.client.clone();
    Wait::new(async move { assert!(matches!(client.closed().await, CloseReason::Eof { .. })) })
}

fn idleness(bench: &Bench) -> Wait {
    let client = bench.client.clone();
    Wait::new(async move { assert_eq!(client.wait_idle(LONG).await, Ok(())) })
}

/// The beginning of a wait, and the server's action that ends it.
type Case = (fn(&Bench) -> Wait, fn(&Bench));

const EVENTS: [Case; 3] = [
    (event, |bench| bench.wire.say(EVENT)),
    (event_within_a_time, |bench| bench.wire.say(EVENT)),
    (commands_event, |bench| bench.wire.say(EVENT)),
];
const END: Case = (end, |bench| bench.wire.end());
const IDLENESS: Case = (idleness, |bench| answer(&bench.wire));

/// The server ends the wait: the driver is woken, and receives.
#[track_caller]
fn brings(bench: &mut Bench, bring: fn(&Bench), wait: &mut Wait) {
    let (drivers, before) = (watch(&mut bench.driver), wait.wakes.count());
    bring(bench);
    assert_eq!(drivers.count(), 1, "the driver is woken");
    let _ = poll(Pin::new(&mut bench.driver));
    assert_eq!(wait.wakes.count(), before + 1, "the waiting task is woken");
    assert!(wait.poll().is_ready());
}

#[test]
fn c14_while_an_event_is_awaited_the_driver_receives_and_not_the_caller() {
    for (wait_for, bring) in EVENTS.into_iter().chain([END]) {
        let mut bench = at_callers();
        let mut wait = wait_for(&bench);
        assert!(wait.poll().is_pending());
        drive(&mut bench.driver);
        for _ in 0..3 {
            let (drivers, callers) = (watch(&mut bench.driver), Arc::new(Wakes::default()));
            let mut execute = bench.client.execute(&Stop);
            assert!(poll_with(&mut execute, &callers.clone().into()).is_pending());
            // It was sent by its caller.
            answer(&bench.wire);
            assert_eq!((callers.count(), drivers.count()), (0, 1));
            assert!(poll_with(&mut execute, &callers.clone().into()).is_pending());
            assert!(bench.wire.incoming() > 0, "the caller does not receive");
            drive(&mut bench.driver);
            assert_eq!(callers.count(), 1);
            assert!(poll(Pin::new(&mut execute)).is_ready());
        }
        brings(&mut bench, bring, &mut wait);
    }
}

/// The caller that had the turn is never polled again.
#[test]
fn c14_a_wait_that_begins_in_a_callers_turn_has_the_driver_receive_at_once() {
    for (wait_for, bring) in [EVENTS[0], EVENTS[1], END, IDLENESS] {
        let mut bench = at_callers();
        let drivers = watch(&mut bench.driver);
        let caller = begin(&bench.client);
        let mut wait = wait_for(&bench);
        assert!(wait.poll().is_pending());
        assert_eq!(drivers.count(), 1);
        drive(&mut bench.driver);
        brings(&mut bench, bring, &mut wait);
        std::mem::forget(caller);
    }
}

/// The driver was woken because callers receive, and finds a wait for more than replies.
#[test]
fn c14_a_wait_that_begins_before_the_driver_looks_has_it_receive_at_once() {
    for (wait_for, bring) in [EVENTS[0], EVENTS[1], END] {
        for in_a_turn in [false, true] {
            let mut bench = not_looked_after(&Builder::new());
            let caller = in_a_turn.then(|| begin(&bench.client));
            let mut wait = wait_for(&bench);
            assert!(wait.poll().is_pending());
            drive(&mut bench.driver);
            brings(&mut bench, bring, &mut wait);
            std::mem::forget(caller);
        }
    }
}

/// The driver received the reply. Another command has the turn when the task is polled.
#[test]
fn c15_a_wait_for_a_commands_event_begins_in_a_callers_turn() {
    let mut bench = at_callers();
    let mut wait = commands_event(&bench);
    // A second command makes the reply the driver's to receive.
    let second = begin(&bench.client);
    drive(&mut bench.driver);
    drop(second);
    answer(&bench.wire);
    drive(&mut bench.driver);
    assert_eq!(wait.wakes.count(), 1);
    // Enough lone commands for callers to take the turn again.
    for _ in 0..8 {
        let mut execute = begin(&bench.client);
        drive(&mut bench.driver);
        answer(&bench.wire);
        drive(&mut bench.driver);
        assert!(poll(Pin::new(&mut execute)).is_ready());
    }
    run_alone(&bench);
    let drivers = watch(&mut bench.driver);
    let caller = begin(&bench.client);
    assert!(wait.poll().is_pending());
    assert_eq!(drivers.count(), 1);
    drive(&mut bench.driver);
    brings(&mut bench, EVENTS[2].1, &mut wait);
    drop(caller);
}

#[test]
fn c13_when_nothing_else_is_awaited_any_more_callers_receive_again() {
    for (wait_for, bring) in EVENTS {
        let mut bench = at_callers();
        let mut wait = wait_for(&bench);
        assert!(wait.poll().is_pending());
        drive(&mut bench.driver);
        brings(&mut bench, bring, &mut wait);
        run_alone(&bench);
    }
}

/// A dropped future of the stream itself counts as a wait until the next event: it leaves no trace.
#[test]
fn c13_when_a_wait_is_given_up_callers_receive_again() {
    for wait_for in [event_within_a_time, commands_event, end] {
        let mut bench = at_callers();
        let mut wait = wait_for(&bench);
        assert!(wait.poll().is_pending());
        drive(&mut bench.driver);
        drop(wait);
        run_alone(&bench);
    }
}

#[test]
fn c13_when_a_wait_is_over_in_vain_callers_receive_again() {
    let mut bench = at_callers();
    let mut events = bench.client.events();
    let mut next = Wait::new(async move {
        assert!(events.next_timeout(LONG).await.is_none());
        // The subscription stays.
        std::future::pending::<()>().await;
        drop(events);
    });
    assert!(next.poll().is_pending());
    drive(&mut bench.driver);
    let_time_pass();
    assert!(next.poll().is_pending());
    run_alone(&bench);
}
