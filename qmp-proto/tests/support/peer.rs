//! A connection together with the server at its other end, played by hand.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use qmp_proto::{
    Cancelled, CloseReason, CommandId, Config, Connection, Instant, Output, Phase, Raw, Refusal,
    Request,
};
use serde_json::Value;

/// The first message of a QEMU that offers out-of-band execution.
pub const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}"#;

/// What a descriptor is here: something that notes whether it is still open.
#[derive(Debug, PartialEq, Eq)]
pub struct Descriptor {
    number: u32,
    open: OpenDescriptors,
}

/// The descriptors that are open.
pub type OpenDescriptors = Rc<RefCell<BTreeSet<u32>>>;

impl Descriptor {
    /// Opens one.
    pub fn open(number: u32, open: &OpenDescriptors) -> Self {
        assert!(open.borrow_mut().insert(number), "{number} is open already");
        Self { number, open: open.clone() }
    }

    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        assert!(self.open.borrow_mut().remove(&self.number), "{} is closed twice", self.number);
    }
}

/// A command as the server gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub id: u64,
    pub name: String,
    pub out_of_band: bool,
    pub arguments: Value,
}

/// The connection, and the bytes that the server has got and not looked at.
pub struct Peer {
    pub connection: Connection<Descriptor>,
    pub open: OpenDescriptors,
    unread: Vec<u8>,
}

/// How outputs are told apart in assertions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Ready,
    Event(String),
    Return(CommandId, String),
    /// The server's error, by its description.
    Error(CommandId, String),
    NotSent(CommandId),
    Unanswered(CommandId),
    /// Its deadline passed: it had been committed, or not.
    TimedOut(CommandId, bool),
    Stray,
    Closed(CloseReason),
}

impl Peer {
    /// A connection on which nothing has happened.
    pub fn new(config: Config) -> Self {
        let connection = Connection::new(config, 0x0123_4567_89ab_cdef);
        Self { connection, open: OpenDescriptors::default(), unread: Vec::new() }
    }

    /// A connection that is ready.
    pub fn ready(config: Config) -> Self {
        let mut peer = Self::new(config);
        peer.greet();
        peer.accept();
        assert_eq!(peer.told(), [Told::Ready]);
        peer
    }

    /// Sends the greeting.
    pub fn greet(&mut self) {
        self.feed(GREETING);
    }

    /// Answers `qmp_capabilities`.
    #[track_caller]
    pub fn accept(&mut self) {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(sent[0].name, "qmp_capabilities");
        self.answer(sent[0].id);
    }

    /// Lets bytes come from the server.
    pub fn feed(&mut self, text: impl AsRef<[u8]>) {
        self.connection.handle_input(text.as_ref());
    }

    /// Lets a success come.
    pub fn answer(&mut self, id: impl ToString) {
        self.feed(success(id));
    }

    /// Lets an error come.
    pub fn refuse(&mut self, id: impl ToString) {
        self.feed(error(id));
    }

    /// Executes a command without arguments.
    #[track_caller]
    pub fn execute(&mut self, name: &'static str) -> CommandId {
        self.connection.execute(Request::new(name), None).expect("accepted")
    }

    /// Executes a command out-of-band.
    #[track_caller]
    pub fn execute_oob(&mut self, name: &'static str) -> CommandId {
        self.connection.execute(Request::new(name).out_of_band(), None).expect("accepted")
    }

    /// Executes a command with a new descriptor.
    #[track_caller]
    pub fn execute_fd(&mut self, name: &'static str, number: u32) -> CommandId {
        self.try_execute_fd(name, number).expect("accepted")
    }

    /// Executes a command with a new descriptor, or is refused.
    pub fn try_execute_fd(&mut self, name: &'static str, fd: u32) -> Result<CommandId, Refusal> {
        let descriptor = Descriptor::open(fd, &self.open);
        self.connection.execute(Request::new(name).descriptor(descriptor), None)
    }

    /// A second passes in which a guest agent's session is wanted.
    pub fn ask_again(&mut self) {
        ask_again(&mut self.connection);
    }

    /// Takes at most `most` bytes off the connection; gives them, and the descriptor with them.
    pub fn take(&mut self, most: usize) -> Option<(Vec<u8>, Option<u32>)> {
        let transmit = self.connection.transmit()?;
        assert!(!transmit.bytes.is_empty(), "an empty transmit");
        let taken = transmit.bytes[..most.min(transmit.bytes.len())].to_vec();
        let descriptor = transmit.descriptor.map(Descriptor::number);
        self.connection.advance(taken.len());
        self.unread.extend_from_slice(&taken);
        Some((taken, descriptor))
    }

    /// Takes everything off the connection, as text.
    pub fn take_all(&mut self) -> String {
        let mut bytes = Vec::new();
        while let Some((taken, _)) = self.take(usize::MAX) {
            bytes.extend(taken);
        }
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// Takes everything, and reads what commands the server has got since the last time.
    #[track_caller]
    pub fn sent(&mut self) -> Vec<Sent> {
        self.take_all();
        let mut values = serde_json::Deserializer::from_slice(&self.unread).into_iter::<Value>();
        let mut sent = Vec::new();
        for value in values.by_ref() {
            match value {
                Ok(value) => sent.push(read_command(&value)),
                Err(error) if error.is_eof() => break,
                Err(error) => panic!("torn at {error}: {:?}", self.unread.escape_ascii()),
            }
        }
        self.unread.drain(..values.byte_offset());
        sent
    }

    /// The names of what was sent since the last time.
    #[track_caller]
    pub fn sent_names(&mut self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.name).collect()
    }

    /// All that there is to tell.
    pub fn told(&mut self) -> Vec<Told> {
        std::iter::from_fn(|| self.connection.poll_output()).map(|output| tell(&output)).collect()
    }

    /// The descriptors that are open.
    pub fn open(&self) -> Vec<u32> {
        self.open.borrow().iter().copied().collect()
    }

    /// Cancels a command; gives the number of the descriptor that came back, and `None` where the
    /// command was not withdrawn.
    pub fn withdraw(&mut self, id: CommandId) -> Option<Option<u32>> {
        match self.connection.cancel(id) {
            Cancelled::NeverSent(descriptor) => Some(descriptor.map(|d| d.number())),
            Cancelled::ReplyDiscarded | Cancelled::NoReplyOwed | Cancelled::Unknown => None,
        }
    }
}

fn read_command(value: &Value) -> Sent {
    let name = |verb: &str| value.get(verb).and_then(Value::as_str).map(str::to_owned);
    Sent {
        id: value["id"].as_u64().expect("an id"),
        out_of_band: value.get("exec-oob").is_some(),
        name: name("execute").or_else(|| name("exec-oob")).expect("a command"),
        arguments: value.get("arguments").cloned().unwrap_or(Value::Null),
    }
}

/// The success of a command, as QEMU writes it.
pub fn success(id: impl ToString) -> String {
    format!("{{\"return\": {{}}, \"id\": {}}}\r\n", id.to_string())
}

/// The error of a command, as QEMU writes it.
pub fn error(id: impl ToString) -> String {
    let id = id.to_string();
    format!("{{\"id\": {id}, \"error\": {{\"class\": \"GenericError\", \"desc\": \"no\"}}}}\r\n")
}

/// What QEMU answers to what it cannot read.
pub const ERROR_WITHOUT_ID: &str =
    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\r\n";

/// An event without data, as QEMU writes it.
pub fn event(name: &str) -> String {
    format!("{{\"timestamp\": {{\"seconds\": 1, \"microseconds\": 2}}, \"event\": \"{name}\"}}\r\n")
}

/// An output, for an assertion.
pub fn tell(output: &Output) -> Told {
    use qmp_proto::ExecuteError::{Command, NotSent, TimedOut, Unanswered};
    let text = |raw: &Raw| String::from_utf8_lossy(raw.as_bytes()).into_owned();
    match output {
        Output::Ready(_) => Told::Ready,
        Output::Event(event) => Told::Event(event.name().to_owned()),
        Output::Reply(id, Ok(raw)) => Told::Return(*id, text(raw)),
        Output::Reply(id, Err(Command(error))) => Told::Error(*id, error.desc.to_string()),
        Output::Reply(id, Err(NotSent(_))) => Told::NotSent(*id),
        Output::Reply(id, Err(Unanswered(_))) => Told::Unanswered(*id),
        Output::Reply(id, Err(TimedOut { sent })) => Told::TimedOut(*id, *sent),
        Output::Stray(_) => Told::Stray,
        Output::Closed(reason) => Told::Closed(reason.clone()),
        other => panic!("unknown: {other:?}"),
    }
}

/// The defaults, with changes.
pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// The defaults, with out-of-band execution and descriptors.
pub fn oob() -> Config {
    config(|config| (config.oob, config.descriptors) = (true, true))
}

/// The defaults, with descriptors.
pub fn descriptors() -> Config {
    config(|config| config.descriptors = true)
}

/// A second passes in which a guest agent's session is wanted.
pub fn ask_again<F>(connection: &mut Connection<F>) {
    connection.set_session_wanted(true);
    if connection.phase() == Phase::Syncing {
        let second = Instant::ORIGIN + Duration::from_secs(1);
        assert_eq!(connection.poll_timeout(Instant::ORIGIN), Some(second));
        connection.handle_timeout(second);
    }
}
