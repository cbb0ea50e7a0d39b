//! The server's machine against real servers: fed what was sent to them, it gives the same answers
//! in the same order.
//!
//! The test plays the application from the recording: it answers a command with what the real
//! server answered, and sends the events that it sent. What the machine decides by itself is
//! compared: the greeting, the negotiation, what is refused and what is not, faults and their
//! number, ids, the order of answers, and when input is not read. The words of errors are its own.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::collections::VecDeque;

use qmp_proto::server::{self, Call};
use qmp_proto::{CommandError, Connection, Event, Greeting, Output, Raw, Stray};
use serde::Deserialize;
use serde_json::Value;

/// The recordings that are no session of a QMP server's.
const NOT_PLAYED: [(&str, &str); 5] = [
    ("hmp-monitor-qemu7", "a human monitor"),
    ("telnet-qemu7", "telnet before QMP"),
    ("websocket-qemu7", "QMP within WebSocket frames"),
    ("qga-qga7", "a guest agent"),
    ("qga-partial-qga7", "a guest agent"),
];

/// What a recorded server was: the machine offers and says the same.
fn config(greeting: &Greeting, pretty: bool) -> server::Config {
    let mut config = server::Config::default();
    config.version = greeting.version.clone().unwrap();
    config.capabilities = greeting.capabilities.clone();
    config.pretty = pretty;
    config.max_output = usize::MAX;
    config
}

/// A message of a server's.
#[derive(Clone, Debug)]
enum Message {
    Greeting(Greeting),
    Event(Event),
    Reply(Stray),
}

/// Reads what a server sends, with the end of each message in it.
struct Listener {
    client: Connection,
    greeted: bool,
}

impl Listener {
    fn new() -> Self {
        Self { client: Connection::new(qmp_proto::Config::default(), 1), greeted: false }
    }

    fn hear(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.client.handle_input(bytes);
        let mut messages = Vec::new();
        if !self.greeted && self.client.greeting().is_some() {
            self.greeted = true;
            messages.extend(self.client.greeting().cloned().map(Message::Greeting));
        }
        messages.extend(std::iter::from_fn(|| self.client.poll_output()).map(
            |output| match output {
                Output::Event(event) => Message::Event(event),
                Output::Stray(reply) => Message::Reply(reply),
                other => panic!("{other:?}"),
            },
        ));
        messages
    }
}

/// A session as it was recorded.
struct Recording {
    pretty: bool,
    /// Each message with the position behind it.
    messages: Vec<(usize, Message)>,
    sent: Vec<u8>,
}

impl Recording {
    fn new(bytes: &[u8], sent: &[u8]) -> Self {
        let mut listener = Listener::new();
        let mut messages = Vec::new();
        for (at, line) in bytes.iter().enumerate() {
            let heard = listener.hear(std::slice::from_ref(line));
            messages.extend(heard.into_iter().map(|message| (at + 1, message)));
        }
        Self { pretty: bytes.starts_with(b"{\r\n"), messages, sent: sent.to_vec() }
    }
}

/// The sessions of a capture: each begins with a greeting, and with a negotiation.
fn recordings(name: &str) -> Vec<Recording> {
    let (bytes, sent) = (support::capture(name).bytes, support::sent(name));
    let sessions = match name {
        "strings-qemu7" => {
            let second = |bytes: &[u8], start: &[u8]| {
                bytes.windows(start.len()).rposition(|window| window == start).unwrap()
            };
            let (first, rest) = bytes.split_at(second(&bytes, b"{\"QMP\":"));
            let (first_sent, rest_sent) = sent.split_at(second(&sent, b"{\"execute\": \"qmp_cap"));
            vec![Recording::new(first, first_sent), Recording::new(rest, rest_sent)]
        }
        _ => vec![Recording::new(&bytes, &sent)],
    };
    sessions.into_iter().map(|recording| without_quirks(name, recording)).collect()
}

/// What the machine does not do as the real server did, or not at the same time.
fn without_quirks(name: &str, mut recording: Recording) -> Recording {
    match name {
        // The answer to a previous client's command: a machine has one client.
        "reconnect-stale-reply-qemu7" => drop(recording.messages.remove(1)),
        // The server was ready, and events were sent, before it wrote its answer to
        // qmp_capabilities. The machine does both at once.
        "event-before-caps-reply-qsd7" => {
            let reply = |(_, message): &(_, Message)| matches!(message, Message::Reply(_));
            let at = recording.messages.iter().position(reply).unwrap();
            assert!(at > 1);
            recording.messages[1..=at].rotate_right(1);
        }
        _ => {}
    }
    recording
}

/// How the client's bytes come, and with them the answers that do not depend on the machine.
#[derive(Clone, Debug)]
enum Pace {
    /// In such pieces, each answered as far as it goes before the next.
    Pieces(Vec<usize>),
    /// As they were recorded.
    Timeline(Vec<Chunk>),
}

/// A line of a timeline: so many bytes that one side took.
#[derive(Clone, Debug, Deserialize)]
struct Chunk {
    dir: String,
    len: usize,
    /// `1 fds` and the like, where descriptors rode with the first byte.
    #[serde(default)]
    note: String,
}

/// A machine and the application that the recording makes up for it.
struct Play<'a> {
    name: &'a str,
    machine: server::Connection<()>,
    listener: Listener,
    /// What is still to come, by the recording.
    expected: VecDeque<(usize, Message)>,
    unsent: VecDeque<u8>,
    /// The ids of the commands that were to be executed out-of-band.
    out_of_band: Vec<Option<Value>>,
    calls: Vec<Call>,
    timeline: bool,
}

impl<'a> Play<'a> {
    fn new(name: &'a str, recording: &Recording) -> Self {
        let Message::Greeting(greeting) = &recording.messages[0].1 else { panic!("{name}") };
        let mut play = Self {
            name,
            machine: server::Connection::new(config(greeting, recording.pretty)),
            listener: Listener::new(),
            expected: recording.messages.clone().into(),
            unsent: recording.sent.clone().into(),
            out_of_band: out_of_band(&recording.sent),
            calls: Vec::new(),
            timeline: false,
        };
        play.compare();
        play
    }

    fn run(mut self, pace: Pace) {
        match pace {
            Pace::Pieces(lengths) => self.in_pieces(&lengths),
            Pace::Timeline(chunks) => self.as_recorded(&chunks),
        }
        assert!(self.expected.is_empty(), "{}", self.report("is not all"));
        assert!(self.unsent.is_empty() || self.has_ended(), "{}", self.report("is not all"));
        assert!(self.calls.is_empty(), "{}", self.report("leaves calls unanswered"));
    }

    fn in_pieces(&mut self, lengths: &[usize]) {
        let mut lengths = lengths.iter().cycle();
        loop {
            while self.act() {}
            if self.unsent.is_empty() || self.has_ended() {
                break;
            }
            assert!(self.machine.wants_input(), "{}", self.report("does not go on"));
            self.feed(*lengths.next().unwrap());
        }
    }

    /// The client sent some things only because it had got others: so the machine, too, must not
    /// need more input for its answers than the real server.
    fn as_recorded(&mut self, chunks: &[Chunk]) {
        self.timeline = true;
        let mut heard = 0;
        for chunk in chunks {
            if chunk.dir == "c>s" {
                if !chunk.note.is_empty() {
                    self.machine.handle_descriptor(());
                }
                self.feed(chunk.len);
                self.out_of_band_comes_next();
            } else {
                heard += chunk.len;
                while self.expected.front().is_some_and(|(end, _)| *end <= heard) {
                    assert!(self.act(), "{}", self.report("needs more input"));
                }
            }
        }
    }

    /// What is executed out-of-band while others wait has its answer at once.
    fn out_of_band_comes_next(&self) {
        let next = self.expected.iter().find_map(|(_, message)| match message {
            Message::Reply(reply) => Some(id(reply)),
            _ => None,
        });
        let waits = self.calls.iter().any(|call| call.out_of_band);
        let expected = next.is_some_and(|id| self.out_of_band.contains(&id));
        assert!(!waits || expected, "{}", self.report("reads an out-of-band command too early"));
    }

    fn feed(&mut self, length: usize) {
        let bytes: Vec<u8> = self.unsent.drain(..length.min(self.unsent.len())).collect();
        self.machine.handle_input(&bytes);
        self.compare();
    }

    /// Does the next thing that is the application's: sends an event, or answers a call. Gives
    /// whether there was one.
    fn act(&mut self) -> bool {
        match self.expected.front().map(|(_, message)| message.clone()) {
            Some(Message::Event(event)) => {
                assert!(self.machine.event(&event), "{}", self.report("sends no event"));
                self.compare();
                true
            }
            Some(Message::Reply(reply)) if !self.calls.is_empty() => self.answer(&reply),
            _ => false,
        }
    }

    fn answer(&mut self, reply: &Stray) -> bool {
        let id = id(reply);
        let out_of_band = self.out_of_band.contains(&id);
        let meant = |call: &Call| call.out_of_band == out_of_band || id.is_none();
        // Where there is no id, it is the one that waits, and the out-of-band one of two.
        let Some(at) = self.calls.iter().rposition(meant) else { return false };
        let call = self.calls.remove(at);
        if self.timeline {
            self.use_descriptor(&call, reply);
        }
        self.machine.respond(call.ticket, reply.outcome.clone()).unwrap();
        if call.name == "quit" && reply.outcome.is_ok() {
            self.machine.close();
        }
        self.compare();
        true
    }

    /// A command that needs a descriptor finds one where the real server found one.
    fn use_descriptor(&mut self, call: &Call, reply: &Stray) {
        let desc = reply.outcome.as_ref().err().map_or("", |error| &error.desc);
        let consumes = matches!(&*call.name, "getfd" | "add-fd") && !desc.contains("is missing");
        if consumes {
            let expected = !desc.contains("No file descriptor supplied");
            let found = self.machine.take_descriptor().is_some();
            assert_eq!(found, expected, "{}", self.report("has another descriptor"));
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.machine.phase(), server::Phase::Closing | server::Phase::Closed)
    }

    /// Takes what the machine tells and sends: all of it was sent by the real server too.
    fn compare(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            if let server::Output::Call(call) = output {
                self.calls.push(call);
            }
        }
        let mut heard = Vec::new();
        while let Some(bytes) = self.machine.transmit() {
            let length = bytes.len();
            heard.extend(self.listener.hear(bytes));
            self.machine.advance(length);
        }
        for message in heard {
            // Events are the application's: those that stand before a reply may come behind it.
            let alike = |(_, other): &(usize, Message)| {
                matches!(other, Message::Event(_)) == matches!(message, Message::Event(_))
            };
            let at = self.expected.iter().position(alike);
            let expected = at.and_then(|at| self.expected.remove(at));
            let Some((_, expected)) = expected else {
                panic!("{}: {message:?}", self.report("says more"))
            };
            if let Err(difference) = same(&message, &expected) {
                panic!("{}: {difference}", self.report("says something else"));
            }
        }
    }

    fn report(&self, what: &str) -> String {
        let unsent: Vec<u8> = self.unsent.iter().take(200).copied().collect();
        let expected = self.expected.front().map(|(at, message)| (at, show(message)));
        let (name, unsent, calls) = (self.name, unsent.escape_ascii(), &self.calls);
        format!("{name}: the machine {what}. Next: {expected:?}; calls {calls:?}; before {unsent}")
    }
}

fn show(message: &Message) -> String {
    match message {
        Message::Reply(Stray { id, outcome, .. }) => {
            let text = |raw: &Raw| raw.as_bytes().escape_ascii().to_string();
            format!("{:?} with the id {:?}", outcome.as_ref().map(text), id.as_ref().map(text))
        }
        other => format!("{other:?}"),
    }
}

/// The ids of the commands with `exec-oob`.
fn out_of_band(sent: &[u8]) -> Vec<Option<Value>> {
    let verb = b"{\"exec-oob\"";
    let starts = (0..sent.len()).filter(|at| sent[*at..].starts_with(verb));
    let commands = starts.map(|at| {
        let mut values = serde_json::Deserializer::from_slice(&sent[at..]).into_iter::<Value>();
        values.next().unwrap().unwrap()
    });
    commands.map(|command| command.get("id").cloned()).collect()
}

/// The value of a reply's id; where it is no JSON, as a string.
fn id(reply: &Stray) -> Option<Value> {
    reply.id.as_ref().map(|id| match id.parse() {
        Ok(value) => value,
        Err(_) => Value::String(id.as_bytes().escape_ascii().to_string()),
    })
}

fn same(ours: &Message, theirs: &Message) -> Result<(), String> {
    let equal = match (ours, theirs) {
        (Message::Greeting(ours), Message::Greeting(theirs)) => {
            (&ours.version, &ours.capabilities) == (&theirs.version, &theirs.capabilities)
        }
        // What the application gave is written as QEMU wrote it, to the byte.
        (Message::Event(ours), Message::Event(theirs)) => {
            (ours.name(), ours.data(), ours.timestamp())
                == (theirs.name(), theirs.data(), theirs.timestamp())
        }
        (Message::Reply(ours), Message::Reply(theirs)) => {
            same_outcome(&ours.outcome, &theirs.outcome) && same_id(id(ours), id(theirs))
        }
        _ => false,
    };
    if equal { Ok(()) } else { Err(format!("{}, and not {}", show(ours), show(theirs))) }
}

fn same_outcome(ours: &Result<Raw, CommandError>, theirs: &Result<Raw, CommandError>) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        (Err(ours), Err(theirs)) => ours.class == theirs.class,
        _ => false,
    }
}

/// By value, as QEMU knows numbers: integers of 64 bits, and doubles beyond, where 1.0 is written
/// as 1 and what is too large as `inf`. The machine gives back what the client wrote.
fn same_id(ours: Option<Value>, theirs: Option<Value>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => same_value(&ours, &theirs),
        (ours, theirs) => ours == theirs,
    }
}

fn same_value(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same_value(ours, theirs))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            let known = |(name, ours)| theirs.get(name).is_some_and(|t| same_value(ours, t));
            ours.len() == theirs.len() && ours.iter().all(known)
        }
        (ours, theirs) if ours == theirs => true,
        (ours, theirs) => number(ours).is_some() && number(ours) == number(theirs),
    }
}

/// A number as a double, `1e400` and `inf` included, which are infinite both.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok().filter(|number: &f64| number.is_infinite()),
        _ => None,
    }
}

/// Each capture that is played, by its name.
fn played() -> impl Iterator<Item = String> {
    let not_played = NOT_PLAYED.map(|(name, _)| name);
    support::index().into_keys().filter(move |name| !not_played.contains(&name.as_str()))
}

#[test]
fn every_recording_is_played_or_has_a_reason_not_to_be() {
    let index = support::index();
    for (name, reason) in NOT_PLAYED {
        assert!(index.contains_key(name), "{name}, {reason}");
    }
    for name in index.keys() {
        assert!(!support::sent(name).is_empty(), "{name}");
    }
    assert!(played().count() > 25);
}

#[test]
fn byte_by_byte_the_answers_are_those_of_the_real_server() {
    for name in played() {
        for recording in recordings(&name) {
            Play::new(&name, &recording).run(Pace::Pieces(vec![1]));
        }
    }
}

#[test]
fn in_pieces_the_answers_are_those_of_the_real_server() {
    for name in played() {
        for recording in recordings(&name) {
            for seed in 1..=4 {
                let chunks = support::random_chunks(&recording.sent, 16 << (2 * seed), seed);
                let lengths: Vec<usize> = chunks.into_iter().map(<[u8]>::len).collect();
                Play::new(&name, &recording).run(Pace::Pieces(lengths));
            }
        }
    }
}

/// Where time matters: what waits for what, and which descriptor is there.
#[test]
fn as_they_were_sent_the_answers_are_those_of_the_real_server() {
    for name in ["oob-qemu7", "fd-qemu7", "fd-oob-lost-qemu7"] {
        let text = std::fs::read(format!("{}/{name}.timeline.jsonl", support::CAPTURES)).unwrap();
        let chunks = serde_json::Deserializer::from_slice(&text).into_iter();
        let chunks: Vec<Chunk> = chunks.collect::<Result<_, _>>().unwrap();
        for recording in recordings(name) {
            Play::new(name, &recording).run(Pace::Timeline(chunks.clone()));
        }
    }
}
