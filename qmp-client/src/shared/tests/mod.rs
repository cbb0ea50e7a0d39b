//! The shared state, with the test in the server's place. `agent` has the tests of guest agents.

mod agent;

use super::*;

use std::sync::mpsc;
use std::thread;

use qmp_proto::Request;

use crate::shared::testing::{
    PATIENCE, Wakes, command, event_text, execute, greeted, hear, ready, reply, send,
};

fn ids(sent: &str) -> impl Iterator<Item = &str> {
    sent.lines().filter_map(|line| Some(line.rsplit_once(':')?.1.trim_end_matches('}')))
}

#[test]
fn c9_commands_wait_until_the_server_is_ready() {
    let (shared, handshake) = greeted();
    let (wakes, waker) = Wakes::new();
    let _pending = execute(&shared, "stop");
    let mut ready = shared.ready();
    assert!(ready.poll(&waker).is_pending());
    assert_eq!(send(&shared), "");
    hear(&shared, &reply(handshake));
    assert_eq!(wakes.count(), 1);
    assert!(matches!(ready.poll(&waker), Poll::Ready(Ok(_))));
    assert!(send(&shared).contains("stop"));
}

#[test]
fn c17_an_end_before_ready_is_told() {
    let (shared, _) = greeted();
    let (wakes, waker) = Wakes::new();
    let mut ready = shared.ready();
    assert!(ready.poll(&waker).is_pending());
    assert!(!shared.receive(Received::Eof));
    assert_eq!(wakes.count(), 1);
    let eof = CloseReason::Eof { mid_message: false };
    assert!(matches!(ready.poll(&waker), Poll::Ready(Err(reason)) if reason == eof));
    assert_eq!(shared.closed().poll(&waker), Poll::Ready(eof));
}

#[test]
fn c8_what_the_transport_did_not_take_stays_and_goes_out_once() {
    let shared = ready();
    let _pending = execute(&shared, "stop");
    let mut sent = Vec::new();
    // One byte a call, and full after each.
    for _ in 0..10 {
        let mut taken = false;
        let flushed = shared.flush(|bytes, _| {
            if taken {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            taken = true;
            sent.push(bytes[0]);
            Ok(1)
        });
        assert_eq!(flushed, Flushed::Blocked);
        assert!(shared.is_blocked());
    }
    sent.extend(send(&shared).into_bytes());
    assert!(!shared.is_blocked());
    let sent = String::from_utf8(sent).unwrap();
    assert!(sent.starts_with("{\"execute\":\"stop\",\"id\":"), "{sent}");
    assert_eq!(sent.matches("stop").count(), 1);
}

#[test]
fn c8_an_interrupted_send_is_repeated() {
    let shared = ready();
    let _pending = execute(&shared, "stop");
    let mut calls = 0;
    let flushed = shared.flush(|bytes, _| {
        calls += 1;
        if calls == 1 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(bytes.len()) }
    });
    assert_eq!((flushed, calls), (Flushed::All, 2));
}

/// What the server said before it reset the connection still counts, and the failure to send is
/// the reason of the end.
#[test]
fn c17_after_a_failure_to_send_what_came_before_is_still_read() {
    let shared = ready();
    let (_, waker) = Wakes::new();
    let mut first = execute(&shared, "stop");
    send(&shared);
    let (mut second, mut third) = (execute(&shared, "cont"), execute(&shared, "system_reset"));
    let mut taken = [Ok(3), Err(io::ErrorKind::BrokenPipe.into())].into_iter();
    assert_eq!(shared.flush(|_, _| taken.next().unwrap()), Flushed::Failed);
    // Nothing is tried any more, and nothing else is torn: these are safe to try again.
    let mut fourth = execute(&shared, "system_powerdown");
    assert_eq!(send(&shared), "");
    assert!(hear(&shared, &reply(first.id())));
    assert!(!shared.receive(Received::Eof));
    let reset = || CloseReason::Failed(IoFailure::Reset);
    assert!(matches!(first.poll(&waker), Poll::Ready(Ok(_))));
    assert_eq!(second.poll(&waker), Poll::Ready(Err(Error::Unanswered(reset()))));
    for unsent in [&mut third, &mut fourth] {
        assert_eq!(unsent.poll(&waker), Poll::Ready(Err(Error::NotSent(reset()))));
    }
    assert_eq!(shared.closed().poll(&waker), Poll::Ready(reset()));
}

#[test]
fn c16_withdrawing_the_last_command_makes_it_idle() {
    let shared = ready();
    let (wakes, waker) = Wakes::new();
    assert!(shared.idle().poll(&waker).is_ready());
    let pending = execute(&shared, "stop");
    let mut idle = shared.idle();
    assert!(idle.poll(&waker).is_pending());
    assert_eq!(pending.give_up(), Err(Error::TimedOut { sent: false }));
    assert_eq!(wakes.count(), 1);
    assert!(idle.poll(&waker).is_ready());
    assert_eq!(send(&shared), "");
}

#[test]
fn c17_after_the_end_everything_says_so() {
    let shared = ready();
    let (_, waker) = Wakes::new();
    shared.abort();
    assert!(shared.is_closed());
    let refused = shared.execute(command("stop"), None).unwrap_err();
    assert_eq!(refused, Refusal::Closed(CloseReason::Requested));
    let refused = shared.execute_until(command("stop"), Box::new(|_| true)).unwrap_err();
    assert_eq!(refused, Refusal::Closed(CloseReason::Requested));
    assert!(shared.subscribe(EventLimits::default()).poll_next(&waker) == Poll::Ready(None));
    assert!(!shared.receive(Received::Eof));
    assert_eq!(shared.closed().poll(&waker), Poll::Ready(CloseReason::Requested));
}

/// Others may end or withdraw commands while the transport receives. Who receives goes on to read
/// next, so by then all that has come must have been handed out.
#[test]
fn c17_what_was_received_is_handed_out_when_receive_returns() {
    let shared = ready();
    let (_, waker) = Wakes::new();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(execute(&shared, "withdrawn"));
            }
        });
        for _ in 0..500 {
            let matcher = |_: &_| {
                thread::yield_now();
                false
            };
            let _until = shared.execute_until(command("watching"), Box::new(matcher)).unwrap();
            let mut pending = execute(&shared, "stop");
            // All are answered, those of the other thread that it withdrew too late included.
            let replies: String = ids(&send(&shared)).map(reply).collect();
            hear(&shared, &(event_text("STOP") + &replies));
            let told = pending.poll(&waker).is_ready();
            // Let the other thread end too before this one fails.
            done.fetch_or(!told, Ordering::Relaxed);
            assert!(told, "a reply was received, and not told");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn c15_matchers_run_without_the_lock() {
    let shared = ready();
    let looking = shared.clone();
    let _until = shared
        .execute_until(command("device_del"), Box::new(move |_| looking.is_closed()))
        .unwrap();
    send(&shared);
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        hear(&shared, &event_text("DEVICE_DELETED"));
        done.send(())
    });
    is_done.recv_timeout(PATIENCE).expect("the matcher can use the shared");
}

/// What a matcher owns is a caller's code too, and its end may be that of the last client.
#[test]
fn c15_matchers_are_dropped_without_the_lock() {
    struct LooksWhenDropped(Arc<SharedConnection>);
    impl Drop for LooksWhenDropped {
        fn drop(&mut self) {
            self.0.is_closed();
        }
    }

    let shared = ready();
    let ((begun, has_begun), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<()>());
    let may_go_on = Mutex::new(may_go_on);
    let owned = LooksWhenDropped(shared.clone());
    let matcher = move |_: &_| {
        begun.send(()).unwrap();
        may_go_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let _ = &owned;
        false
    };
    let until = shared.execute_until(command("device_del"), Box::new(matcher)).unwrap();
    send(&shared);
    let (done, is_done) = mpsc::channel();
    let receiving = shared.clone();
    thread::spawn(move || {
        hear(&receiving, &event_text("DEVICE_DELETED"));
        done.send(())
    });
    has_begun.recv_timeout(PATIENCE).unwrap();
    // The caller gives up meanwhile, so that the matcher is the receiving thread's to drop.
    assert_eq!(until.give_up(), Error::TimedOut { sent: true });
    go_on.send(()).unwrap();
    is_done.recv_timeout(PATIENCE).expect("the matcher's end can use the shared");
}

/// Closing needs nobody to receive.
#[test]
fn c19_close_ends_what_waits_and_keeps_what_is_in_flight() {
    let shared = ready();
    let (wakes, waker) = Wakes::new();
    let mut sent = execute(&shared, "stop");
    send(&shared);
    let mut queued = execute(&shared, "cont");
    assert!(queued.poll(&waker).is_pending());
    shared.close();
    assert_eq!(wakes.count(), 1);
    let not_sent = Error::NotSent(CloseReason::Requested);
    assert_eq!(queued.poll(&waker), Poll::Ready(Err(not_sent)));
    assert_eq!(shared.execute(command("stop"), None).unwrap_err(), Refusal::Closing);
    assert!(shared.closed().poll(&waker).is_pending());
    assert!(!hear(&shared, &reply(sent.id())), "that was the last reply");
    assert!(matches!(sent.poll(&waker), Poll::Ready(Ok(_))));
    assert_eq!(shared.closed().poll(&waker), Poll::Ready(CloseReason::Requested));
}

/// However often one asks, one is noted once; who gives up waiting is not.
#[test]
fn waiters_are_kept_once_and_woken_once() {
    let shared = ready();
    let _pending = execute(&shared, "stop");
    let ((wakes, waker), (others, other)) = (Wakes::new(), Wakes::new());
    let (mut idle, mut closed, mut given_up) = (shared.idle(), shared.closed(), shared.closed());
    for _ in 0..3 {
        assert!(idle.poll(&waker).is_pending());
        assert!(closed.poll(&waker).is_pending());
        assert!(given_up.poll(&other).is_pending());
    }
    drop(given_up);
    shared.abort();
    assert_eq!((wakes.count(), others.count()), (2, 0));
    assert!(idle.poll(&waker).is_ready() && closed.poll(&waker).is_ready());
}

/// What comes before wakes nobody who waits for the end alone.
#[test]
fn only_those_whom_it_concerns_are_woken() {
    let shared = ready();
    let ((wakes, waker), (others, other)) = (Wakes::new(), Wakes::new());
    let (mut idle, mut closed) = (shared.idle(), shared.closed());
    let pending = execute(&shared, "stop");
    assert!(idle.poll(&waker).is_pending());
    assert!(closed.poll(&other).is_pending());
    send(&shared);
    hear(&shared, &reply(pending.id()));
    assert_eq!((wakes.count(), others.count()), (1, 0));
}

#[test]
fn errors_of_the_system_are_told_apart() {
    let failure = |kind: io::ErrorKind| IoFailure::from(&kind.into());
    assert_eq!(failure(io::ErrorKind::ConnectionReset), IoFailure::Reset);
    assert_eq!(failure(io::ErrorKind::BrokenPipe), IoFailure::Reset);
    assert_eq!(failure(io::ErrorKind::UnexpectedEof), IoFailure::Eof);
    let received = Received::from(&io::ErrorKind::UnexpectedEof.into());
    assert!(matches!(received, Received::Eof), "{received:?}");
    assert_eq!(
        failure(io::ErrorKind::PermissionDenied),
        IoFailure::Other("permission denied".into())
    );
    let error = rustix::io::Errno::NOTSOCK;
    assert_eq!(IoFailure::from(&error.into()), IoFailure::Os(error.raw_os_error()));
}

/// Events may be rare: until the next one, what nobody reads any more must not pile up.
#[test]
fn c14_what_is_dropped_is_not_kept_until_the_next_event() {
    let shared = ready();
    let kept = shared.subscribe(EventLimits::default());
    for _ in 0..100 {
        drop(shared.subscribe(EventLimits::default()));
        assert!(shared.lock().subscribers.len() <= 2);
    }
    let last = shared.subscribe(EventLimits::default());
    assert_eq!(shared.lock().subscribers.len(), 2);
    hear(&shared, &event_text("STOP"));
    for subscription in [kept, last] {
        let next = subscription.poll_next(Waker::noop());
        assert!(matches!(next, Poll::Ready(Some(Ok(event))) if event.name() == "STOP"));
    }
}

#[test]
fn c14_a_subscription_after_the_end_is_not_kept() {
    let shared = ready();
    let before = shared.subscribe(EventLimits::default());
    assert!(!shared.receive(Received::Eof));
    for _ in 0..10 {
        let late = shared.subscribe(EventLimits::default());
        assert!(late.poll_next(Waker::noop()) == Poll::Ready(None));
        assert_eq!(shared.lock().subscribers.len(), 0);
    }
    assert!(before.poll_next(Waker::noop()) == Poll::Ready(None));
}

/// A subscriber that comes while the last events are handed out still gets its end.
#[test]
fn c17_a_subscription_during_the_end_ends() {
    let shared = ready();
    let (subscribed, subscription) = mpsc::channel();
    let subscribing = shared.clone();
    let subscribed = Mutex::new(Some(subscribed));
    let matcher = move |_: &_| {
        if let Some(subscribed) = subscribed.lock().unwrap().take() {
            subscribed.send(subscribing.subscribe(EventLimits::default())).unwrap();
        }
        false
    };
    let _until = shared.execute_until(command("device_del"), Box::new(matcher)).unwrap();
    send(&shared);
    // The event, and in the same piece what ends the connection.
    assert!(!hear(&shared, &(event_text("DEVICE_DELETED") + "garbage")));
    let subscription = subscription.recv_timeout(PATIENCE).unwrap();
    assert!(subscription.poll_next(Waker::noop()) == Poll::Ready(None));
    assert_eq!(shared.lock().subscribers.len(), 0);
}

/// The transport takes a byte and no more: what comes later was never sent.
#[test]
fn c8_behind_a_transport_that_is_full_commands_can_be_withdrawn() {
    let shared = ready();
    let first = execute(&shared, "first");
    let mut left = 1;
    let mut flush = || {
        shared.flush(|_, _| match std::mem::take(&mut left) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        })
    };
    assert_eq!(flush(), Flushed::Blocked);
    let second = execute(&shared, "second");
    assert_eq!(flush(), Flushed::Blocked);
    let _third = execute(&shared, "third");
    assert_eq!(flush(), Flushed::Blocked);
    assert_eq!(second.give_up(), Err(Error::TimedOut { sent: false }));
    assert_eq!(first.give_up(), Err(Error::TimedOut { sent: true }));
    let sent = send(&shared);
    assert!(sent.contains("first") && sent.contains("third"), "{sent}");
    assert!(!sent.contains("second"), "{sent}");
}

/// Queued, sent in part, received in part, and told and not fetched.
#[test]
fn c22_the_hub_is_shown_without_what_goes_through_it() {
    const SECRET: &str = "hunter2";
    #[track_caller]
    fn assert_unseen(shown: &impl std::fmt::Debug) {
        for text in [format!("{shown:?}"), format!("{shown:#?}")] {
            assert!(!text.contains(SECRET), "{text}");
            let dense: String = text.split_whitespace().collect();
            assert!(!dense.contains("104,117,110"), "{text}");
        }
    }
    let (shared, handshake) = greeted();
    let prepared = || {
        let arguments = std::collections::BTreeMap::from([("password", SECRET)]);
        Request::new("set_password").arguments(arguments).prepare().unwrap()
    };
    let events = shared.subscribe(EventLimits::default());
    let pending = shared.execute(prepared(), None).unwrap();
    let until = shared.execute_until(prepared(), Box::new(|_| true)).unwrap();
    assert_unseen(&shared);
    hear(&shared, &reply(handshake));
    let mut taken = false;
    let flushed = shared.flush(|bytes, _| match std::mem::replace(&mut taken, true) {
        true => Err(io::ErrorKind::WouldBlock.into()),
        false => Ok(bytes.len() / 2),
    });
    assert_eq!(flushed, Flushed::Blocked);
    let behind = shared.execute(prepared(), None).unwrap();
    assert_unseen(&shared);
    send(&shared);
    let id = pending.id();
    hear(
        &shared,
        &format!(r#"{{"event": "A", "data": "{SECRET}"}} {{"return": "{SECRET}", "id": {id}}}"#),
    );
    hear(&shared, &format!(r#"{{"return": "{SECRET}"#));
    assert_unseen(&shared);
    assert_unseen(&(&pending, &until, &behind, &events));
}

#[test]
fn c17_the_adapters_reason_to_end_is_told_to_all() {
    let shared = ready();
    let mut sent = execute(&shared, "stop");
    send(&shared);
    let mut waiting = execute(&shared, "cont");
    let reason = CloseReason::CallbackPanicked("oh".into());
    shared.abort_with(reason.clone());
    shared.abort();
    let Poll::Ready(Err(error)) = sent.poll(Waker::noop()) else { panic!("it is over") };
    assert_eq!(error, Error::Unanswered(reason.clone()));
    let Poll::Ready(Err(error)) = waiting.poll(Waker::noop()) else { panic!("it is over") };
    assert_eq!(error, Error::NotSent(reason.clone()));
    assert_eq!(shared.inspect(|connection| connection.close_reason().cloned()), Some(reason));
}
