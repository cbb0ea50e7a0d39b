//! A connection with one caller at a time, and the means to poll callers and driver by hand.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_lite::Stream;
use qmp_client::asynchronous::{Client, Driver, Events, Execute};
use qmp_proto::Empty;
use qmp_proto::commands::Stop;

use super::{Bench, Builder, Wakes, Wire, id, poll};

/// A connection whose driver has seen that callers come one at a time, and leaves receiving to them.
pub fn at_callers() -> Bench {
    at_callers_of(&Builder::new())
}

pub fn at_callers_of(builder: &Builder) -> Bench {
    let mut bench = not_looked_after(builder);
    assert!(poll(Pin::new(&mut bench.driver)).is_pending());
    bench
}

/// The same, but the driver has not been polled since.
pub fn not_looked_after(builder: &Builder) -> Bench {
    let mut bench = Bench::over(Wire::new().shared(), builder);
    let drivers = watch(&mut bench.driver);
    for _ in 0..8 {
        run_alone(&bench);
    }
    assert_eq!(drivers.count(), 1, "once, to look after them");
    bench
}

/// A command of which the driver learns nothing.
pub fn run_alone(bench: &Bench) {
    let mut execute = pin!(bench.client.execute(&Stop));
    if poll(execute.as_mut()).is_pending() {
        answer(&bench.wire);
        assert!(matches!(poll(execute), Poll::Ready(Ok(_))), "its caller receives it");
    }
}

pub fn begin(client: &Client) -> Execute<Empty> {
    let mut execute = client.execute(&Stop);
    assert!(poll(Pin::new(&mut execute)).is_pending());
    execute
}

/// Answers all that was sent, in one piece.
pub fn answer(wire: &Wire) {
    let sent = wire.take_sent();
    let replies =
        sent.lines().map(|line| format!("{{\"return\": {{}}, \"id\": {}}}\r\n", id(line)));
    wire.say(replies.collect::<String>());
}

pub fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Polls the driver once, and counts how often it is woken from then on.
pub fn watch(driver: &mut Driver) -> Arc<Wakes> {
    let wakes = Arc::new(Wakes::default());
    assert!(poll_with(driver, &wakes.clone().into()).is_pending());
    wakes
}

pub fn next(events: &mut Events) -> Option<String> {
    match Pin::new(events).poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(event))) => Some(event.name().to_owned()),
        _ => None,
    }
}

/// The driver has its turn as often as it asks for one.
pub fn drive(driver: &mut Driver) {
    let wakes = Arc::new(Wakes::default());
    let mut asked = None;
    while asked != Some(wakes.count()) {
        asked = Some(wakes.count());
        assert!(poll_with(driver, &wakes.clone().into()).is_pending());
    }
}
