//! How a session begins, and what may come before it.

use std::collections::BTreeSet;

use qmp_proto::{Cancelled, CloseReason, Config, Connection, Evidence, Phase};

use super::support::agent::{AGENT_ERROR, Agent, Ids};
use super::support::peer::{Peer, Told};
use super::{agents, answer, number, ready, returned, sync, take};

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
fn c23_each_session_has_a_new_number_and_the_last_one_counts() {
    let mut peer = ready();
    let first = peer.execute("guest-slow");
    take(&mut peer);
    let _ = peer.connection.cancel(first);
    let old = sync(&mut peer);
    let second = peer.execute("guest-ping");
    assert!(take(&mut peer).is_empty(), "it was asked already");
    peer.ask_again();
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
        peer.ask_again();
        sync(&mut peer);
    }
    peer.ask_again();
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
        peer.ask_again();
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
    peer.ask_again();
    let first = sync(&mut peer);
    // Another client's is no sign of life.
    peer.feed(answer(first - 1));
    peer.ask_again();
    let second = sync(&mut peer);
    peer.feed(answer(first));
    peer.ask_again();
    assert!(take(&mut peer).is_empty(), "it is slow");
    peer.ask_again();
    let third = sync(&mut peer);
    assert!(second < third);
    peer.feed([answer(second), answer(third)].concat());
    assert_eq!(peer.told(), [Told::Ready]);
    peer.ask_again();
    assert!(take(&mut peer).is_empty());
    let mut peer = Peer::ready(Config::default());
    peer.ask_again();
    assert!(take(&mut peer).is_empty(), "a monitor");
}

#[test]
fn c23_it_is_not_asked_twice_before_the_first_question_has_gone_out() {
    let mut peer = Peer::new(agents());
    peer.take(10);
    for _ in 0..100 {
        peer.ask_again();
        peer.execute("guest-ping");
        assert!(peer.connection.transmit().unwrap().bytes.len() < 100);
    }
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
        let (mut told, mut given_up) = (Vec::new(), false);
        for _ in 0..8 {
            agent.feed(&take(&mut peer));
            match agent.running().map(|command| command["execute"].clone()) {
                Some(name) if name == "guest-ping" => agent.succeed("{}"),
                Some(_) if !std::mem::replace(&mut given_up, true) => {
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

/// An agent that refuses what a session begins with, and leaves. Once it was ready, the evidence is of no use.
#[test]
fn c20_evidence_of_an_agent_stays_after_an_end_before_ready() {
    let refused = "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n";
    let mut peer = Peer::new(agents());
    peer.feed(refused);
    let evidence = peer.connection.evidence();
    assert!(matches!(evidence, Some(Evidence::Error(_))), "{evidence:?}");
    peer.connection.handle_eof();
    assert_eq!(peer.connection.evidence(), evidence);

    let mut peer = Peer::new(agents());
    peer.feed("login: ");
    peer.connection.handle_eof();
    assert_eq!(peer.connection.evidence(), Some(Evidence::Noise(6)));

    let mut peer = Peer::new(agents());
    let number = sync(&mut peer);
    peer.feed([refused.as_bytes(), &answer(number)].concat());
    assert_eq!(peer.connection.evidence(), None);
    peer.connection.handle_eof();
    assert_eq!(peer.connection.evidence(), None);
}

/// The second answer is dropped, and a new session begins: the command waits for its deadline.
#[test]
fn c23_an_agent_that_repeats_each_answer_before_the_command_is_sent_gets_no_command() {
    let mut peer = Peer::new(agents());
    let id = peer.execute("guest-ping");
    for _ in 0..10 {
        let number = sync(&mut peer);
        peer.feed(answer(number));
        peer.feed(answer(number));
        assert!(!peer.connection.is_sent(id));
    }
    assert_eq!(peer.connection.cancel(id), Cancelled::NeverSent(None));
}
