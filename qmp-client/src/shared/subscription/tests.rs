use super::*;

use crate::shared::testing::{Wakes, event};

fn queue(limits: EventLimits) -> (Subscription, Arc<EventQueue>) {
    Subscription::new(limits, None)
}

/// What the subscriber finds: an event's name, or how many were lost.
fn found(subscription: &Subscription) -> Vec<Result<String, u64>> {
    let mut found = Vec::new();
    while let Poll::Ready(Some(next)) = subscription.poll_next(Waker::noop()) {
        found.push(next.map(|event| event.name().to_owned()).map_err(|lagged| lagged.0));
    }
    found
}

fn push(queue: &EventQueue, name: &str) {
    assert!(queue.push(Cow::Owned(event(name))).is_ok());
}

fn names(names: &[&str]) -> Vec<Result<String, u64>> {
    names.iter().map(|name| Ok((*name).to_owned())).collect()
}

#[test]
fn c14_events_come_in_order_and_end() {
    let (subscription, queue) = queue(EventLimits::default());
    ["A", "B", "C"].iter().for_each(|name| push(&queue, name));
    queue.end();
    assert_eq!(found(&subscription), names(&["A", "B", "C"]));
    assert!(subscription.poll_next(Waker::noop()) == Poll::Ready(None));
}

#[test]
fn c14_the_oldest_are_lost_and_counted_where_they_were() {
    let (subscription, queue) = queue(EventLimits { events: 2, bytes: usize::MAX });
    ["A", "B", "C", "D", "E"].iter().for_each(|name| push(&queue, name));
    assert_eq!(found(&subscription), [vec![Err(3)], names(&["D", "E"])].concat());
    push(&queue, "F");
    assert_eq!(found(&subscription), names(&["F"]));
}

#[test]
fn c14_the_queue_is_bounded_in_bytes() {
    let bytes = 3 * size(&event("A"));
    let (subscription, queue) = queue(EventLimits { events: usize::MAX, bytes });
    ["A", "B", "C"].iter().for_each(|name| push(&queue, name));
    assert_eq!(found(&subscription), names(&["A", "B", "C"]));
    ["A", "B", "C", "D"].iter().for_each(|name| push(&queue, name));
    assert_eq!(found(&subscription), [vec![Err(1)], names(&["B", "C", "D"])].concat());
}

#[test]
fn c14_one_event_is_held_whatever_the_limits() {
    let (subscription, queue) = queue(EventLimits { events: 0, bytes: 0 });
    ["A", "B"].iter().for_each(|name| push(&queue, name));
    assert_eq!(found(&subscription), [vec![Err(1)], names(&["B"])].concat());
}

#[test]
fn the_waiting_subscriber_is_woken_by_an_event_and_by_the_end() {
    let (subscription, queue) = queue(EventLimits::default());
    let (wakes, waker) = Wakes::new();
    assert!(queue.push(Cow::Owned(event("A"))).is_ok_and(|waker| waker.is_none()));
    assert!(subscription.poll_next(&waker).is_ready());
    assert!(subscription.poll_next(&waker).is_pending());
    let waiting = queue.push(Cow::Owned(event("B"))).ok().flatten();
    waiting.expect("somebody waits").wake();
    assert!(subscription.poll_next(&waker).is_ready());
    assert!(subscription.poll_next(&waker).is_pending());
    queue.end().expect("somebody waits").wake();
    assert_eq!(wakes.count(), 2);
}

#[test]
fn a_dropped_subscription_keeps_nothing() {
    let (subscription, queue) = queue(EventLimits::default());
    push(&queue, "A");
    drop(subscription);
    assert!(queue.push(Cow::Owned(event("B"))).is_err());
    let state = queue.lock();
    assert_eq!((state.events.len(), state.bytes), (0, 0));
}

#[test]
fn c14_other_events_take_no_room_where_one_is_asked_for() {
    let limits = EventLimits { events: 2, bytes: usize::MAX };
    let (subscription, queue) = Subscription::new(limits, Some("A".to_owned()));
    ["A", "B", "A", "B", "B"].iter().for_each(|name| push(&queue, name));
    assert_eq!(subscription.received(), 2);
    assert_eq!(found(&subscription), names(&["A", "A"]));
    assert_eq!(subscription.received(), 2);
}

#[test]
fn c14_what_came_is_counted_with_what_was_lost() {
    let (subscription, queue) = queue(EventLimits { events: 2, bytes: usize::MAX });
    ["A", "B", "C"].iter().for_each(|name| push(&queue, name));
    assert_eq!(subscription.received(), 3);
    assert_eq!(found(&subscription), [vec![Err(1)], names(&["B", "C"])].concat());
}
