//! However many commands a connection takes with it, the server's text is there once: C3 and C4.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use qmp_proto::{CloseReason, CommandError, ExecuteError, Output, Refusal, Request, Violation};

use support::peer::{Peer, config};

const COMMANDS: usize = 2000;

/// An error whose description is large, as JSON.
fn large_error() -> String {
    format!(r#"{{"class": "GenericError", "desc": "{}"}}"#, "x".repeat(1 << 20))
}

fn fill(peer: &mut Peer) {
    for _ in 0..COMMANDS {
        peer.execute("query-status");
    }
}

/// The error by which a connection ended.
fn cause(reason: &CloseReason) -> &CommandError {
    match reason {
        CloseReason::Violation(Violation::UnattributableError(error))
        | CloseReason::NegotiationRefused(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Looks at every reason that is told, and at those that are told later: how many commands were
/// unanswered, and how many not sent.
#[track_caller]
fn told_with_one_text(peer: &mut Peer) -> [usize; 2] {
    let reason = peer.connection.close_reason().expect("closed").clone();
    let text = &cause(&reason).desc;
    assert_eq!(text.len(), 1 << 20);
    let mut counts = [0; 2];
    let mut closed = false;
    while let Some(output) = peer.connection.poll_output() {
        let reason = match &output {
            Output::Reply(_, Err(ExecuteError::Unanswered(reason))) => {
                counts[0] += 1;
                reason
            }
            Output::Reply(_, Err(ExecuteError::NotSent(reason))) => {
                counts[1] += 1;
                reason
            }
            Output::Closed(reason) => {
                closed = true;
                reason
            }
            other => panic!("{other:?}"),
        };
        assert!(std::ptr::eq(&**text, &*cause(reason).desc), "a text of its own");
    }
    assert!(closed);
    let Err(Refusal::Closed(reason)) = peer.connection.execute(Request::new("late"), None) else {
        panic!("it is closed");
    };
    assert!(std::ptr::eq(&**text, &*cause(&reason).desc), "a text of its own");
    counts
}

#[test]
fn c3_an_error_that_ends_many_commands_is_not_copied_for_each() {
    for in_flight in [2, COMMANDS / 2, COMMANDS] {
        let mut peer = Peer::ready(config(|config| config.window = Some(in_flight)));
        fill(&mut peer);
        peer.take_all();
        peer.feed(format!("{{\"error\": {}}}", large_error()));
        assert_eq!(told_with_one_text(&mut peer), [in_flight, COMMANDS - in_flight]);
    }
}

#[test]
fn c3_a_refused_negotiation_is_not_copied_for_each_command() {
    let mut peer = Peer::new(config(|config| config.window = Some(COMMANDS)));
    fill(&mut peer);
    peer.greet();
    let handshake = peer.sent()[0].id;
    peer.feed(format!("{{\"error\": {}, \"id\": {handshake}}}", large_error()));
    assert_eq!(told_with_one_text(&mut peer), [0, COMMANDS]);
}

/// Neither does an error that is passed on.
#[test]
fn c3_an_error_that_is_cloned_shares_its_text() {
    let mut peer = Peer::ready(config(|_| {}));
    let id = peer.execute("eject");
    peer.take_all();
    peer.feed(format!("{{\"error\": {}, \"id\": {id}}}", large_error()));
    let Some(Output::Reply(_, Err(ExecuteError::Command(error)))) = peer.connection.poll_output()
    else {
        panic!("no error");
    };
    let clone = error.clone();
    assert!(std::ptr::eq(&*error.desc, &*clone.desc));
}
