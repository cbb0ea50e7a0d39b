//! Errors without an id: C6.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use qmp_proto::{CloseReason, CommandError, Config, ErrorClass, Violation};

use support::peer::{ERROR_WITHOUT_ID, Peer, Told};

/// That error, decoded.
fn no() -> CommandError {
    CommandError { class: ErrorClass::GenericError, desc: "JSON parse error".into() }
}

#[test]
fn c6_an_error_without_an_id_answers_the_only_command_in_flight() {
    let mut peer = Peer::ready(Config::default());
    peer.feed(ERROR_WITHOUT_ID);
    assert_eq!(peer.told(), [Told::Stray], "none is in flight");
    let first = peer.execute("a");
    peer.take_all();
    peer.feed([ERROR_WITHOUT_ID; 3].concat());
    let error = |id| Told::Error(id, "JSON parse error".to_owned());
    assert_eq!(peer.told(), [error(first), Told::Stray, Told::Stray]);
    // The others that one bad input may give are not the next command's.
    let second = peer.execute("b");
    peer.take_all();
    peer.feed(ERROR_WITHOUT_ID);
    assert_eq!(peer.told(), [Told::Stray]);
    let third = peer.execute("c");
    peer.take_all();
    peer.feed(ERROR_WITHOUT_ID);
    assert_eq!(peer.told(), [Told::Stray], "not even with two in flight");
    // A reply with an id of ours tells that the server is back in step.
    peer.answer(second);
    peer.feed(ERROR_WITHOUT_ID);
    assert_eq!(peer.told(), [Told::Return(second, "{}".to_owned()), error(third)]);
}

/// The error was somebody else's after all: the reply comes, and is no news to anybody.
#[test]
fn c6_a_late_reply_to_the_command_so_answered_is_a_stray() {
    let mut peer = Peer::ready(Config::default());
    let first = peer.execute("a");
    peer.take_all();
    peer.feed(ERROR_WITHOUT_ID);
    peer.answer(first);
    assert_eq!(peer.told()[1..], [Told::Stray]);
    // It bears an id of ours, so the server is in step.
    let second = peer.execute("b");
    peer.take_all();
    peer.feed(ERROR_WITHOUT_ID);
    assert_eq!(peer.told(), [Told::Error(second, "JSON parse error".to_owned())]);
}

#[test]
fn c6_a_cancelled_command_may_be_the_only_one() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("a");
    peer.take_all();
    assert_eq!(peer.withdraw(id), None);
    peer.feed(ERROR_WITHOUT_ID);
    assert!(peer.connection.is_idle());
    assert_eq!(peer.told(), []);
}

#[test]
fn c6_an_error_without_an_id_among_several_closes() {
    for cancel in [false, true] {
        let mut peer = Peer::ready(Config::default());
        let ids = [peer.execute("a"), peer.execute("b")];
        peer.take_all();
        if cancel {
            assert_eq!(peer.withdraw(ids[0]), None);
        }
        peer.feed(ERROR_WITHOUT_ID);
        let closed = Told::Closed(CloseReason::Violation(Violation::UnattributableError(no())));
        let unanswered = ids.map(Told::Unanswered);
        let expected = [&unanswered[usize::from(cancel)..], &[closed]].concat();
        assert_eq!(peer.told(), expected);
    }
}

/// What the server has not got cannot be what it could not read.
#[test]
fn c6_a_command_that_was_not_sent_is_not_meant() {
    let mut peer = Peer::ready(Config::default());
    let (first, second) = (peer.execute("a"), peer.execute("b"));
    assert!(peer.connection.transmit().is_some());
    peer.feed(ERROR_WITHOUT_ID);
    assert_eq!(peer.told(), [Told::Stray]);
    peer.take(1);
    peer.feed(ERROR_WITHOUT_ID);
    assert_eq!(peer.told(), [Told::Error(first, "JSON parse error".to_owned())]);
    let names: Vec<_> = peer.sent_names();
    assert_eq!(names, ["a", "b"], "what was claimed goes out");
    peer.answer(second);
    assert_eq!(peer.told(), [Told::Return(second, "{}".to_owned())]);
}

#[test]
fn c6_a_success_without_an_id_is_nobodys() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("a");
    peer.take_all();
    peer.feed("{\"return\": {}}");
    assert_eq!(peer.told(), [Told::Stray]);
    peer.answer(id);
    assert_eq!(peer.told(), [Told::Return(id, "{}".to_owned())]);
}
