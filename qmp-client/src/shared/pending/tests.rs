use super::*;

use qmp_proto::{CloseReason, Event};

use crate::shared::Received;
use crate::shared::event_waiter::Matcher;
use crate::shared::testing::{Wakes, command, event_text, execute, hear, ready, reply, send};

fn named(name: &'static str) -> Matcher {
    Box::new(move |event: &Event| event.name() == name)
}

fn execute_until(shared: &Arc<SharedConnection>, matcher: Matcher) -> PendingUntil {
    shared.execute_until(command("device_del"), matcher).unwrap()
}

fn error(id: CommandId) -> String {
    format!("{{\"id\": {id}, \"error\": {{\"class\": \"GenericError\", \"desc\": \"no\"}}}}\n")
}

#[test]
fn c8_dropped_before_it_was_sent_it_is_never_sent() {
    let shared = ready();
    drop(execute(&shared, "stop"));
    assert_eq!(send(&shared), "");
    drop(execute_until(&shared, named("GONE")));
    assert_eq!(send(&shared), "");
}

#[test]
fn c8_dropped_after_it_was_sent_its_reply_is_dropped() {
    let shared = ready();
    let (_, waker) = Wakes::new();
    let dropped = execute(&shared, "stop");
    let id = dropped.id();
    send(&shared);
    drop(dropped);
    let mut other = execute(&shared, "cont");
    assert!(!shared.inspect(|connection| connection.is_idle()), "its reply is still owed");
    send(&shared);
    hear(&shared, &reply(id));
    assert!(other.poll(&waker).is_pending());
    hear(&shared, &reply(other.id()));
    assert!(matches!(other.poll(&waker), Poll::Ready(Ok(_))));
    assert!(shared.inspect(|connection| connection.is_idle() && connection.strays() == 0));
}

#[test]
fn the_last_waker_is_woken_once() {
    let shared = ready();
    let ((first, one), (second, two)) = (Wakes::new(), Wakes::new());
    let mut pending = execute(&shared, "stop");
    send(&shared);
    assert!(pending.poll(&one).is_pending());
    assert!(pending.poll(&two).is_pending());
    hear(&shared, &reply(pending.id()));
    assert_eq!((first.count(), second.count()), (0, 1));
}

/// Ready when both are there: neither the order nor the pieces in which they come matter.
#[test]
fn c15_event_and_reply_in_either_order() {
    for event_first in [true, false] {
        let shared = ready();
        let (wakes, waker) = Wakes::new();
        let mut until = execute_until(&shared, named("GONE"));
        send(&shared);
        let mut texts = [event_text("GONE"), reply(until.pending.id())];
        if !event_first {
            texts.reverse();
        }
        assert!(until.poll(&waker).is_pending());
        hear(&shared, &texts[0]);
        assert!(until.poll(&waker).is_pending());
        hear(&shared, &texts[1]);
        let Poll::Ready(Ok((_, event))) = until.poll(&waker) else { panic!("both have come") };
        assert_eq!(event.name(), "GONE");
        assert!(wakes.count() > 0);
    }
}

#[test]
fn c15_an_event_before_the_commands_first_byte_does_not_count() {
    let shared = ready();
    let (_, waker) = Wakes::new();
    let mut until = execute_until(&shared, named("GONE"));
    hear(&shared, &event_text("GONE"));
    send(&shared);
    hear(&shared, &reply(until.pending.id()));
    assert!(until.poll(&waker).is_pending());
    hear(&shared, &event_text("GONE"));
    assert!(matches!(until.poll(&waker), Poll::Ready(Ok(_))));
}

#[test]
fn c15_an_error_ends_it_at_once() {
    let shared = ready();
    let (_, waker) = Wakes::new();
    let mut until = execute_until(&shared, named("GONE"));
    send(&shared);
    assert!(until.poll(&waker).is_pending());
    hear(&shared, &error(until.pending.id()));
    assert!(matches!(until.poll(&waker), Poll::Ready(Err(Error::Command(_)))));
}

#[test]
fn c15_the_end_of_the_connection_ends_it() {
    let (_, waker) = Wakes::new();
    let eof = CloseReason::Eof { mid_message: false };
    for (sent, replied, expected) in [
        (false, false, Error::NotSent(eof.clone())),
        (true, false, Error::Unanswered(eof.clone())),
        (true, true, Error::Closed(eof.clone())),
    ] {
        let shared = ready();
        let mut until = execute_until(&shared, named("GONE"));
        if sent {
            send(&shared);
        }
        if replied {
            hear(&shared, &reply(until.pending.id()));
        }
        assert!(until.poll(&waker).is_pending());
        shared.receive(Received::Eof);
        assert_eq!(until.poll(&waker).map(|found| found.unwrap_err()), Poll::Ready(expected));
    }
}

#[test]
fn c15_an_event_just_before_the_end_counts() {
    let shared = ready();
    let (_, waker) = Wakes::new();
    let mut until = execute_until(&shared, named("SHUTDOWN"));
    send(&shared);
    hear(&shared, &(event_text("SHUTDOWN") + &reply(until.pending.id())));
    shared.receive(Received::Eof);
    assert!(matches!(until.poll(&waker), Poll::Ready(Ok(_))));
}

#[test]
fn c15_given_up_it_says_whether_it_was_sent() {
    let shared = ready();
    let until = execute_until(&shared, named("GONE"));
    assert_eq!(until.give_up(), Error::TimedOut { sent: false });
    let until = execute_until(&shared, named("GONE"));
    send(&shared);
    assert_eq!(until.give_up(), Error::TimedOut { sent: true });
    // With the reply there and the event not.
    let (_, waker) = Wakes::new();
    let mut until = execute_until(&shared, named("GONE"));
    send(&shared);
    hear(&shared, &reply(until.pending.id()));
    assert!(until.poll(&waker).is_pending());
    let error = until.give_up();
    assert_eq!(error, Error::NoEvent);
    let text = "the deadline passed: the command was answered, but the awaited event did not come";
    assert_eq!(error.to_string(), text);
}
