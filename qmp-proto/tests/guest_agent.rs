//! C23: the guest agent's dialect.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::collections::BTreeSet;

use qmp_proto::{
    Cancelled, CloseReason, CommandId, Config, Connection, Dialect, IoFailure, Output, Phase,
    Refusal, Request,
};

use support::agent::{AGENT_ERROR, Agent, Ids};
use support::peer::{Peer, Told, config, error, success};

fn agents() -> Config {
    config(|config| config.dialect = Dialect::GuestAgent)
}

/// Everything that there is to send.
fn take(peer: &mut Peer) -> Vec<u8> {
    std::iter::from_fn(|| peer.take(usize::MAX)).flat_map(|(bytes, _)| bytes).collect()
}

/// The number of a synchronisation that is all there is to send.
#[track_caller]
fn number(sent: &[u8]) -> u64 {
    let text =
        sent.strip_prefix(b"\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":");
    let digits = text.and_then(|text| text.strip_suffix(b"}}\n"));
    let digits = digits.unwrap_or_else(|| panic!("{}", sent.escape_ascii()));
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

#[track_caller]
fn sync(peer: &mut Peer) -> u64 {
    number(&take(peer))
}

fn answer(number: u64) -> Vec<u8> {
    format!("\u{1}{{\"return\": {number}}}\n")
        .bytes()
        .map(|b| if b == 1 { 0xFF } else { b })
        .collect()
}

fn ready() -> Peer {
    let mut peer = Peer::new(agents());
    let number = sync(&mut peer);
    peer.feed(answer(number));
    assert_eq!(peer.told(), [Told::Ready]);
    peer
}

fn returned(id: CommandId, value: &str) -> Told {
    Told::Return(id, value.to_owned())
}

#[test]
fn c23_a_session_begins_with_a_number_of_its_own() {
    let mut numbers = BTreeSet::new();
    for nonce in (0..100).chain([u64::MAX, 1 << 63, i64::MAX as u64]) {
        let mut connection = <Connection>::new(agents(), nonce);
        assert_eq!(connection.phase(), Phase::Syncing);
        let number = number(connection.transmit().unwrap().bytes);
        assert!(number > 0 && number < 1 << 53, "{number} fits an i64, and a double");
        numbers.insert(number);
    }
    assert_eq!(numbers.len(), 103);
}

#[test]
fn c23_nothing_else_is_sent_before_the_answer() {
    let mut peer = Peer::new(agents());
    let first = peer.execute("guest-ping");
    let number = sync(&mut peer);
    let second = peer.execute("guest-info");
    assert_eq!(take(&mut peer), b"");
    assert!(!peer.connection.is_idle());
    peer.feed(answer(number));
    assert_eq!(peer.told(), [Told::Ready]);
    assert_eq!(take(&mut peer), b"{\"execute\":\"guest-ping\"}\n", "without an id");
    peer.feed("{\"return\": {}}\n");
    assert_eq!(take(&mut peer), b"{\"execute\":\"guest-info\"}\n");
    peer.feed("{\"return\": 1}\n");
    assert_eq!(peer.told(), [returned(first, "{}"), returned(second, "1")]);
    assert!(peer.connection.is_idle());
}

/// What may come before the answer with this number: from others, of others, and by nobody's fault.
fn befores(number: u64) -> Vec<Vec<u8>> {
    let mut befores: Vec<Vec<u8>> = [
        "",
        "\n",
        "{\"return\": {}}\n{\"return\": {}, \"id\": \"gone\"}\n",
        // A reply that nobody read to its end, cut anywhere.
        "{\"return\": {\"buf-b64\": \"aGVs",
        "{\"return\": [1, {\"a\": [",
        "bG8=\"}}\n",
        "\"}]]}}}}\\\"",
        "{\"QMP\": {\"version\": {}}}\r\n",
        "login: [  0.0] kernel \u{1b}[0m { \" ' ",
        AGENT_ERROR,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let bytes: [&[u8]; 13] = [
        b"\xff",
        b"\xff\xff\xff",
        b"\xff{\"return\": 42}\n",
        b"\xff{\"return\": 42, \"id\": \"d\"}\n\xff{\"return\": 43}",
        b"{\"return\": \"a\xffb\"}\n",
        b"{\"return\": \"a\xff{\\\"return\\\": 4",
        b"\xff{\"return\": \"",
        b"\xff{\"return\": {\"a\": [",
        b"\xff[1, 2]\xff]}\xff nonsense",
        b"\xff{\"error\": {\"class\": \"GenericError\", \"desc\": \"\"}}\n",
        b"\xff{\"return\": [[[[[[[[[[",
        b"\xff\xfe\xfd\x00\x01",
        b"\xff{\"event\": \"STOP\", \"timestamp\": {}}",
    ];
    befores.extend(bytes.map(<[u8]>::to_vec));
    // Our own number, but not as the answer.
    let almost = [
        format!("{{\"return\": {number}}}\n"),
        format!("\u{1}{{\"return\": \"{number}\"}}\n"),
        format!("\u{1}{{\"return\": -{number}}}\n"),
        format!("\u{1}{{\"return\": {number}0}}\n"),
        format!("\u{1}{{\"return\": [{number}]}}\n"),
        format!("\u{1}{{\"return\": {number}"),
        format!("\u{1}{{\"return\": {number}, \"id\": \"{}\"}}", "long".repeat(100)),
        // An echo, as of a terminal.
        format!(
            "\u{1}{{\"execute\":\"guest-sync-delimited\",\"arguments\":{{\"id\":{number}}}}}\n"
        ),
        format!("\u{1} nonsense {{\"return\": {number}}}\n"),
    ];
    befores
        .extend(almost.map(|text| text.bytes().map(|b| if b == 1 { 0xFF } else { b }).collect()));
    befores
}

#[test]
fn c23_everything_before_the_answer_is_dropped() {
    let cases = befores(sync(&mut Peer::new(agents())));
    for before in cases.iter().chain([&cases.concat()]) {
        for chunk in [1, 2, 7, usize::MAX] {
            let mut peer = Peer::new(agents());
            let id = peer.execute("guest-ping");
            let number = sync(&mut peer);
            let case = before.escape_ascii();
            for piece in [before, answer(number).trim_ascii_end()].concat().chunks(chunk) {
                assert_eq!(peer.connection.phase(), Phase::Syncing, "{case}");
                peer.feed(piece);
            }
            take(&mut peer);
            peer.feed("{\"return\": {}}\n");
            assert_eq!(peer.told(), [Told::Ready, returned(id, "{}")], "{case}");
        }
    }
}

#[test]
fn c23_the_answer_may_be_cut_anywhere_and_laid_out_in_any_way() {
    let number = sync(&mut Peer::new(agents()));
    let layouts = [
        format!("{{\"return\": {number}}}\n"),
        format!("{{\"return\":{number}}}"),
        format!("\n {{ \"return\" :\r\n {number} }}\r\n"),
        format!("{{\"return\": {number}, \"id\": {{\"a\": [1.5, null]}}}}\n"),
        format!("{{\"id\": 7, \"return\": {number}}}"),
    ];
    for layout in layouts {
        let answer = [b"half\xff", layout.as_bytes()].concat();
        for cut in 0..answer.len() {
            let mut peer = Peer::new(agents());
            let (start, rest) = answer.split_at(cut);
            take(&mut peer);
            peer.feed(start);
            assert!(peer.connection.phase() == Phase::Syncing || rest.trim_ascii().is_empty());
            peer.feed(rest);
            assert_eq!(peer.told(), [Told::Ready], "{layout} cut at {cut}");
            // What follows it is read.
            let id = peer.execute("guest-get-time");
            take(&mut peer);
            peer.feed("{\"return\": 12}");
            assert_eq!(peer.told(), [returned(id, "12")]);
        }
    }
}

#[test]
fn c23_a_reply_without_an_id_answers_the_command_in_flight() {
    let mut peer = ready();
    peer.feed("{\"return\": {}}\n");
    peer.feed(AGENT_ERROR);
    assert_eq!(peer.told(), [Told::Stray, Told::Stray], "none is in flight");
    let ids = ["a", "b", "c"].map(|name| peer.execute(name));
    peer.feed("{\"return\": {}}\n");
    assert_eq!(peer.told(), [Told::Stray], "nothing of it is sent");
    for value in ["1795332918261446000", "null", "[1]"] {
        take(&mut peer);
        peer.feed(format!("{{\"return\": {value}}}\n"));
    }
    let [a, b, c] = ids;
    let expected = [returned(a, "1795332918261446000"), returned(b, "null"), returned(c, "[1]")];
    assert_eq!(peer.told(), expected);
    assert_eq!(peer.connection.strays(), 3);
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
    peer.connection.ask_again();
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
    let quit = peer.connection.execute(Request::new("quit")).unwrap();
    peer.connection.execute(Request::new("guest-ping")).unwrap();
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
    let oob = peer.connection.execute(Request::new("guest-ping").out_of_band());
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
fn c23_each_session_has_a_new_number_and_the_last_one_counts() {
    let mut peer = ready();
    let first = peer.execute("guest-slow");
    take(&mut peer);
    let _ = peer.connection.cancel(first);
    let old = sync(&mut peer);
    let second = peer.execute("guest-ping");
    assert!(take(&mut peer).is_empty(), "it was asked already");
    peer.connection.ask_again();
    let new = sync(&mut peer);
    assert!(new > old);
    assert!(take(&mut peer).is_empty(), "it was asked already");
    peer.feed(answer(old));
    assert_eq!(peer.connection.phase(), Phase::Syncing);
    peer.feed(answer(new));
    take(&mut peer);
    peer.feed("{\"return\": {}}\n");
    assert_eq!(peer.told(), [returned(second, "{}")]);
}

/// A question is lost with an agent that is killed, while a command waits that nobody gives up.
#[test]
fn c23_a_lost_question_is_asked_again_while_a_command_waits() {
    let mut peer = ready();
    let first = peer.execute("guest-slow");
    take(&mut peer);
    let _ = peer.connection.cancel(first);
    sync(&mut peer);
    let second = peer.execute("guest-ping");
    for _ in 0..3 {
        assert!(take(&mut peer).is_empty());
        peer.feed(b"noise\xff\n");
        peer.connection.ask_again();
        sync(&mut peer);
    }
    peer.connection.ask_again();
    let number = sync(&mut peer);
    peer.feed(answer(number));
    assert_eq!(take(&mut peer), b"{\"execute\":\"guest-ping\"}\n");
    peer.feed("{\"return\": {}}\n");
    assert_eq!(peer.told(), [returned(second, "{}")]);
}

/// Everybody gives up sooner than it answers, and yet it is in step at some time.
#[test]
fn c23_an_agent_that_is_slower_than_everybodys_patience_is_not_asked_for_ever() {
    let mut peer = ready();
    let first = peer.execute("guest-slow");
    take(&mut peer);
    let _ = peer.connection.cancel(first);
    let mut questions = vec![sync(&mut peer)];
    for round in 0.. {
        assert!(round < 13, "never in step");
        let id = peer.execute("guest-ping");
        let sent = take(&mut peer);
        if sent == b"{\"execute\":\"guest-ping\"}\n" {
            break;
        }
        assert!(sent.is_empty());
        peer.connection.ask_again();
        let sent = take(&mut peer);
        questions.extend((!sent.is_empty()).then(|| number(&sent)));
        // It takes five rounds to answer.
        if round >= 5 {
            peer.feed(answer(questions[round - 5]));
        }
        let _ = peer.connection.cancel(id);
    }
    assert_eq!(questions.len(), 7);
}

#[test]
fn c23_who_connects_asks_again_where_nothing_comes() {
    let mut peer = Peer::new(agents());
    peer.connection.ask_again();
    let first = sync(&mut peer);
    // Another client's is no sign of life.
    peer.feed(answer(first - 1));
    peer.connection.ask_again();
    let second = sync(&mut peer);
    peer.feed(answer(first));
    peer.connection.ask_again();
    assert!(take(&mut peer).is_empty(), "it is slow");
    peer.connection.ask_again();
    let third = sync(&mut peer);
    assert!(second < third);
    peer.feed([answer(second), answer(third)].concat());
    assert_eq!(peer.told(), [Told::Ready]);
    peer.connection.ask_again();
    assert!(take(&mut peer).is_empty());
    let mut peer = Peer::ready(Config::default());
    peer.connection.ask_again();
    assert!(take(&mut peer).is_empty(), "a monitor");
}

#[test]
fn c23_it_is_not_asked_twice_before_the_first_question_has_gone_out() {
    let mut peer = Peer::new(agents());
    peer.take(10);
    for _ in 0..100 {
        peer.connection.ask_again();
        peer.execute("guest-ping");
        assert!(peer.connection.transmit().unwrap().bytes.len() < 100);
    }
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

fn shutdown(peer: &mut Peer) -> CommandId {
    peer.connection.execute(Request::new("guest-shutdown").no_reply()).unwrap()
}

#[test]
fn c23_no_reply_ends_well_with_the_stream() {
    let eof: fn(&mut Peer) = |peer| peer.connection.handle_eof();
    let reset: fn(&mut Peer) = |peer| peer.connection.handle_failure(IoFailure::Reset);
    for (end, reason) in [
        (eof, CloseReason::Eof { mid_message: false }),
        (reset, CloseReason::Failed(IoFailure::Reset)),
    ] {
        let mut peer = ready();
        let id = shutdown(&mut peer);
        take(&mut peer);
        end(&mut peer);
        assert_eq!(peer.told(), [returned(id, "\"closed\""), Told::Closed(reason.clone())]);
        // Of a command that did not go out whole this cannot be said.
        let mut peer = ready();
        let id = shutdown(&mut peer);
        peer.take(10);
        end(&mut peer);
        assert_eq!(peer.told(), [Told::Unanswered(id), Told::Closed(reason)]);
    }
}

/// Half an error is no success.
#[test]
fn c23_no_reply_does_not_end_well_in_the_middle_of_a_message() {
    for mut peer in [ready(), Peer::ready(Config::default())] {
        for reset in [false, true] {
            let id = shutdown(&mut peer);
            take(&mut peer);
            peer.feed("{\"error\": {\"class\": \"GenericError\", \"desc\": \"Guest shutdown fai");
            match reset {
                true => peer.connection.handle_failure(IoFailure::Reset),
                false => peer.connection.handle_eof(),
            }
            assert_eq!(peer.told()[0], Told::Unanswered(id));
            peer = ready();
        }
    }
}

#[test]
fn c23_no_reply_does_not_end_well_by_our_doing_or_a_fault() {
    let mut peer = ready();
    let id = shutdown(&mut peer);
    take(&mut peer);
    peer.connection.abort();
    assert_eq!(peer.told(), [Told::Unanswered(id), Told::Closed(CloseReason::Requested)]);
    let mut peer = ready();
    let id = shutdown(&mut peer);
    take(&mut peer);
    peer.feed("nonsense");
    assert_eq!(peer.told()[0], Told::Unanswered(id));
}

#[test]
fn c23_no_reply_may_have_one_and_an_error_is_an_error() {
    let mut peer = ready();
    let ids = [shutdown(&mut peer), shutdown(&mut peer)];
    take(&mut peer);
    peer.feed("{\"return\": {\"a\": \"secret\"}}\n");
    take(&mut peer);
    peer.feed("{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n");
    let error = Told::Error(ids[1], "disabled".to_owned());
    assert_eq!(peer.told(), [returned(ids[0], "\"returned\""), error]);
}

#[test]
fn c23_no_reply_given_up_says_whether_it_was_sent_whole() {
    for (most, expected) in [(usize::MAX, Cancelled::NoReplyOwed), (10, Cancelled::ReplyDiscarded)]
    {
        let mut peer = ready();
        let id = shutdown(&mut peer);
        peer.take(most);
        assert_eq!(peer.connection.cancel(id), expected);
        assert_eq!(peer.connection.phase(), Phase::Syncing);
    }
    let mut peer = ready();
    let id = shutdown(&mut peer);
    assert_eq!(peer.connection.cancel(id), Cancelled::NeverSent(None));
}

/// The monitor's commands may be so marked too.
#[test]
fn c23_no_reply_is_of_no_dialect() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.connection.execute(Request::new("system_reset").no_reply()).unwrap();
    take(&mut peer);
    peer.answer(id);
    let id = [shutdown(&mut peer), shutdown(&mut peer)];
    take(&mut peer);
    assert_eq!(peer.connection.cancel(id[0]), Cancelled::NoReplyOwed);
    peer.connection.handle_eof();
    assert_eq!(peer.told()[1..2], [returned(id[1], "\"closed\"")]);
}

#[test]
fn c23_the_stream_may_end_before_the_answer() {
    for before in befores(1).iter().map(Vec::as_slice).chain([&b"\xff{\"return\": 1"[..]]) {
        let mut peer = Peer::new(agents());
        let id = peer.execute("guest-ping");
        take(&mut peer);
        peer.feed(before);
        peer.connection.handle_eof();
        let reason = CloseReason::Eof { mid_message: false };
        assert_eq!(peer.told(), [Told::NotSent(id), Told::Closed(reason)]);
    }
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

/// Every kind of agent, with what another client left behind in it.
#[test]
fn c23_agents_of_any_age_are_spoken_to() {
    for ids in [Ids::Refused, Ids::Ignored, Ids::Echoed] {
        let mut agent = Agent::new(ids);
        agent.feed(b"{\"execute\":\"guest-info\"}{\"execute\":\"guest-pi");
        agent.succeed("{\"version\": \"0.12\"}");
        let mut peer = Peer::new(agents());
        let ping = peer.execute("guest-ping");
        let slow = peer.execute("guest-slow");
        let mut told = Vec::new();
        for round in 0..4 {
            agent.feed(&take(&mut peer));
            match agent.running().map(|command| command["execute"].clone()) {
                Some(name) if name == "guest-ping" => agent.succeed("{}"),
                Some(_) if round == 2 => {
                    let _ = peer.connection.cancel(slow);
                    agent.feed(&take(&mut peer));
                    agent.succeed("{\"late\": true}");
                }
                _ => {}
            }
            peer.feed(agent.take(usize::MAX));
            told.extend(peer.told());
        }
        assert_eq!(told, [Told::Ready, returned(ping, "{}")], "{ids:?}");
        assert!(peer.connection.is_idle());
    }
}
