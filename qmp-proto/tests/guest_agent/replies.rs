//! Whose a reply is where there are no ids, and what follows an error and a command given up.

use qmp_proto::{Cancelled, CloseReason, Dialect, Output, Phase, Refusal, Request};

use super::support::agent::AGENT_ERROR;
use super::support::peer::{Peer, Told, config, error, success};
use super::{agents, answer, number, ready, returned, sync, take};

#[test]
fn c23_a_reply_without_an_id_answers_the_command_in_flight() {
    let mut peer = ready();
    let ids = ["a", "b", "c"].map(|name| peer.execute(name));
    assert!(peer.connection.transmit().is_some());
    peer.feed("{\"return\": {}}\n");
    peer.feed(AGENT_ERROR);
    assert_eq!(peer.told(), [Told::Stray, Told::Stray], "nothing of it is sent");
    for value in ["1795332918261446000", "null", "[1]"] {
        take(&mut peer);
        peer.feed(format!("{{\"return\": {value}}}\n"));
    }
    let [a, b, c] = ids;
    let expected = [returned(a, "1795332918261446000"), returned(b, "null"), returned(c, "[1]")];
    assert_eq!(peer.told(), expected);
    assert_eq!(peer.connection.strays(), 2);
}

#[test]
fn c23_what_comes_while_no_command_is_in_flight_is_dropped() {
    for unasked in ["{\"return\": {}}\n", AGENT_ERROR, "{\"retu", "noise", "{\"event\": \"A\"}"] {
        let mut peer = ready();
        peer.feed(unasked);
        assert_eq!(peer.connection.phase(), Phase::OutOfStep);
        let id = peer.execute("guest-ping");
        peer.feed("{\"return\": {}}\n");
        let number = sync(&mut peer);
        peer.feed("{\"return\": {}}\n");
        peer.feed(answer(number));
        assert_eq!(take(&mut peer), b"{\"execute\":\"guest-ping\"}\n");
        peer.feed("{\"return\": 1}\n");
        assert_eq!(peer.told(), [returned(id, "1")], "{unasked}");
        assert_eq!(peer.connection.strays(), 0);
    }
}

/// An agent that was started anew reads the second half of a command, and says several times that it
/// cannot.

#[test]
fn c23_of_several_errors_the_second_is_not_the_next_commands() {
    let mut peer = ready();
    let (first, second) = (peer.execute("guest-file-write"), peer.execute("guest-ping"));
    peer.take(10);
    peer.feed([AGENT_ERROR, AGENT_ERROR].concat());
    let failed = Told::Error(first, "JSON parse error, stray '\u{FFFD}'".to_owned());
    assert_eq!(peer.told(), [failed]);
    assert_eq!(peer.connection.phase(), Phase::OutOfStep);
    let sent = take(&mut peer);
    let begin = sent.iter().position(|byte| *byte == 0xFF).expect("a new session");
    assert_eq!(&sent[..begin], &b"{\"execute\":\"guest-file-write\"}\n"[10..], "C8");
    peer.feed([AGENT_ERROR, AGENT_ERROR].concat());
    peer.feed(answer(number(&sent[begin..])));
    take(&mut peer);
    peer.feed("{\"return\": {}}\n");
    assert_eq!(peer.told(), [returned(second, "{}")]);
    assert_eq!(peer.connection.strays(), 0);
}

/// Who leaves after an error leaves no answer unread, of which an agent at a socket would die.

#[test]
fn c23_after_an_error_nothing_is_asked_until_a_command_waits() {
    let mut peer = ready();
    let first = peer.execute("guest-nonsense");
    take(&mut peer);
    peer.feed([AGENT_ERROR, "{\"return\": {\"half\": "].concat());
    assert_eq!(peer.told(), [Told::Error(first, "JSON parse error, stray '\u{FFFD}'".to_owned())]);
    assert!(peer.connection.is_idle());
    peer.ask_again();
    assert!(take(&mut peer).is_empty());
    // What comes is dropped, whatever it is.
    peer.feed([AGENT_ERROR, "noise", "{\"return\": {}}\n"].concat());
    let second = peer.execute("guest-ping");
    assert!(!peer.connection.is_idle());
    let number = sync(&mut peer);
    peer.feed(answer(number));
    take(&mut peer);
    peer.feed("{\"return\": {}}\n");
    assert_eq!(peer.told(), [returned(second, "{}")]);
    assert_eq!(peer.connection.strays(), 0);

    let id = peer.execute("guest-nonsense");
    take(&mut peer);
    peer.feed(AGENT_ERROR);
    peer.connection.close();
    let failed = Told::Error(id, "JSON parse error, stray '\u{FFFD}'".to_owned());
    assert_eq!(peer.told(), [failed, Told::Closed(CloseReason::Requested)]);
}

#[test]
fn c23_a_reply_that_began_before_the_command_does_not_answer_it() {
    let mut peer = ready();
    peer.feed("{\"return\": {\"from\": \"another\"");
    assert!(peer.connection.is_idle());
    let id = peer.execute("guest-ping");
    let number = sync(&mut peer);
    peer.feed("}}\n");
    peer.feed(answer(number));
    assert_eq!(take(&mut peer), b"{\"execute\":\"guest-ping\"}\n");
    peer.feed("{\"return\": {}}\n");
    assert_eq!(peer.told(), [returned(id, "{}")]);
}

/// As at a serial line, to which the guest's kernel may write too.

#[test]
fn c12_not_a_byte_follows_quit_in_this_dialect_either() {
    let mut peer = ready();
    let quit = peer.connection.execute(Request::new("quit"), None).unwrap();
    peer.connection.execute(Request::new("guest-ping"), None).unwrap();
    assert_eq!(take(&mut peer), b"{\"execute\":\"quit\"}");
    peer.feed("{\"return\": {}}\n{");
    assert_eq!(peer.told(), [returned(quit, "{}")]);
    assert_eq!(take(&mut peer), b"");
}

#[test]
fn c23_what_cannot_be_read_ends_the_command_and_not_the_connection() {
    let noises = [
        "[  1.0] kernel: it is noisy\n",
        "{\"return\": [}",
        "{\"neither\": 1}\n",
        "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n",
    ];
    let mut peer = ready();
    for noise in noises {
        peer.feed(noise);
        assert_eq!(peer.told(), [], "{noise}");
        assert!(peer.connection.is_idle());
        let first = peer.execute("guest-ping");
        let second = peer.execute("guest-info");
        let number = sync(&mut peer);
        peer.feed(answer(number));
        take(&mut peer);
        peer.feed([noise, "{\"return\": {}}\n"].concat());
        assert_eq!(peer.told(), [Told::Unanswered(first)], "{noise}");
        // As after a command that was given up.
        let number = sync(&mut peer);
        peer.feed([noise.as_bytes(), &answer(number)].concat());
        assert_eq!(take(&mut peer), b"{\"execute\":\"guest-info\"}\n");
        peer.feed("{\"return\": {}}\n");
        assert_eq!(peer.told(), [returned(second, "{}")]);
    }
    let last = peer.execute("guest-ping");
    take(&mut peer);
    peer.connection.close();
    peer.feed(noises[0]);
    assert_eq!(peer.told(), [Told::Unanswered(last), Told::Closed(CloseReason::Requested)]);
}

#[test]
fn c23_a_reply_with_an_id_is_nobodys_as_no_command_has_one() {
    let mut peer = ready();
    let id = peer.execute("guest-ping");
    take(&mut peer);
    for foreign in ["\"gone\"".to_owned(), "1".to_owned(), id.to_string()] {
        peer.feed(success(&foreign));
        peer.feed(error(&foreign));
        assert_eq!(peer.told(), [Told::Stray, Told::Stray], "{foreign}");
    }
    peer.feed("{\"return\": {}}\n");
    assert_eq!(peer.told(), [returned(id, "{}")]);
}

#[test]
fn c23_one_command_is_in_flight() {
    let mut config = agents();
    config.window = Some(8);
    let mut peer = Peer::new(config);
    let number = sync(&mut peer);
    peer.feed(answer(number));
    let ids: Vec<_> = (0..20).map(|_| peer.execute("guest-ping")).collect();
    for id in &ids {
        assert_eq!(take(&mut peer), b"{\"execute\":\"guest-ping\"}\n");
        assert!(peer.connection.is_sent(*id));
        peer.feed("{\"return\": {}}\n");
    }
    assert_eq!(peer.told().len(), 21);
}

#[test]
fn c23_what_a_guest_agent_does_not_know_is_refused() {
    let config = config(|config| {
        config.dialect = Dialect::GuestAgent;
        (config.oob, config.descriptors) = (true, true);
    });
    let mut peer = Peer::new(config);
    let oob = peer.connection.execute(Request::new("guest-ping").out_of_band(), None);
    assert_eq!(oob, Err(Refusal::NotForGuestAgent));
    assert_eq!(peer.try_execute_fd("getfd", 1), Err(Refusal::NotForGuestAgent));
    assert!(peer.open().is_empty());
}

/// What is there to send when a command is cancelled of which so many bytes are sent.
fn cancelled_after(most: usize) -> (Peer, Vec<u8>) {
    let mut peer = ready();
    let id = peer.execute("guest-slow");
    let mut sent = Vec::new();
    if most > 0 {
        sent.extend(peer.take(most).unwrap().0);
    } else {
        assert!(peer.connection.transmit().is_some(), "claimed");
    }
    assert_eq!(peer.connection.cancel(id), Cancelled::ReplyDiscarded);
    assert_eq!(peer.connection.cancel(id), Cancelled::Unknown);
    assert_eq!(peer.connection.phase(), Phase::Syncing);
    assert!(!peer.connection.is_idle());
    sent.extend(take(&mut peer));
    (peer, sent)
}

#[test]
fn c23_after_a_command_was_given_up_a_new_session_begins() {
    let whole = b"{\"execute\":\"guest-slow\"}\n";
    for most in [0, 1, 10, whole.len() - 1, whole.len()] {
        for late in ["", "{\"return\": {\"late\": \"", "{\"return\": {}}\n", AGENT_ERROR] {
            let (mut peer, sent) = cancelled_after(most);
            let number = number(sent.strip_prefix(whole).expect("C8: it goes out whole"));
            let id = peer.execute("guest-ping");
            peer.feed(late);
            assert_eq!(take(&mut peer), b"");
            peer.feed(answer(number));
            assert_eq!(take(&mut peer), b"{\"execute\":\"guest-ping\"}\n");
            peer.feed("{\"return\": {}}\n");
            assert_eq!(peer.told(), [returned(id, "{}")], "{most} {late}");
            assert_eq!(peer.connection.strays(), 0);
            assert!(peer.connection.is_idle());
        }
    }
}

#[test]
fn c23_a_reply_that_has_half_come_is_forgotten_with_its_command() {
    let mut peer = ready();
    let first = peer.execute("guest-file-read");
    take(&mut peer);
    peer.feed("{\"return\": {\"buf-b64\": \"aGVs");
    assert_eq!(peer.connection.cancel(first), Cancelled::ReplyDiscarded);
    let number = sync(&mut peer);
    peer.feed("bG8=\"}}\n");
    peer.feed(answer(number));
    let second = peer.execute("guest-ping");
    take(&mut peer);
    peer.feed("{\"return\": {}}\n");
    assert_eq!(peer.told(), [returned(second, "{}")]);
}

#[test]
fn c19_closing_does_not_wait_for_a_reply_that_was_given_up() {
    let mut peer = ready();
    let id = peer.execute("guest-slow");
    take(&mut peer);
    peer.connection.close();
    assert_eq!(peer.connection.phase(), Phase::Closing);
    assert_eq!(peer.connection.cancel(id), Cancelled::ReplyDiscarded);
    assert_eq!(peer.told(), [Told::Closed(CloseReason::Requested)]);

    let (mut peer, _) = cancelled_after(5);
    let next = peer.execute("guest-ping");
    peer.connection.close();
    assert_eq!(peer.told(), [Told::NotSent(next), Told::Closed(CloseReason::Requested)]);
}

/// Megabytes of it, in one line or full of 0xFF.
#[test]
fn c3_what_is_dropped_takes_no_memory() {
    let mut peer = Peer::new(agents());
    let number = sync(&mut peer);
    for flood in ["{\"return\": \"abcdefg", "\u{1}{\"a\":[\"", "\u{1}\u{1}\u{1}"] {
        let flood: Vec<u8> = flood.bytes().map(|b| if b == 1 { 0xFF } else { b }).collect();
        let flood = flood.repeat(1000);
        for _ in 0..200 {
            peer.feed(&flood);
            assert!(peer.connection.poll_output().is_none());
        }
        // What may be the beginning of the answer is all that is ever kept.
        let shown = format!("{:?}", peer.connection);
        let kept = shown.split("Framer(").skip(1).map(|rest| rest.split(' ').next().unwrap());
        let kept: Vec<usize> = kept.map(|bytes| bytes.parse().unwrap()).collect();
        assert!(kept.iter().all(|bytes| *bytes < 256), "{shown}");
    }
    peer.feed(answer(number));
    assert!(matches!(peer.connection.poll_output(), Some(Output::Ready(None))));
}
