//! The table of a guest agent's connection.

use qmp_proto::{CloseReason, CommandId, Config, Dialect, Phase};

use super::support::agent::AGENT_ERROR;
use super::support::peer::{GREETING, Peer, Told, config, error, event, success};
use super::{Cell, OTHER_OBJECTS, TIMES, cells, check_completeness, feed};

const PHASES: [&str; 5] = ["Syncing", "OutOfStep", "Ready", "Closing", "Closed"];

const MESSAGES: [&str; 13] = [
    "answer with the number of the session",
    "answer with another number",
    "greeting",
    "success, some id",
    "error, some id",
    "success, no id, no command in flight",
    "error, no id, no command in flight",
    "success, no id, one command in flight",
    "error, no id, one command in flight",
    "event",
    "another JSON object",
    "text that is not a JSON object",
    "white space or 0xFF",
];

struct Scene {
    peer: Peer,
    /// The number of the session that is asked for, or was last.
    number: u64,
    /// The command that the agent has got, or the one that it will get next.
    command: CommandId,
}

fn agents() -> Config {
    config(|config| config.dialect = Dialect::GuestAgent)
}

/// Takes everything off the connection; gives the digits at its end.
fn number(peer: &mut Peer) -> u64 {
    let sent: Vec<u8> =
        std::iter::from_fn(|| peer.take(usize::MAX)).flat_map(|(bytes, _)| bytes).collect();
    let digits = sent.iter().filter(|byte| byte.is_ascii_digit()).copied().collect();
    String::from_utf8(digits).unwrap().parse().expect("a number")
}

fn answer(number: u64) -> Vec<u8> {
    [b"\xff", format!("{{\"return\": {number}}}\n").as_bytes()].concat()
}

/// One command is in flight, unless the message says otherwise: then the agent has got nothing of it.
fn scene(cell: &Cell) -> Scene {
    let mut peer = Peer::new(agents());
    let number = number(&mut peer);
    if cell.phase == "Syncing" {
        let command = peer.execute("guest-ping");
        return Scene { peer, number, command };
    }
    peer.feed(answer(number));
    let begun = !cell.message.contains("no command") && !cell.message.contains("answer");
    let command = peer.execute("guest-ping");
    match begun || cell.phase == "OutOfStep" {
        true => while peer.take(usize::MAX).is_some() {},
        false => assert!(peer.connection.transmit().is_some()),
    }
    match &*cell.phase {
        "OutOfStep" => peer.feed(AGENT_ERROR),
        "Closing" => peer.connection.close(),
        "Closed" => peer.connection.abort(),
        _ => {}
    }
    peer.told();
    Scene { peer, number, command }
}

fn texts(message: &str, scene: &Scene) -> Vec<Vec<u8>> {
    let of = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match message {
        "answer with the number of the session" => vec![answer(scene.number)],
        "answer with another number" => vec![answer(scene.number - 1), answer(42)],
        "greeting" => of(&[GREETING]),
        "success, some id" => of(&[&success(1), &success("\"gone\""), &success(scene.number)]),
        "error, some id" => of(&[&error(1), &error("\"gone\"")]),
        _ if message.starts_with("success, no id") => of(&["{\"return\": {}}\n"]),
        _ if message.starts_with("error, no id") => of(&[AGENT_ERROR]),
        "event" => of(&[&event("STOP")]),
        "another JSON object" => of(&OTHER_OBJECTS[..5]),
        "text that is not a JSON object" => of(&["login: ", "[1]", "\u{1b}[0m"]),
        "white space or 0xFF" => vec![b" ".to_vec(), b"\n".to_vec(), b"\xff\xff".to_vec()],
        other => panic!("no text for {other}"),
    }
}

fn check(cell: &Cell, text: &[u8], times: usize, whole: bool) {
    let mut scene = scene(cell);
    feed(&mut scene.peer, text, times, whole);
    let case = format!("{times} times {} in {}", text.escape_ascii(), cell.phase);
    let (strays, mut told) = (|times| vec![Told::Stray; times], scene.peer.told());
    // In `Closing` a command that ends is the last one.
    let drained = told.last() == Some(&Told::Closed(CloseReason::Requested));
    let ends_command = ["replies", "resynchronises"].contains(&&*cell.outcome);
    assert_eq!(drained, cell.phase == "Closing" && ends_command, "{case}: {told:?}");
    told.truncate(told.len() - usize::from(drained));
    match &*cell.outcome {
        "ignored" => assert_eq!(told, [], "{case}"),
        "unmatched" => assert_eq!(told, strays(times), "{case}"),
        "event" => assert_eq!(told, vec![Told::Event("STOP".to_owned()); times], "{case}"),
        "ready" => {
            // What follows is a reply to nothing.
            assert_eq!(told, [vec![Told::Ready], strays(times - 1)].concat(), "{case}");
        }
        "replies" if text == AGENT_ERROR.as_bytes() => {
            assert!(matches!(&told[..], [Told::Error(id, _)] if *id == scene.command), "{case}");
        }
        "replies" => {
            let reply = Told::Return(scene.command, "{}".to_owned());
            let after = if drained { 0 } else { times - 1 };
            assert_eq!(told, [vec![reply], strays(after)].concat(), "{case}");
        }
        "resynchronises" => assert_eq!(told, [Told::Unanswered(scene.command)], "{case}"),
        other => panic!("unknown: {other}"),
    }
    if !["Closing", "Closed"].contains(&&*cell.phase) {
        goes_on(scene.peer, &case);
    }
}

/// Whatever came, the next command is sent and answered, in a new session where one is needed.
fn goes_on(mut peer: Peer, case: &str) {
    if peer.connection.phase() == Phase::Ready {
        // The agent may have got a command.
        while peer.take(usize::MAX).is_some() {}
        peer.feed("{\"return\": {}}");
    }
    let next = peer.execute("guest-info");
    let sent: Vec<u8> =
        std::iter::from_fn(|| peer.take(usize::MAX)).flat_map(|(bytes, _)| bytes).collect();
    if peer.connection.phase() == Phase::Syncing {
        // Half a message may be here: the answer begins after 0xFF.
        peer.connection.ask_again();
        let number = number(&mut peer);
        peer.feed(answer(number));
        while peer.take(usize::MAX).is_some() {
            peer.feed("{\"return\": {}}");
        }
    } else {
        assert!(sent.starts_with(b"{\"execute\":\"guest-info\""), "{case}");
        peer.feed("{\"return\": {}}");
    }
    assert_eq!(peer.connection.phase(), Phase::Ready, "{case}");
    let returned = Told::Return(next, "{}".to_owned());
    assert!(peer.told().contains(&returned), "{case}");
}

#[test]
fn c23_each_message_does_in_each_phase_what_the_table_says() {
    let cells = cells("Syncing");
    check_completeness(&cells, &MESSAGES, &PHASES);
    for cell in &cells {
        for text in texts(&cell.message, &scene(cell)) {
            for times in TIMES {
                check(cell, &text, times, true);
                check(cell, &text, times, false);
            }
        }
    }
}
