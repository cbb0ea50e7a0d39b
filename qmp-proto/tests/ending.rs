//! How commands and connections end: C17 and C19.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::error::Error;

use qmp_proto::{
    Cancelled, CloseReason, Config, Dialect, ExecuteError, IoFailure, Output, Phase, Refusal,
    Request, Violation,
};

use support::peer::{ERROR_WITHOUT_ID, Peer, Told, config, event};

/// A connection with a command in flight, one claimed in part, one cancelled and two that wait.
struct Busy {
    peer: Peer,
    in_flight: qmp_proto::CommandId,
    partial: qmp_proto::CommandId,
    queued: [qmp_proto::CommandId; 2],
}

fn busy() -> Busy {
    let mut peer = Peer::ready(config(|config| config.window = Some(3)));
    let (in_flight, cancelled) = (peer.execute("a"), peer.execute("b"));
    peer.take_all();
    assert_eq!(peer.withdraw(cancelled), None);
    let partial = peer.execute("c");
    assert_eq!(peer.take(3).unwrap().0.len(), 3);
    let queued = [peer.execute("d"), peer.execute("e")];
    Busy { peer, in_flight, partial, queued }
}

#[test]
fn c17_every_command_ends_with_the_connection() {
    type End = fn(&mut Peer);
    let garbage = CloseReason::Violation(Violation::Garbage { byte: b'x' });
    let ends: [(End, CloseReason); 7] = [
        (|peer| peer.connection.handle_eof(), CloseReason::Eof { mid_message: false }),
        (
            |peer| peer.connection.handle_failure(IoFailure::Eof),
            CloseReason::Eof { mid_message: false },
        ),
        (
            |peer| {
                peer.feed("{\"return\": {");
                peer.connection.handle_eof();
            },
            CloseReason::Eof { mid_message: true },
        ),
        (
            |peer| peer.connection.handle_failure(IoFailure::Reset),
            CloseReason::Failed(IoFailure::Reset),
        ),
        (
            |peer| peer.connection.handle_failure(IoFailure::Os(104)),
            CloseReason::Failed(IoFailure::Os(104)),
        ),
        (|peer| peer.feed("x"), garbage),
        (|peer| peer.connection.abort(), CloseReason::Requested),
    ];
    for (end, reason) in ends {
        let Busy { mut peer, in_flight, partial, queued } = busy();
        end(&mut peer);
        let middle = reason == CloseReason::Eof { mid_message: true };
        assert_eq!(reason.to_string().contains("in the middle of a message"), middle, "{reason}");
        let closed = Told::Closed(reason.clone());
        let unanswered = [in_flight, partial].map(Told::Unanswered);
        let not_sent = queued.map(Told::NotSent);
        assert_eq!(peer.told(), [&unanswered[..], &not_sent, &[closed]].concat());
        assert_eq!(peer.connection.close_reason(), Some(&reason));
        assert!(peer.connection.is_idle());
        assert_eq!(peer.take_all(), "", "nothing is sent any more");
    }
}

/// Committed together, in one write: the transport may take a part of it, or nothing.
#[test]
fn c17_a_command_of_which_the_transport_took_nothing_is_not_sent() {
    let ends: [fn(&mut Peer); 7] = [
        |peer| peer.connection.handle_eof(),
        |peer| {
            peer.feed("{\"return\": {");
            peer.connection.handle_eof();
        },
        |peer| peer.connection.handle_failure(IoFailure::Reset),
        |peer| peer.connection.handle_failure(IoFailure::DriverGone),
        |peer| peer.feed("garbage"),
        |peer| peer.connection.abort(),
        |peer| {
            peer.connection.close();
            peer.connection.abort();
        },
    ];
    let names = ["a", "long-name", "b"];
    let mut peer = Peer::ready(Config::default());
    for name in names {
        peer.execute(name);
    }
    let texts = peer.take_all();
    let starts = [0].into_iter().chain(texts.match_indices('\n').map(|(at, _)| at + 1));
    let starts: Vec<usize> = starts.take(names.len()).collect();
    for taken in 0..texts.len() {
        for end in ends {
            let mut peer = Peer::ready(config(|config| config.window = Some(names.len())));
            let ids = names.map(|name| peer.execute(name));
            assert_eq!(peer.connection.transmit().unwrap().bytes.len(), texts.len());
            peer.connection.advance(taken);
            let queued = peer.execute("queued");
            end(&mut peer);
            let mut told = peer.told();
            let closed = told.pop();
            assert!(matches!(closed, Some(Told::Closed(_))), "{closed:?}");
            for (id, start) in ids.iter().zip(&starts) {
                let is_begun = taken > *start;
                let ended = if is_begun { Told::Unanswered(*id) } else { Told::NotSent(*id) };
                assert!(told.contains(&ended), "{taken} bytes were taken: {told:?}");
            }
            assert!(told.contains(&Told::NotSent(queued)));
            assert_eq!(told.len(), names.len() + 1);
        }
    }
}

#[test]
fn c17_so_is_a_guest_agents_command_and_one_with_a_descriptor() {
    let mut peer = Peer::ready(config(|config| config.descriptors = true));
    let first = peer.execute_fd("getfd", 1);
    let second = peer.execute_fd("getfd", 2);
    assert!(peer.connection.transmit().unwrap().descriptor.is_some());
    peer.connection.handle_failure(IoFailure::Reset);
    let closed = Told::Closed(CloseReason::Failed(IoFailure::Reset));
    assert_eq!(peer.told(), [Told::NotSent(first), Told::NotSent(second), closed.clone()]);
    assert!(peer.open().is_empty());

    let mut agent = Peer::new(config(|config| config.dialect = Dialect::GuestAgent));
    // The number of the session is the question's id too, and ends it.
    let question = agent_text(&mut agent);
    let number = question.rsplit(':').next().unwrap().trim_end_matches(['}', '\n']);
    agent.feed([b"\xff", format!("{{\"return\": {number}}}").as_bytes()].concat());
    let shutdown =
        agent.connection.execute(Request::new("guest-shutdown").no_reply(), None).unwrap();
    assert!(agent.connection.transmit().is_some());
    agent.connection.handle_failure(IoFailure::Reset);
    assert_eq!(agent.told(), [Told::Ready, Told::NotSent(shutdown), closed]);
}

/// What there is to send, without the bytes that are not text.
fn agent_text(peer: &mut Peer) -> String {
    let taken = std::iter::from_fn(|| peer.take(usize::MAX)).flat_map(|(bytes, _)| bytes);
    taken.filter(u8::is_ascii).map(char::from).collect()
}

#[test]
fn c17_closed_is_told_once_and_last_and_stays() {
    let Busy { mut peer, in_flight, .. } = busy();
    peer.feed(event("STOP"));
    peer.connection.handle_eof();
    let told = peer.told();
    assert_eq!(told[0], Told::Event("STOP".to_owned()));
    assert!(matches!(told.last(), Some(Told::Closed(_))));
    let reason = CloseReason::Eof { mid_message: false };
    for _ in 0..2 {
        peer.connection.handle_failure(IoFailure::Reset);
        peer.connection.handle_eof();
        peer.connection.close();
        peer.connection.abort();
        peer.greet();
        peer.answer(in_flight);
        peer.feed("garbage");
        peer.feed(event("STOP"));
        peer.connection.advance(1000);
        assert_eq!(peer.take_all(), "");
        let refused = peer.connection.execute(Request::new("stop"), None);
        assert_eq!(refused, Err(Refusal::Closed(reason.clone())));
        assert!(matches!(peer.connection.cancel(in_flight), Cancelled::Unknown));
        assert_eq!(peer.told(), []);
        assert_eq!(peer.connection.phase(), Phase::Closed);
        assert_eq!(peer.connection.close_reason(), Some(&reason), "the first reason stays");
    }
}

#[test]
fn c17_nothing_of_a_read_is_told_after_its_fault() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("a");
    peer.take_all();
    peer.feed(format!("{} ! {}", event("STOP"), support::peer::success(id)));
    let garbage = CloseReason::Violation(Violation::Garbage { byte: b'!' });
    let stop = Told::Event("STOP".to_owned());
    assert_eq!(peer.told(), [stop, Told::Unanswered(id), Told::Closed(garbage)]);
}

#[test]
fn c17_the_cause_is_told_with_each_outcome() {
    let Busy { mut peer, in_flight, queued, .. } = busy();
    peer.feed(r#"{"hello": 1}"#);
    let reason = peer.connection.close_reason().unwrap().clone();
    let outputs = std::iter::from_fn(|| peer.connection.poll_output());
    let errors: Vec<_> = outputs
        .filter_map(|output| match output {
            Output::Reply(id, Err(error)) => Some((id, error)),
            _ => None,
        })
        .collect();
    let unanswered = ExecuteError::Unanswered(reason.clone());
    assert_eq!(errors.first(), Some(&(in_flight, unanswered.clone())));
    let not_sent = ExecuteError::NotSent(reason.clone());
    assert_eq!(errors.last(), Some(&(queued[1], not_sent)));
    assert_eq!(unanswered.source().unwrap().to_string(), reason.to_string());
}

#[test]
fn c17_a_reply_of_its_own_ends_a_command_once() {
    let mut peer = Peer::ready(Config::default());
    let (first, second) = (peer.execute("a"), peer.execute("b"));
    peer.take_all();
    peer.answer(second);
    peer.answer(second);
    peer.refuse(second);
    peer.answer(first);
    let returned = |id| Told::Return(id, "{}".to_owned());
    assert_eq!(peer.told(), [returned(second), Told::Stray, Told::Stray, returned(first)]);
    assert_eq!(peer.connection.strays(), 2);
    assert!(peer.connection.is_idle());
}

#[test]
fn c17_a_cancelled_command_has_no_outcome() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("a");
    peer.take_all();
    assert_eq!(peer.withdraw(id), None);
    assert!(!peer.connection.is_idle(), "its reply is owed");
    peer.answer(id);
    assert!(peer.connection.is_idle());
    assert_eq!(peer.told(), []);
    assert_eq!(peer.connection.strays(), 0);
}

#[test]
fn c16_idle_is_when_nothing_waits_and_nothing_is_owed() {
    let mut peer = Peer::new(Config::default());
    assert!(!peer.connection.is_idle());
    peer.greet();
    assert!(!peer.connection.is_idle());
    peer.accept();
    assert!(peer.connection.is_idle());
    let id = peer.execute("a");
    assert!(!peer.connection.is_idle());
    peer.take_all();
    assert!(!peer.connection.is_idle());
    peer.answer(id);
    assert!(peer.connection.is_idle());
    let id = peer.execute("a");
    assert_eq!(peer.withdraw(id), Some(None));
    assert!(peer.connection.is_idle());
}

#[test]
fn c17_a_command_has_begun_with_its_first_byte() {
    let mut peer = Peer::ready(Config::default());
    let (first, second) = (peer.execute("a"), peer.execute("b"));
    let begun = |peer: &Peer| [first, second].map(|id| peer.connection.has_begun(id));
    assert_eq!(begun(&peer), [false, false]);
    let lent = peer.connection.transmit().unwrap().bytes.len();
    assert_eq!(begun(&peer), [false, false]);
    peer.connection.advance(1);
    assert_eq!(begun(&peer), [true, false]);
    peer.connection.advance(lent / 2 - 1);
    assert_eq!(begun(&peer), [true, false]);
    peer.connection.advance(1);
    assert_eq!(begun(&peer), [true, true]);
    peer.answer(first);
    assert_eq!(begun(&peer), [false, true]);
}

#[test]
fn c19_close_waits_for_the_replies_in_flight() {
    let Busy { mut peer, in_flight, partial, queued } = busy();
    peer.connection.close();
    assert_eq!(peer.told(), queued.map(Told::NotSent));
    assert_eq!(peer.connection.phase(), Phase::Closing);
    assert_eq!(peer.connection.execute(Request::new("f"), None), Err(Refusal::Closing));
    peer.connection.close();
    assert_eq!(peer.told(), [], "once is enough");
    // The rest of what was claimed goes out.
    assert!(peer.take_all().ends_with("}\n"));
    peer.feed(event("STOP"));
    peer.answer("\"gone\"");
    peer.answer(in_flight);
    assert_eq!(peer.told().len(), 3);
    peer.refuse(partial);
    // The cancelled command's reply is owed still.
    assert_eq!(peer.told(), [Told::Error(partial, "no".to_owned())]);
    assert_eq!(peer.connection.phase(), Phase::Closing);
    peer.feed(ERROR_WITHOUT_ID);
    assert_eq!(peer.told(), [Told::Closed(CloseReason::Requested)]);
}

#[test]
fn c19_close_is_at_once_where_nothing_is_owed() {
    let mut peer = Peer::ready(Config::default());
    let queued = peer.execute("a");
    peer.connection.close();
    assert_eq!(peer.told(), [Told::NotSent(queued), Told::Closed(CloseReason::Requested)]);
}

#[test]
fn c19_before_ready_close_is_at_once() {
    for (greeted, sent) in [(false, 0), (true, 0), (true, 5), (true, usize::MAX)] {
        let mut peer = Peer::new(Config::default());
        let queued = peer.execute("a");
        if greeted {
            peer.greet();
            assert!(peer.connection.transmit().is_some());
            peer.connection.advance(sent);
        }
        peer.connection.close();
        assert_eq!(peer.told(), [Told::NotSent(queued), Told::Closed(CloseReason::Requested)]);
        assert_eq!(peer.take_all(), "");
        assert!(peer.connection.is_idle());
    }
}

#[test]
fn c19_a_failure_while_closing_ends_what_is_owed() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("a");
    peer.take_all();
    peer.connection.close();
    peer.connection.handle_eof();
    let closed = Told::Closed(CloseReason::Eof { mid_message: false });
    assert_eq!(peer.told(), [Told::Unanswered(id), closed]);
}

#[test]
fn c19_close_after_quit_waits_for_its_end() {
    for replied in [false, true] {
        let mut peer = Peer::ready(Config::default());
        let quit = peer.execute("quit");
        peer.take_all();
        peer.connection.close();
        peer.feed(event("SHUTDOWN"));
        let (outcome, reason) = (
            Told::Return(quit, "{}".to_owned()),
            match replied {
                true => CloseReason::Requested,
                false => CloseReason::Quit,
            },
        );
        if replied {
            peer.answer(quit);
        } else {
            peer.connection.handle_eof();
        }
        assert_eq!(peer.told()[1..], [outcome, Told::Closed(reason)]);
    }
}
