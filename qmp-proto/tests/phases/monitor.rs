//! The table of a monitor's connection.

use qmp_proto::{CloseReason, CommandId, NotQmp, Phase, Violation};

use super::support::peer::{ERROR_WITHOUT_ID, GREETING, Peer, Told, config, error, event, success};
use super::{Cell, OTHER_OBJECTS, TIMES, cells, check_completeness, check_end, feed};

const TITLE: &str = "# What each message does in each phase";

const PHASES: [&str; 5] = ["Greeting", "Negotiating", "Ready", "Closing", "Closed"];

const MESSAGES: [&str; 19] = [
    "greeting",
    "success, id of `qmp_capabilities`",
    "error, id of `qmp_capabilities`",
    "success, id of a repeated `qmp_capabilities`",
    "error, id of a repeated `qmp_capabilities`",
    "success, id of a command in flight",
    "error, id of a command in flight",
    "success, id of a queued or answered command",
    "error, id of a queued or answered command",
    "success, unknown id",
    "error, unknown id",
    "success, no id",
    "error, no id, no command in flight",
    "error, no id, one command in flight",
    "error, no id, several commands in flight",
    "event",
    "another JSON object",
    "text that is not a JSON object",
    "white space or 0xFF",
];

/// A connection in some phase, with commands where the phase allows them.
struct Scene {
    peer: Peer,
    /// The ids of `qmp_capabilities`: the first one, and the one that follows another greeting.
    capabilities: [u64; 2],
    in_flight: Vec<CommandId>,
    /// Not in flight. In `Ready` and `Closing` there is one that was answered too.
    others: Vec<CommandId>,
}

/// Before `Ready` no command is in flight.
fn scene(cell: &Cell) -> Scene {
    let in_flight = match &*cell.message {
        message if message.contains("several") => 2,
        message if message.contains("command in flight") && !message.contains("no command") => 1,
        _ => 0,
    };
    let repeated = cell.message.contains("repeated");
    let peer = Peer::new(config(|config| config.window = Some(in_flight + 1)));
    let mut scene =
        Scene { peer, capabilities: ids_of_capabilities(), in_flight: Vec::new(), others: vec![] };
    if cell.phase == "Greeting" {
        scene.others.push(scene.peer.execute("queued"));
        return scene;
    }
    (0..=usize::from(repeated)).for_each(|_| scene.peer.greet());
    assert_eq!(scene.peer.sent()[0].id, scene.capabilities[0]);
    if cell.phase == "Negotiating" {
        scene.others.push(scene.peer.execute("queued"));
        return scene;
    }
    scene.peer.answer(scene.capabilities[0]);
    let answered = scene.peer.execute("answered");
    scene.peer.sent();
    scene.peer.answer(answered);
    scene.in_flight = (0..in_flight).map(|_| scene.peer.execute("in-flight")).collect();
    scene.peer.sent();
    if cell.phase != "Ready" {
        // It was committed, and keeps the connection open; the transport has taken nothing of it.
        scene.peer.execute("committed");
        assert!(scene.peer.connection.transmit().is_some());
    }
    scene.others = vec![answered, scene.peer.execute("queued")];
    match &*cell.phase {
        "Closing" => scene.peer.connection.close(),
        "Closed" => scene.peer.connection.abort(),
        _ => {}
    }
    scene.peer.told();
    scene
}

/// The ids that a connection of these tests takes.
fn ids_of_capabilities() -> [u64; 2] {
    let mut peer = Peer::new(config(|_| {}));
    peer.greet();
    peer.greet();
    let sent = peer.sent();
    assert!(sent.iter().all(|command| command.name == "qmp_capabilities"));
    [sent[0].id, sent[1].id]
}

/// Each text that stands for this message.
fn texts(message: &str, scene: &Scene) -> Vec<String> {
    let reply: fn(String) -> String = if message.starts_with("success") { success } else { error };
    match message.split_once(", ").map_or(message, |(_, rest)| rest) {
        "greeting" => vec![GREETING.to_owned()],
        "id of `qmp_capabilities`" => vec![reply(scene.capabilities[0].to_string())],
        "id of a repeated `qmp_capabilities`" => vec![reply(scene.capabilities[1].to_string())],
        "id of a command in flight" => {
            // Before `Ready`, the id that the first command will have.
            let id = scene.in_flight.first().map_or("1".to_owned(), CommandId::to_string);
            vec![reply(id)]
        }
        "id of a queued or answered command" => {
            scene.others.iter().map(|id| reply(id.to_string())).collect()
        }
        "unknown id" => {
            ["\"gone\"", "7000", "{\"a\": [1, null]}", "inf"].map(|id| reply(id.into())).into()
        }
        "no id" => vec!["{\"return\": {}}\r\n".to_owned()],
        rest if rest.starts_with("no id, ") => vec![ERROR_WITHOUT_ID.to_owned()],
        "event" => vec![event("STOP")],
        "another JSON object" => OTHER_OBJECTS.map(str::to_owned).into(),
        "text that is not a JSON object" => {
            ["(qemu) ", "SSH-2.0", "[1]", "RFB 003"].map(str::to_owned).into()
        }
        // In these texts the tilde stands for 0xFF.
        "white space or 0xFF" => [" ", "\r\n", "\t", "~", "~~ ~"].map(str::to_owned).into(),
        other => panic!("no text for {other}"),
    }
}

fn check(cell: &Cell, text: &str, times: usize, whole: bool) {
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == b'~' { 0xFF } else { byte }).collect();
    let mut scene = scene(cell);
    feed(&mut scene.peer, &bytes, times, whole);
    let case = format!("{times} times {text:?} in {}", cell.phase);
    let stray = Told::Stray;
    match &*cell.outcome {
        "ignored" => assert_eq!(scene.peer.told(), [], "{case}"),
        // Once; then it is not owed any more.
        "discarded" => assert_eq!(scene.peer.told(), vec![stray; times - 1], "{case}"),
        "unmatched" => assert_eq!(scene.peer.told(), vec![stray; times], "{case}"),
        "event" => {
            assert_eq!(scene.peer.told(), vec![Told::Event("STOP".to_owned()); times], "{case}");
        }
        "negotiates" => {
            let sent = scene.peer.sent();
            assert_eq!(sent.len(), times, "{case}");
            assert!(sent.iter().all(|it| it.name == "qmp_capabilities" && it.arguments.is_null()));
            assert_eq!(scene.peer.connection.phase(), Phase::Negotiating, "{case}");
        }
        "ready" => {
            let told = [vec![Told::Ready], vec![stray; times - 1]].concat();
            assert_eq!(scene.peer.told(), told, "{case}");
        }
        "replies" => {
            let (id, success) = (scene.in_flight.remove(0), text.contains("return"));
            let reply = match success {
                true => Told::Return(id, "{}".to_owned()),
                false if text == ERROR_WITHOUT_ID => Told::Error(id, "JSON parse error".to_owned()),
                false => Told::Error(id, "no".to_owned()),
            };
            let told = [vec![reply], vec![stray; times - 1]].concat();
            assert_eq!(scene.peer.told(), told, "{case}");
        }
        end => return check_end(&mut scene.peer, |reason| is_called(reason, end), &case),
    }
    match &*cell.phase {
        "Closed" => assert_eq!(scene.peer.connection.phase(), Phase::Closed),
        "Closing" => assert_eq!(scene.peer.connection.phase(), Phase::Closing, "{case}"),
        _ => goes_on(scene, &case),
    }
}

/// Whether the table calls the end so.
fn is_called(reason: &CloseReason, name: &str) -> bool {
    match reason {
        CloseReason::Violation(Violation::SecondGreeting) => name == "ends: second greeting",
        CloseReason::Violation(Violation::UnattributableError(_)) => {
            name == "ends: ambiguous error"
        }
        CloseReason::Violation(Violation::Envelope { .. } | Violation::Garbage { .. }) => {
            name == "ends: violation"
        }
        CloseReason::NegotiationRefused(_) => name == "ends: refused",
        CloseReason::NotQmp(_) => name == "ends: not QMP",
        _ => false,
    }
}

/// What is not the end changes nothing: negotiation and commands go on.
fn goes_on(mut scene: Scene, case: &str) {
    let peer = &mut scene.peer;
    if peer.connection.phase() == Phase::Greeting {
        peer.greet();
        assert_eq!(peer.sent_names(), ["qmp_capabilities"], "{case}");
    }
    if peer.connection.phase() == Phase::Negotiating {
        peer.answer(scene.capabilities[0]);
        assert_eq!(peer.told(), [Told::Ready], "{case}");
    }
    for id in scene.in_flight {
        peer.answer(id);
        assert_eq!(peer.told(), [Told::Return(id, "{}".to_owned())], "{case}");
    }
    assert_eq!(peer.sent_names(), ["queued"], "{case}");
    let queued = *scene.others.last().unwrap();
    peer.answer(queued);
    assert_eq!(peer.told(), [Told::Return(queued, "{}".to_owned())], "{case}");
    assert!(peer.connection.is_idle(), "{case}");
}

#[test]
fn c5_c6_c7_c9_each_message_does_in_each_phase_what_the_table_says() {
    let cells = cells(TITLE);
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

/// Whatever comes before the greeting, in any order and number, the greeting still counts.
#[test]
fn c9_anything_that_does_not_end_it_may_come_before_ready() {
    let cells = cells(TITLE);
    let harmless = |phase: &str| {
        let in_phase = cells.iter().filter(|cell| cell.phase == phase);
        let going_on =
            in_phase.filter(|cell| ["unmatched", "event", "ignored"].contains(&&*cell.outcome));
        let texts = going_on.flat_map(|cell| texts(&cell.message, &scene(cell)));
        texts.map(|text| text.replace('~', " ")).collect::<Vec<_>>()
    };
    let (before, after) = (harmless("Greeting"), harmless("Negotiating"));
    for (rotation, _) in before.iter().enumerate() {
        let rotated = |texts: &[String]| {
            let at = rotation % texts.len();
            [&texts[at..], &texts[..at]].concat().concat().repeat(20)
        };
        let mut peer = Peer::new(config(|_| {}));
        peer.feed(rotated(&before));
        assert_eq!(peer.connection.phase(), Phase::Greeting);
        peer.greet();
        peer.feed(rotated(&after));
        assert_eq!(peer.connection.phase(), Phase::Negotiating);
        let events = peer.told().iter().filter(|told| matches!(told, Told::Event(_))).count();
        assert_eq!(events, 40);
        peer.accept();
        assert_eq!(peer.told(), [Told::Ready]);
    }
}

#[test]
fn c7_a_text_after_an_event_is_quoted() {
    let mut peer = Peer::new(config(|_| {}));
    peer.feed(event("STOP"));
    peer.feed("(qemu) ");
    let quoted = CloseReason::NotQmp(NotQmp::Unknown { said: "(qemu) ".into() });
    assert_eq!(peer.told()[1..], [Told::Closed(quoted)]);

    let mut peer = Peer::new(config(|_| {}));
    peer.feed(event("STOP"));
    peer.feed("{\"jsonrpc\": \"2.0\"}");
    let other = CloseReason::NotQmp(NotQmp::OtherJson);
    assert_eq!(peer.told()[1..], [Told::Closed(other)]);
}
