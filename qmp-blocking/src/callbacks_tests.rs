use std::os::unix::net::UnixStream;
use std::task::Waker;

use super::*;

use qmp_client::Hub;
use qmp_proto::Config;

/// Callbacks of a connection that owes no replies: it has ended.
fn callbacks() -> Arc<Callbacks> {
    let (socket, _) = UnixStream::pair().unwrap();
    let line = Line::new(Hub::new(Config::default()), socket.into()).unwrap();
    line.hub.abort();
    Callbacks::new(Arc::new(line), &CallbackOptions::default(), 8)
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
