//! A server's connection played by hand, and whole sessions of it as text, in the form of QEMU's
//! own documents:
//!
//! ```text
//! -> {"execute": "stop", "id": 1}      what the client sends; \r, \n and \xff are bytes
//! == call stop {}                      what the application is told, in full
//! do return stop {"a": 1}              what it does: return, error, event, close
//! <- {"return": {"a": 1}, "id": 1}     what the client gets, exactly; each line ends with \r\n
//! <! 1 CommandNotFound                 an error in whatever words, `-` for one without an id
//! -- eof                               the end of the stream, or `reset`
//! ?? wants input                       or `wants no input`
//! ```

use std::collections::VecDeque;

use qmp_proto::{CommandError, Event, IoFailure, Raw, Timestamp};
use qmp_server::{Call, CloseReason, Config, Connection, Output};
use serde_json::Value;
use serde_json::value::RawValue;

/// `qmp_capabilities`, without and with out-of-band execution.
pub const NEGOTIATE: &str = r#"{"execute": "qmp_capabilities"}"#;
pub const NEGOTIATE_OOB: &str =
    r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}"#;

/// When the events of these tests happen.
pub const AT: Timestamp = Timestamp { seconds: 1, microseconds: 2 };

/// The server's connection, and what it has told.
pub struct Server {
    pub connection: Connection<u32>,
    /// The calls that are not answered.
    pub calls: Vec<Call>,
    told: VecDeque<String>,
}

impl Server {
    /// A connection to which a client has just come.
    pub fn new(config: Config) -> Self {
        let connection = Connection::new(config);
        Self { connection, calls: Vec::new(), told: VecDeque::new() }
    }

    /// A connection that has greeted and negotiated.
    pub fn ready(config: Config, negotiate: &str) -> Self {
        let mut server = Self::new(config);
        server.feed(negotiate);
        assert!(server.sent().ends_with("\r\n"));
        let told = server.told();
        assert!(told.len() == 1 && told[0].starts_with("ready"), "{told:?}");
        server
    }

    /// Lets bytes come from the client.
    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) {
        self.connection.handle_input(bytes.as_ref());
    }

    /// Takes all that there is to send.
    pub fn sent(&mut self) -> String {
        let mut text = String::new();
        while let Some(bytes) = self.connection.transmit() {
            let length = bytes.len();
            text.push_str(std::str::from_utf8(bytes).expect("ASCII"));
            self.connection.advance(length);
        }
        text
    }

    /// All that there is to tell, as text.
    pub fn told(&mut self) -> Vec<String> {
        self.listen();
        self.told.drain(..).collect()
    }

    fn next_told(&mut self) -> Option<String> {
        self.listen();
        self.told.pop_front()
    }

    fn listen(&mut self) {
        while let Some(output) = self.connection.poll_output() {
            self.told.push_back(tell(&output));
            if let Output::Call(call) = output {
                self.calls.push(call);
            }
        }
    }

    /// The call of that name, which is to be answered.
    #[track_caller]
    pub fn call(&mut self, name: &str) -> Call {
        let at = self.calls.iter().position(|call| call.name == name);
        self.calls.remove(at.unwrap_or_else(|| panic!("no call of {name}: {:?}", self.calls)))
    }

    /// Answers the call of that name with a success.
    #[track_caller]
    pub fn answer(&mut self, name: &str, json: &str) {
        let ticket = self.call(name).ticket;
        let value: Box<RawValue> = serde_json::from_str(json).expect(json);
        self.connection.respond(ticket, Ok(value)).expect("outstanding");
    }

    /// Answers the call of that name with an error.
    #[track_caller]
    pub fn refuse(&mut self, name: &str, error: CommandError) {
        let ticket = self.call(name).ticket;
        self.connection.respond::<()>(ticket, Err(error)).expect("outstanding");
    }
}

/// An event with data, or without where that is empty.
pub fn event(name: &str, data: &str) -> Event {
    let data = serde_json::from_str::<&RawValue>(data).ok();
    Event::new(name, data.map(|data| Raw::new(data).expect("JSON")).as_ref(), AT)
}

fn tell(output: &Output) -> String {
    match output {
        Output::Ready { oob: false } => "ready".to_owned(),
        Output::Ready { oob: true } => "ready oob".to_owned(),
        Output::Call(call) => {
            let verb = if call.out_of_band { "oob" } else { "call" };
            format!("{verb} {} {}", call.name, call.arguments.parse::<Value>().expect("JSON"))
        }
        Output::Closed(CloseReason::Requested) => "closed".to_owned(),
        Output::Closed(reason) => format!("closed: {reason}"),
        other => panic!("unknown: {other:?}"),
    }
}

/// How the client's bytes are cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Each `->` in two pieces, the first of so many bytes.
    Split(usize),
    /// Everything in pieces of so many bytes.
    Every(usize),
}

/// Plays a session once for each split point of what the client sends, and byte by byte.
#[track_caller]
pub fn play(config: &Config, trace: &str) {
    let longest = trace.lines().map(str::len).max().expect("a line");
    (0..longest).map(Cut::Split).chain([Cut::Every(1), Cut::Every(3)]).for_each(|cut| {
        let mut player = Player { server: Server::new(config.clone()), sent: VecDeque::new(), cut };
        for line in trace.lines().map(str::trim).filter(|line| !line.is_empty()) {
            player.play(line);
        }
        player.nothing_is_left("the end");
    });
}

struct Player {
    server: Server,
    sent: VecDeque<String>,
    cut: Cut,
}

impl Player {
    fn play(&mut self, line: &str) {
        let (direction, rest) = line.split_at(2);
        let rest = rest.trim();
        if matches!(direction, "->" | "do" | "--" | "??") {
            self.nothing_is_left(line);
        }
        match direction {
            "->" => self.receive(&bytes(rest)),
            "do" => self.act(rest),
            "--" if rest == "eof" => self.server.connection.handle_eof(),
            "--" => self.server.connection.handle_failure(IoFailure::Reset),
            "==" => {
                let told = self.server.next_told();
                assert_eq!(told.as_deref(), Some(rest), "{line} ({:?})", self.cut);
            }
            "<-" => {
                let got = self.next_sent();
                assert_eq!(got.as_deref(), Some(rest), "{line} ({:?})", self.cut);
            }
            "<!" => {
                let got = self.next_sent().unwrap_or_else(|| panic!("nothing at {line}"));
                assert_eq!(id_and_class(&got), rest, "{line} ({:?})", self.cut);
            }
            "??" => {
                let expected = rest == "wants input";
                assert_eq!(self.server.connection.wants_input(), expected, "{line}");
            }
            other => panic!("{other}"),
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        match self.cut {
            Cut::Split(at) => {
                let (start, rest) = bytes.split_at(at.min(bytes.len()));
                [start, rest].into_iter().for_each(|piece| self.server.feed(piece));
            }
            Cut::Every(length) => bytes.chunks(length).for_each(|piece| self.server.feed(piece)),
        }
    }

    fn act(&mut self, action: &str) {
        let mut words = action.splitn(3, ' ');
        let [verb, name, rest] = std::array::from_fn(|_| words.next().unwrap_or_default());
        match verb {
            "return" => self.server.answer(name, rest),
            "error" => self.server.refuse(name, CommandError::new(rest.into(), "no")),
            "event" => assert!(self.server.connection.event(&event(name, rest)), "{action}"),
            "vain-event" => assert!(!self.server.connection.event(&event(name, rest)), "{action}"),
            "close" => self.server.connection.close(),
            other => panic!("{other}"),
        }
    }

    /// One line: a transport may take as little.
    fn next_sent(&mut self) -> Option<String> {
        let sent = self.server.sent();
        assert!(sent.is_empty() || sent.ends_with("\r\n"), "{sent:?}");
        self.sent.extend(sent.split_terminator("\r\n").map(str::to_owned));
        self.sent.pop_front()
    }

    fn nothing_is_left(&mut self, line: &str) {
        let sent = self.next_sent();
        assert_eq!(sent, None, "before {line} ({:?})", self.cut);
        let told = self.server.next_told();
        assert_eq!(told, None, "before {line} ({:?})", self.cut);
    }
}

/// What stands for the bytes that a line of text cannot show.
fn bytes(text: &str) -> Vec<u8> {
    let text = text.replace("\\r", "\r").replace("\\n", "\n");
    let parts = text.split("\\xff").map(str::as_bytes).collect::<Vec<_>>();
    parts.join(&0xFF)
}

/// An error message by what does not depend on its words.
pub fn id_and_class(message: &str) -> String {
    let message: Value = serde_json::from_str(message).expect(message);
    assert!(!message["error"]["desc"].as_str().expect("a description").is_empty());
    let class = message["error"]["class"].as_str().expect("a class");
    let id = message.get("id").map_or("-".to_owned(), Value::to_string);
    format!("{id} {class}")
}

pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

pub fn greeting(config: &Config) -> String {
    Server::new(config.clone()).sent()
}

/// Plays a session behind its greeting.
#[track_caller]
pub fn after_greeting(config: &Config, trace: &str) {
    play(config, &format!("<- {}\n{trace}", greeting(config).trim_end()));
}

/// Plays a session behind the negotiation.
#[track_caller]
pub fn ready(trace: &str) {
    let negotiation = format!("-> {NEGOTIATE}\n<- {{\"return\": {{}}}}\n== ready\n");
    after_greeting(&Config::default(), &[&negotiation, trace].concat());
}

/// Plays a session behind the negotiation of out-of-band execution.
#[track_caller]
pub fn ready_oob(trace: &str) {
    let negotiation = format!("-> {NEGOTIATE_OOB}\n<- {{\"return\": {{}}}}\n== ready oob\n");
    after_greeting(&Config::default(), &[&negotiation, trace].concat());
}
