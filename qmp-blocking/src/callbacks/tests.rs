use std::os::unix::net::UnixStream;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

use qmp_client::{EventLimits, SharedConnection};
use qmp_proto::Config;

use crate::io::turns::{Look, Successor};

const LONG: Duration = Duration::from_secs(10);

/// Callbacks of a connection that owes no replies: it has ended.
fn callbacks() -> Arc<Callbacks> {
    let (socket, _) = UnixStream::pair().unwrap();
    let io = ThreadIo::new(SharedConnection::new(Config::default()), socket.into()).unwrap();
    io.shared.abort();
    Callbacks::new(Arc::new(io), &CallbackOptions::default(), 8)
}

/// A client without callbacks would keep the waker of every thread that ever waited.
#[test]
fn a_wait_that_is_over_leaves_no_waker() {
    let callbacks = callbacks();
    let mut idle = Idle::new(&callbacks).unwrap();
    assert!(idle.poll(Waker::noop()).is_ready());
    assert!(lock(&callbacks.state).waiting.is_empty());
}

#[test]
fn a_wait_that_is_given_up_leaves_no_waker() {
    let callbacks = callbacks();
    let unfinished = callbacks.begin().unwrap();
    let mut waits = [Idle::new(&callbacks).unwrap(), Idle::new(&callbacks).unwrap()];
    for _ in 0..3 {
        assert!(waits.iter_mut().all(|idle| idle.poll(Waker::noop()).is_pending()));
    }
    assert_eq!(lock(&callbacks.state).waiting.len(), 2);
    let [first, mut second] = waits;
    drop(first);
    assert_eq!(lock(&callbacks.state).waiting.len(), 1, "the other still waits");
    drop(unfinished);
    assert!(lock(&callbacks.state).waiting.is_empty());
    assert!(second.poll(Waker::noop()).is_ready());
}

/// It is patient while callers read, as the next one may come at once. But no caller need come for an event.
#[test]
fn c14_the_background_thread_has_no_patience_while_a_callback_is_registered() {
    let (socket, _server) = UnixStream::pair().unwrap();
    let io =
        Arc::new(ThreadIo::new(SharedConnection::new(Config::default()), socket.into()).unwrap());
    let callbacks = Callbacks::new(io.clone(), &CallbackOptions::default(), 8);
    let buffer = io.turns.take_or_park().unwrap();
    assert_eq!(io.turns.leave(Some(buffer)), Successor::Found);
    let look = || io.turns.look(0).0;
    assert_eq!(look(), Look::Changed(1));
    let register = || callbacks.register(io.shared.subscribe(EventLimits::default()), drop);
    let [first, second] = [register(), register()];
    assert_eq!(look(), Look::Idle);
    drop(first);
    assert_eq!(look(), Look::Idle);
    drop(second);
    assert_eq!(look(), Look::Changed(1));
    // The end of the connection ends the wait, though the guard is kept.
    let ended = register();
    io.shared.abort();
    let start = Instant::now();
    while look() != Look::Changed(1) {
        assert!(start.elapsed() < LONG, "the wait does not end");
        thread::yield_now();
    }
    drop(ended);
}
