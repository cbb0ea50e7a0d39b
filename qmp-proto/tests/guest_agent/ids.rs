//! Agents that echo ids, and agents that do not: one reply too many is nobody's.

use qmp_proto::{CloseReason, CommandId, DecodeErrorKind, ExecuteError, Output, Phase, Violation};

use super::support::agent::{AGENT_ERROR, Agent, ID_REFUSED, Ids};
use super::support::peer::{ERROR_WITHOUT_ID, Peer, Told, error, success};
use super::{agents, answer, echo, number, questions, ready, ready_with_ids, returned, sync, take};

fn ping(id: CommandId) -> Vec<u8> {
    format!("{{\"execute\":\"guest-ping\",\"id\":{id}}}\n").into_bytes()
}

fn with_id(value: &str, id: CommandId) -> String {
    format!("{{\"return\": {value}, \"id\": {id}}}\n")
}

/// An agent of this kind answers all that it is asked.
#[track_caller]
fn begin(peer: &mut Peer, echoes: bool) {
    for (number, with_id) in questions(&take(peer)) {
        peer.feed(if echoes && with_id { echo(number) } else { answer(number) });
    }
}

/// Lets the next command go out, after a session if one is needed, and gets its own reply.
#[track_caller]
fn is_in_step(peer: &mut Peer, echoes: bool) {
    let id = peer.execute("guest-ping");
    if peer.connection.phase() != Phase::Ready {
        begin(peer, echoes);
    }
    assert!(take(peer).starts_with(b"{\"execute\":\"guest-ping\""));
    peer.feed(if echoes { with_id("7", id) } else { "{\"return\": 7}\n".to_owned() });
    assert_eq!(peer.told().last(), Some(&returned(id, "7")));
    assert!(peer.connection.is_idle());
}

#[test]
fn c23_an_agent_that_echoes_the_id_of_the_question_gets_ids() {
    let mut peer = ready_with_ids();
    let (first, second) = (peer.execute("guest-ping"), peer.execute("guest-ping"));
    assert_eq!(take(&mut peer), ping(first));
    peer.feed(with_id("1", first));
    assert_eq!(take(&mut peer), ping(second));
    peer.feed(with_id("2", second));
    assert_eq!(peer.told(), [returned(first, "1"), returned(second, "2")]);
    assert!(peer.connection.is_idle());
}

/// The id of somebody else, or none: then it is not one that echoes.
#[test]
fn c23_an_agent_that_does_not_gets_none() {
    for id in ["", ", \"id\": 7", ", \"id\": \"7\"", ", \"id\": null", ", \"id\": {\"a\": 1}"] {
        let mut peer = Peer::new(agents());
        let number = sync(&mut peer);
        peer.feed([b"\xff", format!("{{\"return\": {number}{id}}}").as_bytes()].concat());
        peer.execute("guest-ping");
        assert_eq!(take(&mut peer), b"{\"execute\":\"guest-ping\"}\n", "{id}");
    }
}

/// Where a reply too many comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Idle,
    /// The command waits.
    Queued,
    /// Its bytes are lent, and none of them was taken.
    Claimed,
    HalfSent,
    Sent,
    /// Together with its own reply, before or after that.
    JustBefore,
    JustAfter,
    Afterwards,
}

const PLACES: [Place; 8] = {
    use Place::*;
    [Idle, Queued, Claimed, HalfSent, Sent, JustBefore, JustAfter, Afterwards]
};

/// Plays a command whose own reply is 5, with an extra reply at some place. Gives what was told.
fn play(
    mut peer: Peer,
    place: Place,
    extra: &str,
    echoes: bool,
    chunk: usize,
) -> (Peer, Vec<Told>) {
    let feed = |peer: &mut Peer, text: &str| {
        text.as_bytes().chunks(chunk).for_each(|piece| peer.feed(piece));
    };
    let put = |peer: &mut Peer, at: Place| {
        if at == place {
            feed(peer, extra);
        }
    };
    put(&mut peer, Place::Idle);
    let id = peer.execute("guest-get-time");
    put(&mut peer, Place::Queued);
    if peer.connection.phase() == Phase::OutOfStep {
        begin(&mut peer, echoes);
    }
    assert!(peer.connection.transmit().is_some());
    put(&mut peer, Place::Claimed);
    peer.take(5);
    put(&mut peer, Place::HalfSent);
    take(&mut peer);
    put(&mut peer, Place::Sent);
    let own = if echoes { with_id("5", id) } else { "{\"return\": 5}\n".to_owned() };
    match place {
        Place::JustBefore => feed(&mut peer, &[extra, &own].concat()),
        Place::JustAfter => feed(&mut peer, &[&own, extra].concat()),
        _ => feed(&mut peer, &own),
    }
    put(&mut peer, Place::Afterwards);
    let told = peer.told();
    (peer, told.into_iter().filter(|told| *told != Told::Stray).collect())
}

fn only_reply(told: &[Told]) -> &str {
    match told {
        [Told::Return(_, value)] => value,
        [Told::Unanswered(_)] => "unanswered",
        _ => "something else",
    }
}

#[test]
fn c23_one_reply_too_many_is_nobodys_with_ids() {
    let extras = [
        "{\"return\": 1}\n".to_owned(),
        success(1),
        success("\"5\""),
        success(u64::MAX),
        error(1),
        error("null"),
        ERROR_WITHOUT_ID.to_owned(),
    ];
    for place in PLACES {
        for extra in &extras {
            for chunk in [1, 7, usize::MAX] {
                let (mut peer, told) = play(ready_with_ids(), place, extra, true, chunk);
                let in_flight = matches!(place, Place::HalfSent | Place::Sent | Place::JustBefore);
                let unreadable = in_flight && extra == ERROR_WITHOUT_ID;
                let expected = if unreadable { "unanswered" } else { "5" };
                assert_eq!(only_reply(&told), expected, "{place:?} {extra}");
                if peer.connection.phase() == Phase::Syncing {
                    // Where it was half sent, the question went out with the rest.
                    peer.ask_again();
                    begin(&mut peer, true);
                }
                is_in_step(&mut peer, true);
            }
        }
    }
}

/// Of an agent without ids a reply cannot be told from another that comes while the command is in flight.
/// What comes at any other time is nobody's.
#[test]
fn c23_one_reply_too_many_is_nobodys_without_ids_unless_a_command_is_in_flight() {
    for place in PLACES {
        let in_flight = matches!(place, Place::HalfSent | Place::Sent | Place::JustBefore);
        for extra in ["{\"return\": 1}\n", "{\"return\": 1, \"id\": 3}\n", ERROR_WITHOUT_ID] {
            for chunk in [1, 7, usize::MAX] {
                if in_flight && !extra.contains("id\":") {
                    continue;
                }
                let (mut peer, told) = play(ready(), place, extra, false, chunk);
                assert_eq!(only_reply(&told), "5", "{place:?} {extra}");
                is_in_step(&mut peer, false);
            }
        }
    }
    let (_, told) = play(ready(), Place::Sent, "{\"return\": 1}\n", false, usize::MAX);
    assert_eq!(only_reply(&told), "1", "this is what ids are for");
}

/// It began before the command's first byte went out, and ends after that.
#[test]
fn c23_a_reply_that_begins_before_the_command_is_nobodys() {
    let (start, rest) = ("{\"return\": {\"from\": \"another\"", "}}\n");
    let mut peer = ready();
    let id = peer.execute("guest-ping");
    assert!(peer.connection.transmit().is_some());
    peer.feed(start);
    take(&mut peer);
    peer.feed(rest);
    assert_eq!(peer.told(), [Told::Stray]);
    peer.feed("{\"return\": {}}\n");
    assert_eq!(peer.told(), [returned(id, "{}")]);
}

#[test]
fn c23_an_agent_that_answers_twice() {
    for together in [true, false] {
        for echoes in [true, false] {
            let mut peer = if echoes { ready_with_ids() } else { ready() };
            let (first, second) = (peer.execute("guest-get-time"), peer.execute("guest-get-time"));
            take(&mut peer);
            let own = if echoes { with_id("1", first) } else { "{\"return\": 1}\n".to_owned() };
            let again = own.replace(": 1", ": 2");
            if together {
                peer.feed([own, again].concat());
            } else {
                peer.feed(own);
                peer.feed(again);
            }
            assert_eq!(peer.told(), [returned(first, "1")]);
            begin(&mut peer, echoes);
            take(&mut peer);
            peer.feed(if echoes { with_id("3", second) } else { "{\"return\": 3}\n".to_owned() });
            assert_eq!(peer.told(), [returned(second, "3")]);
        }
    }
}

/// An unasked message is dropped as it comes, however long it is.
#[test]
fn c3_without_a_command_in_flight_nothing_is_kept() {
    for mut peer in [ready(), ready_with_ids()] {
        peer.feed("\n\u{20}\r\n");
        assert_eq!(peer.connection.phase(), Phase::Ready);
        for piece in ["{\"return\": [\"", &"x".repeat(1 << 20), "\"]}\n", "{}", "noise"] {
            peer.feed(piece);
            assert_eq!(peer.connection.phase(), Phase::OutOfStep);
            let shown = format!("{:?}", peer.connection);
            assert!(shown.contains("framer: Framer(0 bytes"), "{shown}");
        }
        assert!(peer.told().is_empty() && take(&mut peer).is_empty());
    }
}

#[test]
fn c4_a_guests_values_are_decoded_up_to_the_limit_of_its_dialect() {
    const LIMIT: usize = 131_072;
    let mut peer = ready_with_ids();
    for (values, fits) in [(LIMIT, true), (LIMIT + 1, false)] {
        let id = peer.execute("guest-network-get-interfaces");
        take(&mut peer);
        let list = format!("[{}0]", "0,".repeat(values - 1));
        peer.feed(with_id(&list, id));
        let Some(Output::Reply(_, Ok(raw))) = peer.connection.poll_output() else { panic!() };
        let kind = raw.parse::<Vec<u8>>().map_err(|error| error.kind());
        let expected = if fits { None } else { Some(DecodeErrorKind::TooMany { limit: LIMIT }) };
        assert_eq!(kind.err(), expected);
    }
}

#[test]
fn c3_a_guests_message_beyond_the_limit_ends_its_command() {
    let mut config = agents();
    config.max_message = Some(1000);
    let mut peer = Peer::new(config);
    let number = sync(&mut peer);
    peer.feed(echo(number));
    let id = peer.execute("guest-file-read");
    take(&mut peer);
    peer.feed("{\"return\": \"".to_owned() + &"x".repeat(2000));
    let violation = CloseReason::Violation(Violation::TooLarge { limit: 1000 });
    assert!(matches!(peer.connection.poll_output(), Some(Output::Ready(None))));
    let Some(Output::Reply(ended, Err(error))) = peer.connection.poll_output() else { panic!() };
    assert_eq!((ended, error), (id, ExecuteError::Unanswered(violation)));
    begin(&mut peer, true);
    is_in_step(&mut peer, true);
}

#[test]
fn c23_with_ids_an_error_of_its_own_leaves_the_session_as_it_is() {
    let mut peer = ready_with_ids();
    let (first, second) = (peer.execute("guest-nonsense"), peer.execute("guest-ping"));
    take(&mut peer);
    peer.feed(error(first));
    assert_eq!(peer.told(), [Told::Error(first, "no".to_owned())]);
    assert_eq!(take(&mut peer), ping(second));
}

#[test]
fn c23_with_ids_an_error_without_one_leaves_the_command_unanswered() {
    let mut peer = ready_with_ids();
    let id = peer.execute("guest-ping");
    take(&mut peer);
    peer.feed([AGENT_ERROR, AGENT_ERROR].concat());
    let Some(Output::Reply(ended, Err(outcome))) = peer.connection.poll_output() else { panic!() };
    let ExecuteError::Unanswered(CloseReason::Violation(violation)) = outcome else { panic!() };
    assert!(matches!(violation, Violation::UnattributableError(_)) && ended == id);
    // Its reply may come yet, and is dropped with the rest.
    peer.feed(with_id("1", id));
    let number = sync(&mut peer);
    peer.feed(echo(number));
    is_in_step(&mut peer, true);
}

#[test]
fn c23_an_agent_that_says_each_answer_twice() {
    let mut agent = Agent::new(Ids::Echoed).stuttering();
    let mut peer = Peer::new(agents());
    for round in 0..20 {
        let id = peer.execute("guest-ping");
        let mut told = Vec::new();
        while told.is_empty() {
            agent.feed(&take(&mut peer));
            if agent.running().is_some() {
                agent.succeed(&round.to_string());
            }
            peer.feed(agent.take(usize::MAX));
            told = peer.told();
            told.retain(|told| !matches!(told, Told::Stray | Told::Ready));
        }
        assert_eq!(told, [returned(id, &round.to_string())]);
    }
}

/// Another agent may have been started meanwhile.
#[test]
fn c23_each_session_decides_anew_about_ids() {
    let mut peer = ready_with_ids();
    for echoes in [false, true, false, false, true, true] {
        let id = peer.execute("guest-slow");
        take(&mut peer);
        let _ = peer.connection.cancel(id);
        begin(&mut peer, echoes);
        is_in_step(&mut peer, echoes);
    }
}

#[test]
fn c23_an_agent_that_refuses_ids_is_asked_without_one_at_once() {
    let mut peer = Peer::new(agents());
    let sent = take(&mut peer);
    assert!(matches!(questions(&sent)[..], [(_, true)]));
    peer.feed(AGENT_ERROR);
    assert_eq!(take(&mut peer), b"");
    peer.feed(ID_REFUSED);
    let sent = take(&mut peer);
    let [(_, true), (number, false)] = questions(&sent)[..] else {
        panic!("{}", sent.escape_ascii())
    };
    // It is not asked once more for each refusal.
    peer.feed(ID_REFUSED.repeat(9));
    assert_eq!(take(&mut peer), b"");
    peer.feed(answer(number));
    is_in_step(&mut peer, false);
}

#[test]
fn c23_asked_again_it_is_with_an_id_and_without() {
    let asked_again = || {
        let mut peer = Peer::new(agents());
        sync(&mut peer);
        peer.ask_again();
        let sent = take(&mut peer);
        let [(first, true), (last, false)] = questions(&sent)[..] else {
            panic!("{}", sent.escape_ascii())
        };
        assert!(first < last);
        (peer, first, last)
    };
    // It says nothing to a question with an id.
    let (mut peer, _, last) = asked_again();
    peer.feed(answer(last));
    is_in_step(&mut peer, false);
    // It has answered both, and the first with its id.
    let (mut peer, first, last) = asked_again();
    peer.feed([AGENT_ERROR.as_bytes(), &echo(first)].concat());
    assert_eq!(peer.connection.phase(), Phase::Syncing);
    peer.ask_again();
    assert_eq!(take(&mut peer), b"", "it is slow");
    peer.feed([AGENT_ERROR.as_bytes(), &answer(last)].concat());
    is_in_step(&mut peer, true);
    // Both, and without ids.
    let (mut peer, first, last) = asked_again();
    peer.feed([answer(first), answer(last)].concat());
    is_in_step(&mut peer, false);
    // The first of them was lost with another agent.
    let (mut peer, first, _) = asked_again();
    peer.ask_again();
    let sent = take(&mut peer);
    peer.feed([echo(first), answer(number(&sent))].concat());
    is_in_step(&mut peer, false);
}
