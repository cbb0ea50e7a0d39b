use super::*;

use qmp_proto::{CloseReason, Event};

use crate::shared::Received;
use crate::shared::event_waiter::Matcher;
use crate::shared::testing::{Wakes, command, event_text, execute, hear, ready, reply, send};

fn named(name: &'static str) -> Matcher {
    Box::new(move |event: &Event| event.name() == name)
}

fn execute_until(hub: &Arc<Hub>, matcher: Matcher) -> PendingUntil {
    hub.execute_until(command("device_del"), matcher).unwrap()
}

fn error(id: CommandId) -> String {
    format!("{{\"id\": {id}, \"error\": {{\"class\": \"GenericError\", \"desc\": \"no\"}}}}\n")
}

#[test]
fn c8_dropped_before_it_was_sent_it_is_never_sent() {
    let hub = ready();
    drop(execute(&hub, "stop"));
    assert_eq!(send(&hub), "");
    drop(execute_until(&hub, named("GONE")));
    assert_eq!(send(&hub), "");
}

#[test]
fn c8_dropped_after_it_was_sent_its_reply_is_dropped() {
    let hub = ready();
    let (_, waker) = Wakes::new();
    let dropped = execute(&hub, "stop");
    let id = dropped.id();
    send(&hub);
    drop(dropped);
    let mut other = execute(&hub, "cont");
    assert!(!hub.inspect(|connection| connection.is_idle()), "its reply is still owed");
    send(&hub);
    hear(&hub, &reply(id));
    assert!(other.poll(&waker).is_pending());
    hear(&hub, &reply(other.id()));
    assert!(matches!(other.poll(&waker), Poll::Ready(Ok(_))));
    assert!(hub.inspect(|connection| connection.is_idle() && connection.strays() == 0));
}

#[test]
fn the_last_waker_is_woken_once() {
    let hub = ready();
    let ((first, one), (second, two)) = (Wakes::new(), Wakes::new());
    let mut pending = execute(&hub, "stop");
    send(&hub);
    assert!(pending.poll(&one).is_pending());
    assert!(pending.poll(&two).is_pending());
    hear(&hub, &reply(pending.id()));
    assert_eq!((first.count(), second.count()), (0, 1));
}

/// Ready when both are there: neither the order nor the pieces in which they come matter.
#[test]
fn c15_event_and_reply_in_either_order() {
    for event_first in [true, false] {
        let hub = ready();
        let (wakes, waker) = Wakes::new();
        let mut until = execute_until(&hub, named("GONE"));
        send(&hub);
        let mut texts = [event_text("GONE"), reply(until.pending.id())];
        if !event_first {
            texts.reverse();
        }
        assert!(until.poll(&waker).is_pending());
        hear(&hub, &texts[0]);
        assert!(until.poll(&waker).is_pending());
        hear(&hub, &texts[1]);
        let Poll::Ready(Ok((_, event))) = until.poll(&waker) else { panic!("both have come") };
        assert_eq!(event.name(), "GONE");
        assert!(wakes.count() > 0);
    }
}

#[test]
fn c15_an_event_before_the_commands_first_byte_does_not_count() {
    let hub = ready();
    let (_, waker) = Wakes::new();
    let mut until = execute_until(&hub, named("GONE"));
    hear(&hub, &event_text("GONE"));
    send(&hub);
    hear(&hub, &reply(until.pending.id()));
    assert!(until.poll(&waker).is_pending());
    hear(&hub, &event_text("GONE"));
    assert!(matches!(until.poll(&waker), Poll::Ready(Ok(_))));
}

#[test]
fn c15_an_error_ends_it_at_once() {
    let hub = ready();
    let (_, waker) = Wakes::new();
    let mut until = execute_until(&hub, named("GONE"));
    send(&hub);
    assert!(until.poll(&waker).is_pending());
    hear(&hub, &error(until.pending.id()));
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
        let hub = ready();
        let mut until = execute_until(&hub, named("GONE"));
        if sent {
            send(&hub);
        }
        if replied {
            hear(&hub, &reply(until.pending.id()));
        }
        assert!(until.poll(&waker).is_pending());
        hub.receive(Received::Eof);
        assert_eq!(until.poll(&waker).map(|found| found.unwrap_err()), Poll::Ready(expected));
    }
}

#[test]
fn c15_an_event_just_before_the_end_counts() {
    let hub = ready();
    let (_, waker) = Wakes::new();
    let mut until = execute_until(&hub, named("SHUTDOWN"));
    send(&hub);
    hear(&hub, &(event_text("SHUTDOWN") + &reply(until.pending.id())));
    hub.receive(Received::Eof);
    assert!(matches!(until.poll(&waker), Poll::Ready(Ok(_))));
}

#[test]
fn c15_given_up_it_says_whether_it_was_sent() {
    let hub = ready();
    let until = execute_until(&hub, named("GONE"));
    assert_eq!(until.give_up(), Error::TimedOut { sent: false });
    let until = execute_until(&hub, named("GONE"));
    send(&hub);
    assert_eq!(until.give_up(), Error::TimedOut { sent: true });
    // With the reply there and the event not.
    let (_, waker) = Wakes::new();
    let mut until = execute_until(&hub, named("GONE"));
    send(&hub);
    hear(&hub, &reply(until.pending.id()));
    assert!(until.poll(&waker).is_pending());
    let error = until.give_up();
    assert_eq!(error, Error::NoEvent);
    let text = "the deadline passed: the command was answered, but the awaited event did not come";
    assert_eq!(error.to_string(), text);
}
