//! Wakers are not our code: with the last one a task may go, and with it a handle of ours; and they may
//! panic. None of that happens under a lock, or is anybody else's loss.
#![cfg(not(qmp_shuttle))]
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::Stream;
use qmp_client::Error;
use qmp_proto::commands::{QueryStatus, Stop};
use qmp_proto::{CloseReason, Request};
use support::{Bench, Builder, EVENT, Wakes, poll};

mod support;

/// A task as simple executors have it: the waker owns it, and what is in it.
struct Task<T>(#[allow(dead_code, reason = "it is dropped")] T);

impl<T: Send + Sync + 'static> Wake for Task<T> {
    fn wake(self: Arc<Self>) {}
}

fn task_with(held: impl Send + Sync + 'static) -> Waker {
    Arc::new(Task(held)).into()
}

fn poll_with<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Fails where it hangs.
fn ends(run: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        run();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(20)).expect("it ends");
}

#[test]
fn c18_with_a_waker_the_last_handle_may_go() {
    ends(|| {
        let Bench { wire, client, driver: _driver, .. } = Bench::new(&Builder::new(), usize::MAX);
        let mut execute = Box::pin(client.execute(&Stop));
        let waker = task_with(client);
        assert!(poll_with(execute.as_mut(), &waker).is_pending());
        drop(waker);
        drop(execute);
        assert!(wire.is_shut());
    });
}

#[test]
fn c8_with_a_waker_another_command_may_go() {
    ends(|| {
        let Bench { client, driver: _driver, .. } = Bench::new(&Builder::new(), usize::MAX);
        let mut other = client.execute(&Stop);
        assert!(poll(Pin::new(&mut other)).is_pending());
        let waker = task_with(std::sync::Mutex::new(other));
        let mut moved = pin!(client.execute(&Stop));
        let mut idle = pin!(client.wait_idle(None));
        let mut events = pin!(client.events());
        assert!(poll_with(moved.as_mut(), &waker).is_pending());
        assert!(poll_with(idle.as_mut(), &waker).is_pending());
        assert!(events.as_mut().poll_next(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        // Each goes on in another task.
        let next = events.as_mut().poll_next(&mut Context::from_waker(Waker::noop()));
        assert!(next.is_pending());
        assert!(poll(idle.as_mut()).is_pending());
        assert!(poll(moved.as_mut()).is_pending());
    });
}

#[test]
fn c18_the_driver_moves_to_another_task() {
    ends(|| {
        let Bench { client, mut driver, .. } = Bench::new(&Builder::new(), usize::MAX);
        let waker = task_with(client);
        assert!(poll_with(Pin::new(&mut driver), &waker).is_pending());
        drop(waker);
        let ended = futures_lite::future::block_on(driver);
        assert_eq!(ended, CloseReason::Requested);
    });
}

/// As one whose executor is gone.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("this waker panics");
    }
}

#[test]
fn c17_a_waker_that_panics_keeps_nobody_else_waiting() {
    let mut bench = Bench::new(&Builder::new(), usize::MAX);
    let client = bench.client.clone();
    let (bad, wakes) = (Waker::from(Arc::new(Panics)), Arc::new(Wakes::default()));
    let good = Waker::from(wakes.clone());
    let mut until = pin!(client.execute_until(&Stop, |_| false));
    let (mut first, mut second) = (client.execute(&Stop), client.execute(&Stop));
    let mut closed = pin!(client.closed());
    assert!(poll_with(until.as_mut(), &good).is_pending());
    assert!(poll_with(Pin::new(&mut first), &bad).is_pending());
    assert!(poll_with(Pin::new(&mut second), &good).is_pending());
    assert!(poll_with(closed.as_mut(), &good).is_pending());
    let mut events = pin!(client.events());
    assert!(events.as_mut().poll_next(&mut Context::from_waker(&bad)).is_pending());
    // Events, and the replies behind them.
    bench.wire.say(EVENT);
    bench.step();
    assert!(wakes.count() > 0);
    assert!(matches!(poll(Pin::new(&mut second)), Poll::Ready(Ok(_))));
    bench.wire.end();
    assert!(poll(Pin::new(&mut bench.driver)).is_ready());
    assert!(matches!(poll(until), Poll::Ready(Err(Error::Closed(_)))));
    assert!(poll(closed).is_ready());
}

/// With out-of-band execution a second descriptor waits for the first, and what is behind it too.
#[test]
fn c8_what_was_behind_a_withdrawn_command_is_sent() {
    let Bench { wire, client, mut driver, .. } = Bench::new(&Builder::new().oob(true), usize::MAX);
    let add = || {
        let null = std::fs::File::open("/dev/null").unwrap();
        client.execute_request(Request::new("add-fd").descriptor(null.into()))
    };
    let (mut first, mut second) = (add(), add());
    let mut behind = client.execute(&QueryStatus);
    assert!(poll(Pin::new(&mut first)).is_pending());
    assert!(poll(Pin::new(&mut second)).is_pending());
    assert!(poll(Pin::new(&mut behind)).is_pending());
    let wakes = Arc::new(Wakes::default());
    assert!(poll_with(Pin::new(&mut driver), &wakes.clone().into()).is_pending());
    assert!(!wire.take_sent().contains("query-status"), "it has its place behind the second");
    drop(second);
    assert_eq!(wakes.count(), 1, "the driver has something to do");
    assert!(poll(Pin::new(&mut driver)).is_pending());
    assert!(wire.take_sent().contains("query-status"));
}
