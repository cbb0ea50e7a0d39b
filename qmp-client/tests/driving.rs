//! Who writes, who reads, and what is left when nobody does any more.
#![cfg(not(qmp_shuttle))]
#![allow(missing_docs, reason = "a test")]

use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_lite::StreamExt;
use futures_lite::future::block_on;
use qmp_client::Error;
use qmp_client::asynchronous::{Client, Driver, Events, Execute, ExecuteUntil, Transport};
use qmp_proto::commands::{Cont, QueryStatus, Quit, Stop};
use qmp_proto::{CloseReason, Empty, IoFailure, Refusal, Request};
use support::{Bench, Builder, EVENT, GREETING, Wakes, Wire, id, poll};

mod support;

const GONE: CloseReason = CloseReason::Failed(IoFailure::DriverGone);

#[test]
fn c13_they_may_go_to_any_thread() {
    fn may_go<T: Send>() {}
    fn may_be_shared<T: Send + Sync + Clone + 'static>() {}
    may_be_shared::<Client>();
    may_go::<Execute<Empty>>();
    may_go::<ExecuteUntil<Empty>>();
    may_go::<Events>();
    may_go::<Driver>();
}

#[test]
fn a_lone_command_is_written_by_its_caller() {
    let bench = Bench::new(&Builder::new(), usize::MAX);
    let mut execute = pin!(bench.client.execute(&Stop));
    assert_eq!(bench.wire.take_sent(), "", "a future does nothing until it is polled");
    assert!(poll(execute.as_mut()).is_pending());
    // The driver has not been polled.
    assert!(bench.wire.take_sent().starts_with("{\"execute\":\"stop\""));
}

#[test]
fn what_many_execute_at_once_goes_out_in_one_write() {
    let mut bench = Bench::new(&Builder::new(), usize::MAX);
    let before = bench.wire.writes();
    let mut callers: Vec<_> = (0..64).map(|_| bench.client.execute(&Stop)).collect();
    for caller in &mut callers {
        assert!(poll(Pin::new(caller)).is_pending());
    }
    bench.step();
    // The first one's, and that of all others.
    assert_eq!(bench.wire.writes() - before, 2);
    assert_eq!(bench.commands.len(), 64);
    for caller in callers {
        assert!(bench.run(caller).is_ok());
    }
}

#[test]
fn c10_out_of_band_waits_for_nobody() {
    let bench = Bench::new(&Builder::new().oob(true), usize::MAX);
    let mut slow = pin!(bench.client.execute(&Stop));
    assert!(poll(slow.as_mut()).is_pending());
    bench.wire.take_sent();
    let urgent = Request::new("migrate-pause").out_of_band();
    let mut urgent = pin!(bench.client.execute_request(urgent));
    assert!(poll(urgent.as_mut()).is_pending());
    assert!(bench.wire.take_sent().starts_with("{\"exec-oob\":"));
}

/// One poll does a bounded amount of work, and asks for another.
#[test]
fn a_flood_of_events_starves_nobody() {
    let mut bench = Bench::new(&Builder::new(), usize::MAX);
    bench.wire.say(EVENT.repeat(20_000));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut polls = 0;
    while bench.wire.incoming() > 0 {
        let before = bench.wire.incoming();
        let polled = Pin::new(&mut bench.driver).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        polls += 1;
        assert!(before - bench.wire.incoming() <= 256 << 10, "so much in one poll");
        let asked = wakes.count();
        assert!(asked == polls || bench.wire.incoming() == 0, "it asks for its next turn");
    }
    assert!(polls > 4);
}

#[test]
fn c17_when_the_driver_is_dropped_everyone_learns_it() {
    let Bench { wire, client, events, driver, .. } = Bench::new(&Builder::new(), usize::MAX);
    let mut begun = pin!(client.execute(&Stop));
    let mut idle = pin!(client.wait_idle(None));
    let mut closed = pin!(client.closed());
    assert!(poll(begun.as_mut()).is_pending());
    assert!(poll(idle.as_mut()).is_pending());
    assert!(poll(closed.as_mut()).is_pending());
    drop(driver);
    assert!(wire.is_shut());
    assert_eq!(poll(begun), Poll::Ready(Err(Error::Unanswered(GONE))));
    assert_eq!(poll(idle), Poll::Ready(Ok(())));
    assert_eq!(poll(closed), Poll::Ready(GONE));
    assert_eq!(block_on(events.count()), 0);
    let refused = block_on(client.execute(&Cont));
    assert_eq!(refused, Err(Error::Refused(Refusal::Closed(GONE))));
    assert!(GONE.to_string().ends_with("its driver was dropped or panicked"));
}

/// A transport with a fault in it.
struct Faulty(Wire);

impl Transport for Faulty {
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send(context, bytes, descriptor)
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let received = self.0.poll_receive(context, buffer);
        if let Poll::Ready(Ok(length)) = received {
            assert!(!buffer[..length].starts_with(b"fault"));
        }
        received
    }

    fn shut_down(&self) {
        self.0.shut_down();
    }
}

/// Its `try_send` is the trait's: all is left to the driver.
#[test]
fn c17_when_the_driver_panics_everyone_learns_it() {
    let wire = Wire::new();
    let builder = Builder::new();
    let mut connecting = pin!(builder.from_transport_with_driver(Faulty(wire.clone())));
    wire.say(GREETING);
    assert!(poll(connecting.as_mut()).is_pending());
    wire.answer(&[id(&wire.take_sent()).to_owned()]);
    let Poll::Ready(Ok((client, _, mut driver))) = poll(connecting) else { panic!() };
    let mut execute = pin!(client.execute(&Stop));
    assert!(poll(execute.as_mut()).is_pending());
    assert_eq!(wire.take_sent(), "");
    assert!(poll(Pin::new(&mut driver)).is_pending());
    assert!(wire.take_sent().contains("stop"));
    wire.say("fault");
    // As an executor does.
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _ = poll(Pin::new(&mut driver));
    }));
    assert!(panicked.is_err());
    assert_eq!(poll(execute), Poll::Ready(Err(Error::Unanswered(GONE))));
}

#[test]
fn c18_an_unfinished_future_is_a_handle() {
    let Bench { wire, client, mut driver, .. } = Bench::new(&Builder::new(), usize::MAX);
    let mut execute = pin!(client.execute(&QueryStatus));
    let events = client.events();
    drop(client);
    assert!(!wire.is_shut(), "the command can still be executed");
    assert!(poll(execute.as_mut()).is_pending());
    wire.answer(&[id(&wire.take_sent()).to_owned()]);
    assert!(poll(Pin::new(&mut driver)).is_pending());
    // What the server returns is no status.
    assert!(matches!(poll(execute.as_mut()), Poll::Ready(Err(Error::Decode(_)))));
    assert!(wire.is_shut(), "it has ended, and event streams are no handles");
    assert_eq!(block_on(events.count()), 0);
    assert_eq!(block_on(driver), CloseReason::Requested);
}

/// At once, whether the driver is polled or not.
#[test]
fn c18_the_last_handle_closes() {
    let Bench { wire, client, driver, .. } = Bench::new(&Builder::new(), usize::MAX);
    let other = client.clone();
    drop(client);
    assert!(!wire.is_shut());
    drop(other);
    assert!(wire.is_shut());
    assert_eq!(block_on(driver), CloseReason::Requested);
}

#[test]
fn c12_nothing_follows_quit() {
    let mut bench = Bench::new(&Builder::new(), usize::MAX);
    let mut quit = pin!(bench.client.execute(&Quit));
    let mut late = pin!(bench.client.execute(&Stop));
    assert!(poll(quit.as_mut()).is_pending() && poll(late.as_mut()).is_pending());
    assert!(poll(Pin::new(&mut bench.driver)).is_pending());
    let sent = bench.wire.take_sent();
    assert!(sent.ends_with('}') && sent.contains("quit") && !sent.contains("stop"), "{sent}");
    bench.wire.answer(&[id(&sent).to_owned()]);
    bench.wire.end();
    assert_eq!(block_on(&mut bench.driver), CloseReason::Quit);
    assert!(matches!(poll(quit), Poll::Ready(Ok(_))));
    assert_eq!(poll(late), Poll::Ready(Err(Error::NotSent(CloseReason::Quit))));
}
