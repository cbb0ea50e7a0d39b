//! The embedded machine beside a real QEMU: the same commands, the same messages.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use qmp_client::Address;
use qmp_proto::Version;
use qmp_server::{Connection, Machine};
use qmp_tests::embedded::{execute_all, take_line};
use qmp_tests::qemu::{Block, DEADLINE, Monitor, Server, Setup, patient};
use serde_json::{Value, json};

/// Every built-in command but `quit`, which comes last, and what is no command.
const COMMANDS: [&str; 12] = [
    r#""execute": "query-status""#,
    r#""execute": "query-version""#,
    r#""execute": "cont""#,
    r#""execute": "stop""#,
    r#""execute": "system_reset""#,
    r#""execute": "system_powerdown""#,
    r#""execute": "cont", "arguments": {"surplus": 1}"#,
    r#""execute": "no-such-command", "arguments": {}"#,
    r#""execute": "qmp_capabilities""#,
    r#""exec-oob": "cont""#,
    r#""execute": "cont", "surplus": 1"#,
    r#""execute": "cont", "arguments": []"#,
];

/// A server that is given one command at a time.
trait Serves {
    /// The next message, as it came.
    fn message(&mut self) -> Value;
    fn send(&mut self, command: &str);

    /// What the server says to a command, up to its reply.
    fn converse(&mut self, command: &str) -> Vec<Value> {
        self.send(command);
        let mut said = Vec::new();
        loop {
            let message = self.message();
            let event = message.get("event").is_some();
            said.push(comparable(message));
            if !event {
                return said;
            }
        }
    }
}

/// What both have to agree on: not times, nor texts for people, nor who QEMU was built by.
fn comparable(mut message: Value) -> Value {
    let members = message.as_object_mut().unwrap();
    members.remove("timestamp");
    if let Some(error) = members.get_mut("error") {
        assert!(error["desc"].as_str().is_some_and(|desc| !desc.is_empty()));
        error["desc"] = json!("");
    }
    if let Some(version) = members.get_mut("return").filter(|it| it.get("qemu").is_some()) {
        version["package"] = json!("");
    }
    message
}

struct Real {
    _qemu: Server,
    stream: BufReader<UnixStream>,
    /// The event of a command that asks the main loop for something follows the reply. So it is at
    /// QEMU 5.2; at 7.2 and later it precedes the reply.
    late_events: bool,
}

/// The commands that ask the main loop for something.
const REQUESTS: [&str; 3] = ["system_reset", "system_powerdown", "quit"];

impl Real {
    /// What it says to a command, the reply last.
    fn converse_in_order(&mut self, command: &str) -> Vec<Value> {
        let mut said = self.converse(command);
        let succeeded = said[0].get("return").is_some();
        if self.late_events && succeeded && REQUESTS.iter().any(|name| command.contains(name)) {
            said.insert(0, comparable(self.message()));
        }
        said
    }
}

impl Serves for Real {
    fn message(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn send(&mut self, command: &str) {
        self.stream.get_mut().write_all(command.as_bytes()).unwrap();
    }
}

struct Embedded {
    machine: Machine,
    connection: Connection,
}

impl Serves for Embedded {
    fn message(&mut self) -> Value {
        serde_json::from_str(&take_line(&mut self.connection)).unwrap()
    }

    fn send(&mut self, command: &str) {
        self.connection.handle_input(command.as_bytes());
        execute_all(&mut self.machine, &mut self.connection);
    }
}

/// Both, greeted and negotiated.
fn both() -> Option<(Real, Embedded)> {
    let qemu = Setup::bare()?.monitor(Monitor::Unix).start();
    let Address::Unix(path) = qemu.address() else { unreachable!() };
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut real = Real { stream: BufReader::new(stream), _qemu: qemu, late_events: false };

    let greeting = real.message();
    let version: Version = serde_json::from_value(greeting["QMP"]["version"].clone()).unwrap();
    real.late_events = version.qemu.major < 6;
    let mut machine = Machine::new();
    machine.set_version(version);
    let mut embedded = Embedded { connection: Connection::new(machine.config()), machine };
    assert_eq!(embedded.message(), greeting);
    Some((real, embedded))
}

#[track_caller]
fn agree(real: &mut Real, embedded: &mut Embedded, command: &str) {
    assert_eq!(embedded.converse(command), real.converse_in_order(command), "{command}");
}

/// Walks through the machine's states at random, always the same way for a seed.
#[test]
fn the_embedded_machine_says_what_qemu_says() {
    let Some((mut real, mut embedded)) = both() else { return };
    let mut random = 0x5eed_u64;
    agree(&mut real, &mut embedded, r#"{"execute": "query-status", "id": "too early"}"#);
    agree(&mut real, &mut embedded, r#"{"execute": "qmp_capabilities", "id": "now"}"#);
    for step in 0..600 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let command = COMMANDS[(random >> 33) as usize % COMMANDS.len()];
        agree(&mut real, &mut embedded, &format!("{{{command}, \"id\": {step}}}"));
    }
    agree(&mut real, &mut embedded, r#"{"execute": "quit", "arguments": {"surplus": 1}}"#);
    agree(&mut real, &mut embedded, r#"{"execute": "quit", "id": "last"}"#);
    assert!(embedded.machine.has_ended());
    assert!(embedded.connection.close_reason().is_some());
}

#[test]
fn every_built_in_command_is_one_of_qemus() {
    let Some((mut real, mut embedded)) = both() else { return };
    let names = |server: &mut dyn Serves| {
        server.converse(r#"{"execute": "qmp_capabilities"}"#);
        let said = server.converse(r#"{"execute": "query-commands"}"#);
        let infos = said[0]["return"].as_array().unwrap().clone();
        infos.into_iter().map(|info| info["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (of_qemu, of_ours) = (names(&mut real), names(&mut embedded));
    assert_eq!(of_ours.len(), 8, "{of_ours:?}");
    assert!(of_ours.iter().all(|name| of_qemu.contains(name)), "{of_ours:?}");
}

/// What a client sends that then sends nothing any more: without out-of-band execution and with it.
const LAST_WORDS: &str =
    r#"{"execute": "query-status", "id": 1} {"execute": "query-status", "id": 2} {"exec"#;

fn negotiation(oob: bool) -> Value {
    let enable = if oob { vec!["oob"] } else { vec![] };
    json!({"execute": "qmp_capabilities", "arguments": {"enable": enable}})
}

/// How many commands QEMU answers to a client that half-closes while the first of them waits.
fn answered_by_qemu(oob: bool) -> Option<usize> {
    let setup = Setup::bare()?.monitor(Monitor::Unix).monitor(Monitor::Unix);
    let server = setup.start();
    let [busy, Address::Unix(path)] = server.addresses() else { unreachable!() };
    let busy = patient().connect(busy.clone()).unwrap();
    let mut stream = BufReader::new(UnixStream::connect(path).unwrap());
    stream.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
    stream.get_mut().write_all(negotiation(oob).to_string().as_bytes()).unwrap();
    let mut line = String::new();
    while !line.contains("return") {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    let block = Block::new(&busy, server.folder());
    stream.get_mut().write_all(LAST_WORDS.as_bytes()).unwrap();
    stream.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    if oob {
        // At once, while the first command still waits.
        stream.read_to_string(&mut rest).unwrap();
        block.release().unwrap();
    } else {
        block.release().unwrap();
        stream.read_to_string(&mut rest).unwrap();
    }
    Some(rest.lines().count())
}

fn answered_by_ours(oob: bool, concurrent: usize) -> usize {
    let mut machine = Machine::new();
    let mut config = machine.config();
    config.concurrent = concurrent;
    let mut connection = <Connection>::new(config);
    connection.handle_input(negotiation(oob).to_string().as_bytes());
    connection.advance(usize::MAX);
    connection.handle_input(LAST_WORDS.as_bytes());
    connection.handle_eof();
    assert_eq!(connection.phase() == qmp_server::Phase::Closed, oob, "it ends at once");
    execute_all(&mut machine, &mut connection);
    let sent = connection.transmit().unwrap_or_default();
    let answered = sent.split(|byte| *byte == b'\n').count() - 1;
    connection.advance(usize::MAX);
    assert!(connection.close_reason().is_some());
    answered
}

#[test]
fn at_the_end_of_the_stream_both_answer_the_same() {
    for oob in [false, true] {
        let Some(by_qemu) = answered_by_qemu(oob) else { return };
        assert_eq!(by_qemu, if oob { 0 } else { 2 });
        for concurrent in 1..=3 {
            assert_eq!(answered_by_ours(oob, concurrent), by_qemu, "{oob} {concurrent}");
        }
    }
}
