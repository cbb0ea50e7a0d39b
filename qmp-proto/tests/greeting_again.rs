//! C9: a server that greets more than once, as QEMU may when a client connects while it starts.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use qmp_proto::{CloseReason, Config, Phase, Request, Violation};
use serde_json::json;

use support::peer::{ERROR_WITHOUT_ID, GREETING, Peer, Sent, Told, event, oob};

const MAX_GREETINGS: usize = 8;

/// What QEMU answers to the second `qmp_capabilities`.
fn already_complete(id: u64) -> String {
    format!(
        "{{\"id\": {id}, \"error\": {{\"class\": \"CommandNotFound\", \"desc\": \"Capabilities \
         negotiation is already complete, command ignored\"}}}}\r\n"
    )
}

/// A connection that was greeted twice, and the ids of its two `qmp_capabilities`.
fn greeted_twice(config: Config) -> (Peer, [u64; 2]) {
    let mut peer = Peer::new(config);
    peer.greet();
    peer.greet();
    let [first, second] = &peer.sent()[..] else { panic!("not two commands") };
    let ids = [first.id, second.id];
    (peer, ids)
}

#[track_caller]
fn check_commands_work(peer: &mut Peer) {
    let id = peer.execute("stop");
    assert_eq!(peer.sent_names(), ["stop"]);
    peer.answer(id);
    assert_eq!(peer.told(), [Told::Return(id, "{}".to_owned())]);
    assert_eq!(peer.connection.strays(), 0, "an answer to qmp_capabilities counts as unmatched");
    assert!(peer.connection.is_idle());
}

#[test]
fn c9_each_greeting_before_ready_is_answered_with_the_same_arguments_and_a_new_id() {
    for (config, arguments) in
        [(Config::default(), json!(null)), (oob(), json!({"enable": ["oob"]}))]
    {
        for chunk in [1, 100, usize::MAX] {
            let mut peer = Peer::new(config.clone());
            let text = [GREETING, GREETING].concat();
            text.as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
            let [first, second] = &peer.sent()[..] else { panic!("not two commands") };
            assert_ne!(first.id, second.id);
            assert_eq!(Sent { id: second.id, ..first.clone() }, *second);
            assert_eq!((&*first.name, &first.arguments), ("qmp_capabilities", &arguments));
            assert!(second.id < 1 << 53, "it is exact as a double");
        }
    }
}

/// As in the recordings: the first is accepted after the second greeting, the second refused.
#[test]
fn c9_the_first_success_is_enough_and_the_other_answer_is_discarded() {
    for oob in [false, true] {
        let (mut peer, [first, second]) =
            greeted_twice(support::peer::config(|config| config.oob = oob));
        peer.answer(first);
        assert_eq!(peer.told(), [Told::Ready]);
        assert_eq!(peer.connection.oob_enabled(), oob);
        assert!(peer.connection.is_idle(), "no reply is owed to the application");
        let stop = peer.execute("stop");
        assert_eq!(peer.sent_names(), ["stop"]);
        peer.feed(already_complete(second));
        assert_eq!(peer.told(), []);
        peer.answer(stop);
        assert_eq!(peer.told(), [Told::Return(stop, "{}".to_owned())]);
        check_commands_work(&mut peer);
        // Once. After that it is nobody's.
        peer.feed(already_complete(second));
        peer.answer(first);
        assert_eq!(peer.told(), [Told::Stray, Told::Stray]);
    }
}

/// The server restarted: what was sent to the one before is lost.
#[test]
fn c9_only_the_second_is_answered() {
    let (mut peer, [_, second]) = greeted_twice(oob());
    peer.feed(event("STOP"));
    assert_eq!(peer.connection.phase(), Phase::Negotiating);
    peer.answer(second);
    assert_eq!(peer.told(), [Told::Event("STOP".to_owned()), Told::Ready]);
    assert!(peer.connection.oob_enabled());
    check_commands_work(&mut peer);
    // A command that is closed does not wait for the lost answer either.
    peer.connection.close();
    assert_eq!(peer.told(), [Told::Closed(CloseReason::Requested)]);
}

#[test]
fn c9_a_refusal_counts_if_no_later_one_may_succeed() {
    // Refused, then accepted.
    let (mut peer, [first, second]) = greeted_twice(Config::default());
    peer.refuse(first);
    assert_eq!((peer.told(), peer.connection.phase()), (vec![], Phase::Negotiating));
    peer.answer(second);
    assert_eq!(peer.told(), [Told::Ready]);
    check_commands_work(&mut peer);

    // Replies come in order, so the first one is lost.
    for refused in [&[1][..], &[0, 1]] {
        let (mut peer, ids) = greeted_twice(Config::default());
        refused.iter().for_each(|at| peer.refuse(ids[*at]));
        let told = peer.told();
        let refused = matches!(&told[..], [Told::Closed(CloseReason::NegotiationRefused(error))] if &*error.desc == "no");
        assert!(refused, "{told:?}");
    }
}

#[test]
fn c6_a_discarded_answer_is_one_with_an_id_of_ours() {
    let (mut peer, [first, second]) = greeted_twice(Config::default());
    peer.answer(first);
    let stop = peer.execute("stop");
    peer.take_all();
    // One bad input may give several errors without an id.
    peer.feed(ERROR_WITHOUT_ID);
    peer.feed(already_complete(second));
    let cont = peer.execute("cont");
    peer.take_all();
    peer.feed(ERROR_WITHOUT_ID);
    let error = |id| Told::Error(id, "JSON parse error".to_owned());
    assert_eq!(peer.told(), [Told::Ready, error(stop), error(cont)]);
}

#[test]
fn c3_greetings_without_end_are_a_violation() {
    for chunk in [1, usize::MAX] {
        let mut peer = Peer::new(Config::default());
        let queued = peer.execute("stop");
        let text = GREETING.repeat(MAX_GREETINGS);
        text.as_bytes().chunks(chunk).for_each(|chunk| peer.feed(chunk));
        assert_eq!(peer.told(), []);
        peer.greet();
        let limit = MAX_GREETINGS;
        let violation = CloseReason::Violation(Violation::TooManyGreetings { limit });
        assert_eq!(peer.told(), [Told::NotSent(queued), Told::Closed(violation)]);
    }
}

#[test]
fn c5_a_greeting_after_ready_ends_the_connection() {
    for greetings in [1, 2] {
        let mut peer = Peer::new(Config::default());
        (0..greetings).for_each(|_| peer.greet());
        let first = peer.sent()[0].id;
        peer.answer(first);
        let stop = peer.execute("stop");
        peer.take_all();
        peer.greet();
        let reason = CloseReason::Violation(Violation::SecondGreeting);
        assert_eq!(peer.told(), [Told::Ready, Told::Unanswered(stop), Told::Closed(reason)]);
    }
}

#[test]
fn c9_the_last_greeting_is_told() {
    let mut peer = Peer::new(Config::default());
    peer.greet();
    peer.feed(GREETING.replace("\"major\": 7", "\"major\": 10"));
    let second = peer.sent()[1].id;
    peer.answer(second);
    let version = peer.connection.greeting().unwrap().version.as_ref().unwrap();
    assert_eq!(version.qemu.major, 10);
}

#[test]
fn c20_a_connection_tells_that_it_awaits_the_reply_to_qmp_capabilities() {
    let mut peer = Peer::new(Config::default());
    peer.execute("stop");
    let awaits = |peer: &Peer| peer.connection.awaits_capabilities();
    peer.feed(event("STOP"));
    assert!(!awaits(&peer), "the greeting is awaited");
    peer.greet();
    assert!(!awaits(&peer), "it was not sent");
    peer.take(5);
    assert!(!awaits(&peer), "a part of it was sent");
    let first = peer.sent()[0].id;
    assert!(awaits(&peer));
    peer.feed(event("STOP"));
    peer.answer("\"gone\"");
    assert!(awaits(&peer), "this is not the reply");
    peer.greet();
    assert!(!awaits(&peer), "it is to be sent again");
    let second = peer.sent()[0].id;
    assert!(awaits(&peer));
    peer.answer(first);
    assert!(!awaits(&peer), "it is ready");
    peer.answer(second);
    peer.connection.abort();
    assert!(!awaits(&peer));
}

/// Real sessions, with the ids of ours.
#[test]
fn c9_recorded_sessions_with_two_greetings_become_ready() {
    for (name, end) in [
        ("second-greeting-qemu7", 2),
        ("second-greeting-one-caps-qemu7", 1),
        ("second-greeting-oob-qemu7", 1),
        ("second-greeting-qemu10.0.2", 2),
        ("second-greeting-qsd7", 2),
    ] {
        let (_, ids) = greeted_twice(Config::default());
        let mut text = String::from_utf8(support::capture(name).bytes).unwrap();
        for (at, id) in ids.iter().enumerate() {
            text = text.replace(&format!("\"c{}\"", at + 1), &id.to_string());
        }
        let mut peer = Peer::new(Config::default());
        let lines: Vec<&str> = text.split_inclusive("\r\n").collect();
        lines[..2 + end].iter().for_each(|line| peer.feed(line));
        assert_eq!(peer.told(), [Told::Ready], "{name}");
        assert_eq!(peer.connection.strays(), 0, "{name}");
        let query = peer.connection.execute(Request::query("status"), None).unwrap();
        peer.take_all();
        let reply = lines.last().unwrap();
        let start = reply.find(", \"id\": ").unwrap();
        peer.feed(format!("{}, \"id\": {query}}}", &reply[..start]));
        assert!(matches!(&peer.told()[..], [Told::Return(id, _)] if *id == query), "{name}");
    }
}

#[test]
fn c20_recorded_sessions_that_fall_silent_await_the_reply() {
    for (name, greetings) in [("greeting-silent-qemu7", 1), ("second-greeting-silent-qemu7", 2)] {
        let mut peer = Peer::new(Config::default());
        peer.feed(support::capture(name).bytes);
        assert_eq!(peer.sent().len(), greetings, "{name}");
        assert!(peer.connection.awaits_capabilities(), "{name}");
        assert_eq!(peer.told(), [], "{name}");
    }
}
