//! The tables of a guest agent's connection: of one that echoes ids, and of one that does not.

use qmp_proto::{CloseReason, CommandId, Config, Dialect, Phase};
use serde_json::Value;

use super::support::agent::{AGENT_ERROR, Agent, ID_REFUSED, Ids};
use super::support::peer::{GREETING, Peer, Told, config, error, event, success};
use super::{Cell, OTHER_OBJECTS, TIMES, cells, check_completeness, feed};

const NONE_IN_FLIGHT: &str = "Ready, none in flight";

const PHASES: [&str; 6] =
    ["Syncing", "OutOfStep", NONE_IN_FLIGHT, "Ready, one in flight", "Closing", "Closed"];

const BEGUN_BEFORE: &str = "reply that began before the command was sent";

/// The messages before the replies with an id.
const FIRST: [&str; 3] =
    ["answer with the number of the session", "answer with another number", "greeting"];

const IDS_OF_ECHOES: [&str; 4] = [
    "success, id of the command",
    "error, id of the command",
    "success, another id",
    "error, another id",
];

const IDS_OF_OTHERS: [&str; 2] = ["success, some id", "error, some id"];

/// The messages after the replies with an id.
const LAST: [&str; 8] = [
    "success, no id",
    "error, no id",
    "refusal of ids",
    BEGUN_BEFORE,
    "event",
    "another JSON object",
    "text that is not a JSON object",
    "white space or 0xFF",
];

/// How much of the command in flight the agent has received.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Received {
    None,
    Part,
    All,
}

struct Scene {
    peer: Peer,
    agent: Agent,
    ids: Ids,
    /// The number of the last question.
    number: u64,
    /// How many questions were sent.
    questions: usize,
    /// The command in flight, or the queued one.
    command: CommandId,
}

impl Scene {
    /// A connection that has sent its first question.
    fn new(ids: Ids) -> Self {
        let config: Config = config(|config| config.dialect = Dialect::GuestAgent);
        let (mut peer, agent) = (Peer::new(config), Agent::new(ids));
        let command = peer.execute("guest-ping");
        let mut scene = Self { peer, agent, ids, number: 0, questions: 0, command };
        scene.send(usize::MAX);
        scene
    }

    fn of(cell: &Cell, ids: Ids, received: Received) -> Self {
        let mut scene = Self::new(ids);
        if cell.phase == "Syncing" {
            return scene;
        }
        while scene.peer.connection.phase() == Phase::Syncing {
            scene.peer.feed(scene.agent.take(usize::MAX));
            if scene.peer.connection.phase() == Phase::Syncing {
                scene.send(usize::MAX);
            }
        }
        match &*cell.phase {
            NONE_IN_FLIGHT => {}
            "OutOfStep" => scene.peer.feed("noise"),
            _ => scene.put_in_flight(received),
        }
        match &*cell.phase {
            "Closing" => scene.peer.connection.close(),
            "Closed" => scene.peer.connection.abort(),
            _ => {}
        }
        scene.peer.told();
        scene
    }

    fn put_in_flight(&mut self, received: Received) {
        match received {
            Received::None => assert!(self.peer.connection.transmit().is_some()),
            Received::Part => self.send(5),
            Received::All => self.send(usize::MAX),
        }
    }

    /// Sends so many bytes to the agent.
    fn send(&mut self, most: usize) {
        let Some((bytes, _)) = self.peer.take(most) else { return };
        self.agent.feed(&bytes);
        self.questions += bytes.iter().filter(|byte| **byte == 0xFF).count();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((_, number)) = text.rsplit_once("\"arguments\":{\"id\":") {
            self.number = number.split_once('}').unwrap().0.parse().unwrap();
        }
    }

    /// The agent finishes its command, then its answers come, and then the next bytes are sent.
    fn exchange(&mut self) -> Vec<Told> {
        while let Some(command) = self.agent.running() {
            let value = if command["execute"] == "guest-info" { "7" } else { "{}" };
            self.agent.succeed(value);
        }
        self.peer.feed(self.agent.take(usize::MAX));
        self.send(usize::MAX);
        self.peer.told()
    }

    /// The answer to the question with this number.
    fn answer(&self, number: u64) -> Vec<u8> {
        let id = match self.ids {
            Ids::Echoed => format!(", \"id\": {number}"),
            Ids::Ignored | Ids::Refused => String::new(),
        };
        [b"\xff", format!("{{\"return\": {number}{id}}}\n").as_bytes()].concat()
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.peer.connection.phase() == phase
    }
}

/// Each text that stands for this message.
fn texts(message: &str, scene: &Scene) -> Vec<Vec<u8>> {
    let (command, number) = (scene.command, scene.number);
    let of = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match message {
        "answer with the number of the session" => vec![scene.answer(number)],
        "answer with another number" => vec![scene.answer(number - 1), scene.answer(42)],
        "greeting" => of(&[GREETING]),
        "success, id of the command" => of(&[&success(command)]),
        "error, id of the command" => of(&[&error(command)]),
        "success, another id" => {
            of(&[&success("7000"), &success("\"gone\""), &success("null"), &success(number)])
        }
        "error, another id" => of(&[&error("7000"), &error("\"gone\""), &error(number)]),
        "success, some id" => of(&[&success(command), &success("\"gone\""), &success(number)]),
        "error, some id" => of(&[&error(command), &error("\"gone\""), &error("null")]),
        "success, no id" => of(&["{\"return\": {}}\n"]),
        "error, no id" => of(&[AGENT_ERROR]),
        "refusal of ids" => of(&[ID_REFUSED]),
        BEGUN_BEFORE => {
            of(&[&success(command), &error(command), "{\"return\": {}}\n", AGENT_ERROR])
        }
        "event" => of(&[&event("STOP")]),
        "another JSON object" => of(&OTHER_OBJECTS),
        "text that is not a JSON object" => of(&["login: ", "[1]", "\u{1b}[0m"]),
        "white space or 0xFF" => vec![b" ".to_vec(), b"\n".to_vec(), b"\xff\xff".to_vec()],
        other => panic!("no text for {other}"),
    }
}

/// One way to play a cell.
struct Play<'a> {
    cell: &'a Cell,
    ids: Ids,
    received: Received,
    text: &'a [u8],
    times: usize,
    whole: bool,
}

impl Play<'_> {
    fn check(&self) {
        let mut scene = Scene::of(self.cell, self.ids, self.received);
        self.feed(&mut scene);
        let told = scene.peer.told();
        let case = format!(
            "{:?}, {} times {} in {}, received {:?}: {told:?}",
            self.ids,
            self.times,
            self.text.escape_ascii(),
            self.cell.phase,
            self.received
        );
        let ends_command = self.does("replies") || self.does("unanswered");
        let closes = self.cell.phase == "Closing" && ends_command;
        let mut expected = self.told(&scene);
        if closes {
            expected.push(Told::Closed(CloseReason::Requested));
        }
        assert_eq!(told, expected, "{case}");
        if self.cell.phase.starts_with("Ready") || self.does("ready") {
            assert_eq!(!scene.is_in(Phase::Ready), self.needs_session(), "{case}");
        }
        if scene.is_in(Phase::Syncing) && self.cell.phase == "Syncing" {
            scene.send(usize::MAX);
            assert_eq!(scene.questions, if self.does("asks") { 3 } else { 1 }, "{case}");
        }
        match &*self.cell.phase {
            "Closed" => assert!(scene.is_in(Phase::Closed), "{case}"),
            "Closing" if closes => assert!(scene.is_in(Phase::Closed), "{case}"),
            "Closing" => drains(scene, &case),
            _ => goes_on(scene, ends_command, &case),
        }
    }

    /// The outcome has this word.
    fn does(&self, word: &str) -> bool {
        self.cell.outcome.split(", ").any(|part| part.split(' ').next() == Some(word))
    }

    /// A reply may begin before the command's first byte is sent, and end after that.
    fn feed(&self, scene: &mut Scene) {
        let in_flight = ["Ready, one in flight", "Closing"].contains(&&*self.cell.phase);
        if self.cell.message != BEGUN_BEFORE || !in_flight || self.times > 1 {
            return feed(&mut scene.peer, self.text, self.times, self.whole);
        }
        let (start, rest) = self.text.split_at(self.text.len() / 2);
        feed(&mut scene.peer, start, 1, self.whole);
        scene.send(5);
        feed(&mut scene.peer, rest, 1, self.whole);
    }

    /// What is told, apart from the end.
    fn told(&self, scene: &Scene) -> Vec<Told> {
        let value = || -> Value {
            serde_json::from_slice(self.text.strip_prefix(b"\xff").unwrap_or(self.text)).unwrap()
        };
        match &*self.cell.outcome {
            "ignored" | "dropped" | "asks without id" => vec![],
            // After that nothing is in flight: the rest is dropped.
            "ready" => vec![Told::Ready],
            "unmatched" => vec![Told::Stray; self.times],
            "event" => vec![Told::Event("STOP".to_owned()); self.times],
            "replies" | "replies, resynchronises" => match value().get("return") {
                Some(returned) => vec![Told::Return(scene.command, returned.to_string())],
                None => {
                    let desc = value()["error"]["desc"].as_str().unwrap().to_owned();
                    vec![Told::Error(scene.command, desc)]
                }
            },
            // Closing, it ends before anything of the command is sent.
            "unanswered" if self.received == Received::None => vec![Told::NotSent(scene.command)],
            "unanswered" | "unanswered, resynchronises" => vec![Told::Unanswered(scene.command)],
            other => panic!("unknown: {other}"),
        }
    }

    /// A new session has to begin before the next command.
    fn needs_session(&self) -> bool {
        let dropped_then = (self.does("ready") || self.does("replies")) && self.times > 1;
        self.does("resynchronises") || self.does("dropped") || dropped_then
    }
}

/// Whatever came, the command ends once, and the next one gets its own reply, in a new session if one
/// is needed.
fn goes_on(mut scene: Scene, has_ended: bool, case: &str) {
    let next = scene.peer.execute("guest-info");
    let told: Vec<Told> = (0..9).flat_map(|_| scene.exchange()).collect();
    let replies: Vec<&Told> =
        told.iter().filter(|told| !matches!(told, Told::Stray | Told::Ready)).collect();
    let own = Told::Return(scene.command, "{}".to_owned());
    let next = Told::Return(next, "7".to_owned());
    let expected = if has_ended { vec![&next] } else { vec![&own, &next] };
    assert_eq!(replies, expected, "{case}");
    assert!(scene.is_in(Phase::Ready) && scene.peer.connection.is_idle(), "{case}");
}

/// The reply that is owed ends the connection.
fn drains(mut scene: Scene, case: &str) {
    let told: Vec<Told> = (0..3).flat_map(|_| scene.exchange()).collect();
    let own = Told::Return(scene.command, "{}".to_owned());
    assert_eq!(told, [own, Told::Closed(CloseReason::Requested)], "{case}");
}

/// How much of the command the agent may have received when the message comes.
fn receptions(cell: &Cell) -> &'static [Received] {
    let has_command = ["Ready, one in flight", "Closing", "Closed"].contains(&&*cell.phase);
    match &*cell.message {
        _ if !has_command => &[Received::None],
        BEGUN_BEFORE => &[Received::None],
        // Before the command's first byte each reply is one that began before it.
        message if is_reply(message) => &[Received::Part, Received::All],
        _ => &[Received::None, Received::Part, Received::All],
    }
}

fn is_reply(message: &str) -> bool {
    ["answer", "success", "error", "refusal"].iter().any(|start| message.starts_with(start))
}

fn check_table(title: &str, messages: &[&str], agents: &[Ids]) {
    let cells = cells(title);
    check_completeness(&cells, messages, &PHASES);
    for cell in &cells {
        for &ids in agents {
            for text in texts(&cell.message, &Scene::of(cell, ids, Received::None)) {
                for &received in receptions(cell) {
                    for (times, whole) in TIMES.iter().flat_map(|n| [(*n, true), (*n, false)]) {
                        Play { cell, ids, received, text: &text, times, whole }.check();
                    }
                }
            }
        }
    }
}

#[test]
fn c23_an_agent_that_echoes_ids_each_message_does_what_the_table_says() {
    let messages = [&FIRST[..], &IDS_OF_ECHOES, &LAST].concat();
    check_table("With a guest agent that echoes ids:", &messages, &[Ids::Echoed]);
}

#[test]
fn c23_an_agent_that_does_not_echo_ids_each_message_does_what_the_table_says() {
    let messages = [&FIRST[..], &IDS_OF_OTHERS, &LAST].concat();
    let agents = [Ids::Ignored, Ids::Refused];
    check_table("With a guest agent that does not echo ids:", &messages, &agents);
}
