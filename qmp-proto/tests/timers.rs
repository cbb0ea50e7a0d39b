//! C24: time, as the embedder passes it in.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::time::Duration;

use qmp_proto::{Cancelled, CloseReason, CommandId, Config, Instant, Request};

use support::peer::{Descriptor, Peer, Told, config};

fn at(seconds: u64) -> Instant {
    Instant::after(Duration::from_secs(seconds))
}

/// A monitor, with one command in flight at a time.
fn one_in_flight() -> Peer {
    Peer::ready(config(|config| (config.descriptors, config.window) = (true, Some(1))))
}

#[track_caller]
fn execute(peer: &mut Peer, name: &'static str, deadline: u64) -> CommandId {
    peer.connection.execute(Request::new(name), Some(at(deadline))).unwrap()
}

#[test]
fn c24_the_next_timeout_is_the_earliest_deadline_of_a_command_that_has_not_ended() {
    let mut peer = one_in_flight();
    assert_eq!(peer.connection.poll_timeout(at(0)), None);
    peer.execute("without");
    assert_eq!(peer.connection.poll_timeout(at(0)), None);
    let late = execute(&mut peer, "late", 9);
    let early = execute(&mut peer, "early", 5);
    assert_eq!(peer.connection.poll_timeout(at(0)), Some(at(5)));
    assert_eq!(peer.withdraw(early), Some(None));
    assert_eq!(peer.connection.poll_timeout(at(0)), Some(at(9)));
    assert_eq!(peer.withdraw(late), Some(None));
    assert_eq!(peer.connection.poll_timeout(at(0)), None);
}

#[test]
fn c24_a_reply_ends_the_deadline() {
    let mut peer = one_in_flight();
    let id = execute(&mut peer, "a", 5);
    peer.sent();
    assert_eq!(peer.connection.poll_timeout(at(0)), Some(at(5)));
    peer.answer(id);
    assert_eq!(peer.connection.poll_timeout(at(0)), None);
    peer.connection.handle_timeout(at(9));
    assert_eq!(peer.told(), [Told::Return(id, "{}".to_owned())]);
}

#[test]
fn c24_due_is_when_the_deadline_is_reached_and_only_once() {
    let mut peer = one_in_flight();
    let [first, second] = [5, 5].map(|deadline| execute(&mut peer, "a", deadline));
    peer.sent();
    let just_before = Instant::after(Duration::from_nanos(4_999_999_999));
    peer.connection.handle_timeout(just_before);
    assert_eq!(peer.told(), []);
    assert_eq!(peer.connection.poll_timeout(just_before), Some(at(5)), "not a moment earlier");
    peer.connection.handle_timeout(at(5));
    peer.connection.handle_timeout(at(5));
    assert_eq!(peer.told(), [Told::TimedOut(first, true), Told::TimedOut(second, false)]);
    assert_eq!(peer.connection.poll_timeout(at(5)), None);
}

#[test]
fn c24_received_bytes_count_before_a_deadline_of_the_same_moment() {
    let mut peer = one_in_flight();
    let id = execute(&mut peer, "a", 5);
    peer.sent();
    peer.answer(id);
    peer.connection.handle_timeout(at(5));
    assert_eq!(peer.told(), [Told::Return(id, "{}".to_owned())]);
}

/// What is committed is sent whole, and its late reply is discarded.
#[test]
fn c24_a_committed_command_is_sent_whole_after_its_deadline() {
    let mut peer = one_in_flight();
    let id = execute(&mut peer, "long-name", 5);
    let next = peer.execute("next");
    peer.take(10);
    peer.connection.handle_timeout(at(5));
    assert_eq!(peer.told(), [Told::TimedOut(id, true)]);
    assert_eq!(peer.sent_names(), ["long-name"]);
    assert!(matches!(peer.connection.cancel(id), Cancelled::Unknown));
    // It is still in flight.
    assert_eq!(peer.sent_names(), [""; 0]);
    peer.answer(id);
    assert_eq!(peer.told(), []);
    assert_eq!(peer.sent_names(), ["next"]);
    peer.answer(next);
    assert_eq!(peer.told(), [Told::Return(next, "{}".to_owned())]);
}

#[test]
fn c11_the_descriptor_of_a_command_that_times_out_is_closed() {
    let mut peer = one_in_flight();
    peer.execute("first");
    peer.sent();
    let descriptor = Descriptor::open(7, &peer.open);
    let request = Request::new("getfd").descriptor(descriptor);
    let id = peer.connection.execute(request, Some(at(5))).unwrap();
    assert_eq!(peer.open(), [7]);
    peer.connection.handle_timeout(at(5));
    assert_eq!(peer.told(), [Told::TimedOut(id, false)]);
    assert!(peer.open().is_empty());
}

#[test]
fn c24_a_command_may_be_late_already() {
    let mut peer = one_in_flight();
    let id = execute(&mut peer, "a", 0);
    assert_eq!(peer.connection.poll_timeout(at(3)), Some(at(0)));
    peer.connection.handle_timeout(at(3));
    assert_eq!(peer.told(), [Told::TimedOut(id, false)]);
    assert_eq!(peer.sent_names(), [""; 0]);
}

#[test]
fn c24_no_reply_that_was_sent_whole_succeeds_at_its_deadline() {
    for (taken, whole) in [(usize::MAX, true), (5, false)] {
        let mut peer = one_in_flight();
        let request = Request::new("guest-shutdown").no_reply();
        let id = peer.connection.execute(request, Some(at(5))).unwrap();
        peer.take(taken);
        peer.connection.handle_timeout(at(5));
        let expected = match whole {
            true => Told::Return(id, "\"deadline\"".to_owned()),
            false => Told::TimedOut(id, true),
        };
        assert_eq!(peer.told(), [expected]);
    }
}

#[test]
fn c17_after_the_end_nothing_is_timed() {
    let closing: fn(&mut Peer) = |peer| peer.connection.close();
    let ended: fn(&mut Peer) = |peer| peer.connection.handle_eof();
    for (end, timed) in [(closing, Some(at(5))), (ended, None)] {
        let mut peer = one_in_flight();
        let first = execute(&mut peer, "first", 5);
        execute(&mut peer, "second", 4);
        peer.sent();
        end(&mut peer);
        peer.told();
        assert_eq!(peer.connection.poll_timeout(at(0)), timed);
        peer.connection.handle_timeout(at(9));
        let expected: &[Told] = if timed.is_some() { &[Told::TimedOut(first, true)] } else { &[] };
        assert_eq!(peer.told(), expected);
    }
}

/// Its late reply is awaited by an orderly close.
#[test]
fn c17_a_close_waits_for_the_reply_of_a_command_that_timed_out() {
    let mut peer = one_in_flight();
    let id = execute(&mut peer, "a", 5);
    peer.sent();
    peer.connection.close();
    peer.connection.handle_timeout(at(5));
    assert_eq!(peer.told(), [Told::TimedOut(id, true)]);
    peer.answer(id);
    assert_eq!(peer.told(), [Told::Closed(CloseReason::Requested)]);
}

/// Ended commands leave nothing behind, in any order.
#[test]
fn c24_memory_is_bounded_by_the_commands() {
    let mut peer = Peer::ready(Config::default());
    for round in 0..10_000 {
        let id = execute(&mut peer, "a", 1_000_000 + round);
        peer.sent();
        peer.answer(id);
        assert_eq!(peer.told().len(), 1);
        assert_eq!(peer.connection.poll_timeout(at(0)), None);
    }
}

#[test]
fn c24_moments_saturate() {
    let last = Instant::after(Duration::MAX);
    assert_eq!(last + Duration::from_secs(1), last);
    assert_eq!(at(1) - at(2), Duration::ZERO);
    assert_eq!(at(3) - at(1), Duration::from_secs(2));
    assert_eq!(Instant::ORIGIN, at(0));
    assert_eq!(at(7).since_origin(), Duration::from_secs(7));
}
