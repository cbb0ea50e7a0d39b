//! The server's machine against real servers: fed what was sent to them, it gives the same answers
//! in the same order.
//!
//! What is built in, the machine answers itself, and what the real server did not have it has to
//! refuse. Other commands are the application's, which the test plays from the recording: they end as
//! they did there, in the machine's hands. So do the events that no built-in command made. Everything
//! that is sent is compared as one sequence: the greeting, the negotiation, what is refused and what is
//! not, faults and their number, ids, the order of answers and of events among them, and when input is
//! not read. The words of errors are the machine's own.
//!
//! The exceptions, each with its reason, are [`NOT_PLAYED`], [`NOT_ITS_OWN`], [`without_quirks`],
//! [`machine_of`] and [`Play::next_determined`].
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock, Mutex};

use qmp_proto::{CommandError, Connection, Event, Greeting, Output, Raw, Stray, Timestamp};
use qmp_server::{Call, Machine};
use serde::Deserialize;
use serde_json::Value;

/// The recordings that are no session of a QMP server's, or of one that greets twice or hangs.
const NOT_PLAYED: [(&str, &str); 12] = [
    ("hmp-monitor-qemu7", "a human monitor"),
    ("telnet-qemu7", "telnet before QMP"),
    ("websocket-qemu7", "QMP within WebSocket frames"),
    ("qga-qga7", "a guest agent"),
    ("qga-partial-qga7", "a guest agent"),
    ("greeting-silent-qemu7", "a server that hangs"),
    ("second-greeting-one-caps-qemu7", "two greetings"),
    ("second-greeting-oob-qemu7", "two greetings"),
    ("second-greeting-qemu10.0.2", "two greetings"),
    ("second-greeting-qemu7", "two greetings"),
    ("second-greeting-qsd7", "two greetings"),
    ("second-greeting-silent-qemu7", "two greetings"),
];

/// What built-in commands send, in their place before the reply.
const BUILT_IN_EVENTS: [&str; 5] = ["RESUME", "STOP", "RESET", "POWERDOWN", "SHUTDOWN"];

/// Where such an event had another cause: which one of its name, from 0.
const NOT_ITS_OWN: [(&str, &str, usize, &str); 4] = [
    ("events-boot-qemu7", "RESET", 1, "the firmware reset the machine"),
    ("events-boot-qemu7", "RESET", 2, "the firmware reset the machine"),
    ("events-secondmon-qemu7", "STOP", 0, "a client of another monitor stopped the machine"),
    ("events-secondmon-qemu7", "SHUTDOWN", 0, "a client of another monitor ended it"),
];

/// The commands that may be executed out-of-band, by the recorded schema.
const OUT_OF_BAND: [&str; 4] = ["migrate-recover", "migrate-pause", "yank", "query-yank"];

/// How the command that is executed next ends, where the recording says so.
type Outcome = Arc<Mutex<Option<Result<Raw, CommandError>>>>;

/// The names of all commands that a real server had, by its own list.
fn commands_of(server: &str) -> &'static BTreeSet<String> {
    static OF_QEMU: LazyLock<BTreeSet<String>> = LazyLock::new(|| read_commands_of("qemu7"));
    static OF_STORAGE_DAEMON: LazyLock<BTreeSet<String>> =
        LazyLock::new(|| read_commands_of("qsd7"));
    if server == "qsd7" { &OF_STORAGE_DAEMON } else { &OF_QEMU }
}

fn read_commands_of(server: &str) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Info {
        name: String,
    }
    let bytes = support::recorded::capture(&format!("lists-{server}")).bytes;
    let replies = Recording::new("", &bytes, b"").messages.into_iter();
    let lists = replies.filter_map(|expected| match expected.message {
        Message::Reply(reply) => reply.outcome.ok()?.parse::<Vec<Info>>().ok(),
        _ => None,
    });
    let list =
        lists.max_by_key(|list| list.iter().filter(|info| info.name == "query-version").count());
    list.unwrap().into_iter().map(|info| info.name).collect()
}

/// A machine with the commands that the real server had. Those that are not built in end as recorded.
fn machine_of(name: &str, greeting: &Greeting, outcome: &Outcome) -> Machine<()> {
    let storage_daemon = name.contains("-qsd7");
    let real = commands_of(if storage_daemon { "qsd7" } else { "qemu7" });
    let mut machine = Machine::new();
    machine.set_version(greeting.version.clone().unwrap());
    for name in BUILT_IN {
        if !real.contains(name) {
            machine.remove(name);
        }
    }
    for name in real {
        // The storage daemon runs no machine, so its `quit` sends no SHUTDOWN.
        if BUILT_IN.contains(&name.as_str()) && !(storage_daemon && name == "quit") {
            continue;
        }
        let outcome = outcome.clone();
        let out_of_band = OUT_OF_BAND.contains(&name.as_str());
        let function = move |_: &mut qmp_server::Vm<'_, ()>, _: &Raw| {
            outcome.lock().unwrap().take().expect("an outcome in the recording")
        };
        match out_of_band {
            true => machine.on_out_of_band(name.as_str(), function),
            false => machine.on(name.as_str(), function),
        };
    }
    machine
}

/// What a [`Machine`] answers by itself.
const BUILT_IN: [&str; 8] = [
    "query-version",
    "query-commands",
    "query-status",
    "stop",
    "cont",
    "system_reset",
    "system_powerdown",
    "quit",
];

/// What a recorded server was: the machine offers and says the same.
fn config(greeting: &Greeting, pretty: bool) -> qmp_server::Config {
    let mut config = qmp_server::Config::default();
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
    messages: Vec<Expected>,
    sent: Vec<u8>,
}

/// A message of the real server's.
#[derive(Clone, Debug)]
struct Expected {
    /// The position behind it.
    end: usize,
    message: Message,
    /// An event that no command of the machine's sends.
    from_elsewhere: bool,
}

impl Recording {
    fn new(name: &str, bytes: &[u8], sent: &[u8]) -> Self {
        let mut listener = Listener::new();
        let mut messages: Vec<Expected> = Vec::new();
        for (at, line) in bytes.iter().enumerate() {
            for message in listener.hear(std::slice::from_ref(line)) {
                let from_elsewhere = match &message {
                    Message::Event(event) => {
                        let same = |expected: &&Expected| matches!(&expected.message, Message::Event(other) if other.name() == event.name());
                        is_from_elsewhere(name, event.name(), messages.iter().filter(same).count())
                    }
                    _ => false,
                };
                messages.push(Expected { end: at + 1, message, from_elsewhere });
            }
        }
        Self { pretty: bytes.starts_with(b"{\r\n"), messages, sent: sent.to_vec() }
    }
}

fn is_from_elsewhere(capture: &str, event: &str, number: usize) -> bool {
    let not_its_own = NOT_ITS_OWN.map(|(capture, event, number, _)| (capture, event, number));
    !BUILT_IN_EVENTS.contains(&event) || not_its_own.contains(&(capture, event, number))
}

/// The sessions of a capture: each begins with a greeting, and with a negotiation.
fn recordings(name: &str) -> Vec<Recording> {
    let (bytes, sent) = (support::recorded::capture(name).bytes, support::recorded::sent(name));
    let sessions = match name {
        "strings-qemu7" => {
            let second = |bytes: &[u8], start: &[u8]| {
                bytes.windows(start.len()).rposition(|window| window == start).unwrap()
            };
            let (first, rest) = bytes.split_at(second(&bytes, b"{\"QMP\":"));
            let (first_sent, rest_sent) = sent.split_at(second(&sent, b"{\"execute\": \"qmp_cap"));
            vec![Recording::new(name, first, first_sent), Recording::new(name, rest, rest_sent)]
        }
        _ => vec![Recording::new(name, &bytes, &sent)],
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
            let reply = |expected: &Expected| matches!(expected.message, Message::Reply(_));
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

/// A machine, and the rest of the application as the recording makes it up.
struct Play<'a> {
    name: &'a str,
    connection: qmp_server::Connection<()>,
    machine: Machine<()>,
    outcome: Outcome,
    listener: Listener,
    /// What is still to come, by the recording.
    expected: VecDeque<Expected>,
    unsent: VecDeque<u8>,
    /// The ids of the commands that were to be executed out-of-band.
    out_of_band: Vec<Option<Value>>,
    calls: Vec<Call>,
    timeline: bool,
}

impl<'a> Play<'a> {
    fn new(name: &'a str, recording: &Recording) -> Self {
        let Message::Greeting(greeting) = &recording.messages[0].message else { panic!("{name}") };
        let outcome = Outcome::default();
        let mut play = Self {
            name,
            connection: qmp_server::Connection::new(config(greeting, recording.pretty)),
            machine: machine_of(name, greeting, &outcome),
            outcome,
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
            assert!(self.connection.wants_input(), "{}", self.report("does not go on"));
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
                    self.connection.handle_descriptor(());
                }
                self.feed(chunk.len);
                self.out_of_band_comes_next();
            } else {
                heard += chunk.len;
                while self.expected.front().is_some_and(|expected| expected.end <= heard) {
                    assert!(self.act(), "{}", self.report("needs more input"));
                }
            }
        }
    }

    /// What is executed out-of-band while others wait has its answer at once.
    fn out_of_band_comes_next(&self) {
        let next = self.expected.iter().find_map(|expected| match &expected.message {
            Message::Reply(reply) => Some(id(reply)),
            _ => None,
        });
        let waits = self.calls.iter().any(|call| call.out_of_band);
        let expected = next.is_some_and(|id| self.out_of_band.contains(&id));
        assert!(!waits || expected, "{}", self.report("reads an out-of-band command too early"));
    }

    fn feed(&mut self, length: usize) {
        let bytes: Vec<u8> = self.unsent.drain(..length.min(self.unsent.len())).collect();
        self.connection.handle_input(&bytes);
        self.compare();
    }

    /// Does the next thing that depends on more than the client: sends an event, or executes a
    /// command. Gives whether there was one.
    fn act(&mut self) -> bool {
        let next = self.expected.front();
        let may_act = |next: &&Expected| next.from_elsewhere || !self.calls.is_empty();
        let Some(expected) = next.filter(may_act).cloned() else { return false };
        match expected.message {
            Message::Event(event) if expected.from_elsewhere => {
                self.expected.pop_front();
                assert!(self.connection.event(&event), "{}", self.report("sends no event"));
                let heard = self.hear();
                let [Message::Event(sent)] = &heard[..] else { panic!("{heard:?}") };
                let (sent, event) =
                    [sent, &event].map(|it| (it.name(), it.data(), it.timestamp())).into();
                assert_eq!(sent, event, "{}", self.report("sends another event"));
                true
            }
            Message::Event(_) => {
                let reply = self.expected.iter().find_map(|expected| match &expected.message {
                    Message::Reply(reply) => Some(reply.clone()),
                    _ => None,
                });
                reply.is_some_and(|reply| self.execute(&reply))
            }
            Message::Reply(reply) => self.execute(&reply),
            Message::Greeting(_) => false,
        }
    }

    /// Executes the command that this reply is for.
    fn execute(&mut self, reply: &Stray) -> bool {
        let id = id(reply);
        let out_of_band = self.out_of_band.contains(&id);
        let meant = |call: &Call| call.out_of_band == out_of_band || id.is_none();
        // Where there is no id, it is the one that waits, and the out-of-band one of two.
        let Some(at) = self.calls.iter().rposition(meant) else { return false };
        let call = self.calls.remove(at);
        if self.timeline {
            self.use_descriptor(&call, reply);
        }
        *self.outcome.lock().unwrap() = Some(reply.outcome.clone());
        self.machine.execute(
            &call,
            &mut self.connection,
            Timestamp { seconds: 1, microseconds: 2 },
        );
        let unused = self.outcome.lock().unwrap().take().is_some();
        let ends = call.name == "quit" && reply.outcome.is_ok();
        if ends && !unused {
            self.connection.close();
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
            let found = self.connection.take_descriptor().is_some();
            assert_eq!(found, expected, "{}", self.report("has another descriptor"));
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.connection.phase(), qmp_server::Phase::Closing | qmp_server::Phase::Closed)
    }

    /// What the machine sends, by itself or because of what was done.
    fn hear(&mut self) -> Vec<Message> {
        while let Some(output) = self.connection.poll_output() {
            if let qmp_server::Output::Call(call) = output {
                self.calls.push(call);
            }
        }
        let mut heard = Vec::new();
        while let Some(bytes) = self.connection.transmit() {
            let length = bytes.len();
            heard.extend(self.listener.hear(bytes));
            self.connection.advance(length);
        }
        heard
    }

    /// All that it sends was sent by the real server too, in this order.
    fn compare(&mut self) {
        for message in self.hear() {
            let Some(expected) = self.next_determined() else {
                panic!("{}: {message:?}", self.report("says more"))
            };
            if let Err(difference) = same(&message, &expected.message) {
                panic!("{}: {difference}", self.report("says something else"));
            }
        }
    }

    /// What comes next but for events that have other causes. These the test sends at their place, but
    /// what the protocol or a built-in command sends does not wait for them.
    fn next_determined(&mut self) -> Option<Expected> {
        let at = self.expected.iter().position(|expected| !expected.from_elsewhere)?;
        self.expected.remove(at)
    }

    fn report(&self, what: &str) -> String {
        let unsent: Vec<u8> = self.unsent.iter().take(200).copied().collect();
        let expected = self.expected.front().map(|it| (it.end, show(&it.message)));
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
        // These are the machine's own, at a time of its own.
        (Message::Event(ours), Message::Event(theirs)) => {
            ours.name() == theirs.name() && value(ours.data()) == value(theirs.data())
        }
        (Message::Reply(ours), Message::Reply(theirs)) => {
            same_outcome(&ours.outcome, &theirs.outcome) && same_id(id(ours), id(theirs))
        }
        _ => false,
    };
    if equal { Ok(()) } else { Err(format!("{}, and not {}", show(ours), show(theirs))) }
}

/// Of what the machine said itself.
fn value(raw: Option<Raw>) -> Option<Value> {
    raw.map(|raw| raw.parse().expect("JSON"))
}

/// What the recording gave is written as QEMU wrote it, to the byte; what the machine says itself is
/// the same by value. A list of commands has no order.
fn same_success(ours: &Raw, theirs: &Raw) -> bool {
    let unordered = |raw: &Raw| {
        let value: Value = raw.parse().ok()?;
        Some(match value {
            Value::Array(items) if items.iter().all(|item| item.get("name").is_some()) => {
                items.iter().map(Value::to_string).collect()
            }
            value => BTreeSet::from([value.to_string()]),
        })
    };
    ours == theirs || unordered(ours).is_some_and(|ours| Some(ours) == unordered(theirs))
}

fn same_outcome(ours: &Result<Raw, CommandError>, theirs: &Result<Raw, CommandError>) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => same_success(ours, theirs),
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
    support::recorded::index().into_keys().filter(move |name| !not_played.contains(&name.as_str()))
}

#[test]
fn every_recording_is_played_or_has_a_reason_not_to_be() {
    let index = support::recorded::index();
    for (name, reason) in NOT_PLAYED {
        assert!(index.contains_key(name), "{name}, {reason}");
    }
    for name in index.keys() {
        assert!(!support::recorded::sent(name).is_empty(), "{name}");
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
                let chunks =
                    support::recorded::random_chunks(&recording.sent, 16 << (2 * seed), seed);
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
        let text = std::fs::read(format!("{}/{name}.timeline.jsonl", support::recorded::CAPTURES))
            .unwrap();
        let chunks = serde_json::Deserializer::from_slice(&text).into_iter();
        let chunks: Vec<Chunk> = chunks.collect::<Result<_, _>>().unwrap();
        for recording in recordings(name) {
            Play::new(name, &recording).run(Pace::Timeline(chunks.clone()));
        }
    }
}
