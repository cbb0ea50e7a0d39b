//! Commands that are wrong in several ways at once, beside a real server: the embedded one finds the same
//! fault first, in each phase of a connection, and echoes the id to the byte.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use qmp_client::Address;
use qmp_proto::{CommandError, Empty, Version};
use qmp_server::{Connection, Machine};
use qmp_tests::embedded::{execute_all, take_line};
use qmp_tests::qemu::{DEADLINE, Monitor, Server, Setup};
use serde_json::Value;

const VERBS: [&str; 6] =
    ["execute", "exec-oob", "both", "neither", "a number", "an unknown member"];

/// `migrate-pause` may be executed out-of-band, and fails, as nothing is migrated.
const NAMES: [&str; 6] =
    ["qmp_capabilities", "query-status", "query-commands", "migrate-pause", "no-such-command", ""];

/// `None` for a command without arguments.
const ARGUMENTS: [Option<&str>; 17] = [
    None,
    Some("{}"),
    Some("[]"),
    Some("null"),
    Some("\"text\""),
    Some(r#"{"a": 1}"#),
    Some(r#"{"enable": []}"#),
    Some(r#"{"enable": ["oob"]}"#),
    Some(r#"{"enable": ["oob", "oob"]}"#),
    Some(r#"{"enable": ["oob"], "a": 1}"#),
    Some(r#"{"enable": ["unknown"]}"#),
    Some(r#"{"enable": ["unknown"], "a": 1}"#),
    Some(r#"{"enable": [1]}"#),
    Some(r#"{"enable": "oob"}"#),
    Some(r#"{"enable": null}"#),
    Some(r#"{"enable": {}}"#),
    Some(r#"{"enable": ["oob", null]}"#),
];

/// What a client may identify a command with, in each form in which a value can come.
const IDS: [&str; 40] = [
    r#""plain""#,
    r#""\u001f""#,
    r#""\u0000\u0001\b\t\n\f\r\u000b\u001A""#,
    r#""\u007f\u0080\u00e9\u20ac""#,
    "\"\x7f\u{80}\u{e9}\u{20ac}\"",
    r#""\ud83d\ude00\u0041\/\'""#,
    "\"\u{1f600}\"",
    r#"'single "quotes"'"#,
    r#""\\u001f \\\\u00e9""#,
    "0",
    "-0",
    "-1",
    "1.0",
    "-0.0",
    "1.5",
    "0.1",
    "1e3",
    "1E+05",
    "1e17",
    "1e16",
    "123456789012345680000.0",
    "1e-4",
    "1e-5",
    "0.00001234",
    "1e100",
    "-2.5e-300",
    "5e-324",
    "1e-400",
    "9007199254740993",
    "9007199254740993.0",
    "9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "3.141592653589793",
    "2.2250738585072014e-308",
    "null",
    "[true, false, [], {}, [1.0]]",
    r#"{"\u001f": {"a": 1e2}}"#,
];

/// How a connection is negotiated: not at all, without and with out-of-band execution.
const NEGOTIATIONS: [Option<&str>; 3] = [
    None,
    Some(r#"{"execute": "qmp_capabilities"}"#),
    Some(r#"{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}"#),
];

fn verb(kind: &str, name: &str) -> String {
    match kind {
        "both" => format!(r#", "execute": "{name}", "exec-oob": "{name}""#),
        "neither" => String::new(),
        "a number" => r#", "execute": 1"#.to_owned(),
        "an unknown member" => format!(r#", "execute": "{name}", "unknown": 1"#),
        verb => format!(r#", "{verb}": "{name}""#),
    }
}

/// A server to which a client comes, once or again.
trait Serves {
    fn come(&mut self);
    fn send(&mut self, command: &str);
    /// The next message, as it came.
    fn line(&mut self) -> String;

    /// The error's class, or `None`, and the id as it stands there.
    fn answer(&mut self, command: &str) -> (Option<String>, String) {
        self.send(command);
        let line = self.line();
        let message: Value = serde_json::from_str(&line).expect(&line);
        let class = message["error"]["class"].as_str().map(str::to_owned);
        assert!(class.is_some() != message.get("return").is_some(), "{line}");
        (class, id(&line))
    }

    fn negotiate(&mut self, negotiation: Option<&str>) {
        self.come();
        if let Some(command) = negotiation {
            assert_eq!(self.answer(command).0, None);
        }
    }
}

/// It comes last in a success, and first in an error.
fn id(line: &str) -> String {
    let line = line.trim_end().strip_suffix('}').expect("an object");
    let id = match line.strip_prefix(r#"{"id": "#) {
        Some(rest) => rest.split_once(r#", "error": "#).map(|(id, _)| id),
        None => line.split_once(r#", "id": "#).map(|(_, id)| id),
    };
    id.unwrap_or_default().to_owned()
}

struct Real {
    _qemu: Server,
    address: Address,
    stream: Option<BufReader<UnixStream>>,
    version: Version,
}

impl Real {
    fn start() -> Option<Self> {
        let qemu = Setup::bare()?.monitor(Monitor::Unix).start();
        let address = qemu.address().clone();
        let version = Version::new(0, 0, 0);
        let mut real = Self { _qemu: qemu, address, stream: None, version };
        real.come();
        Some(real)
    }

    fn stream(&mut self) -> &mut BufReader<UnixStream> {
        self.stream.as_mut().expect("it came")
    }
}

impl Serves for Real {
    fn come(&mut self) {
        let Address::Unix(path) = &self.address else { unreachable!() };
        self.stream = None;
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        self.stream = Some(BufReader::new(stream));
        let greeting: Value = serde_json::from_str(&self.line()).unwrap();
        self.version = serde_json::from_value(greeting["QMP"]["version"].clone()).unwrap();
    }

    fn send(&mut self, command: &str) {
        self.stream().get_mut().write_all(command.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream().read_line(&mut line).unwrap();
        line
    }
}

struct Embedded {
    machine: Machine,
    connection: Connection,
}

impl Embedded {
    fn new(version: Version) -> Self {
        let mut machine = Machine::new();
        machine.set_version(version);
        machine.on_out_of_band("migrate-pause", |_, _| -> Result<Empty, _> {
            Err(CommandError::generic("nothing is migrated"))
        });
        Self { connection: Connection::new(machine.config()), machine }
    }
}

impl Serves for Embedded {
    fn come(&mut self) {
        self.connection = Connection::new(self.machine.config());
        self.line();
    }

    fn send(&mut self, command: &str) {
        self.connection.handle_input(command.as_bytes());
        execute_all(&mut self.machine, &mut self.connection);
    }

    fn line(&mut self) -> String {
        take_line(&mut self.connection)
    }
}

/// Every way to be wrong together with every other, in every phase. An `enable` that is right negotiates,
/// so a new client comes after it.
#[test]
fn of_several_faults_both_find_the_same_one() {
    let Some(mut real) = Real::start() else { return };
    let mut embedded = Embedded::new(real.version.clone());
    for negotiation in NEGOTIATIONS {
        real.negotiate(negotiation);
        embedded.negotiate(negotiation);
        for (number, command) in commands().into_iter().enumerate() {
            let command = format!("{{\"id\": {number}{command}}}");
            let theirs = real.answer(&command);
            assert_eq!(embedded.answer(&command), theirs, "{command} after {negotiation:?}");
            if negotiation.is_none() && theirs.0.is_none() {
                real.come();
                embedded.come();
            }
        }
    }
}

fn commands() -> Vec<String> {
    let mut commands = Vec::new();
    for kind in VERBS {
        for name in NAMES {
            for arguments in ARGUMENTS {
                let arguments = arguments.map(|it| format!(r#", "arguments": {it}"#));
                commands.push(verb(kind, name) + &arguments.unwrap_or_default());
            }
        }
    }
    commands
}

#[test]
fn ids_are_echoed_to_the_byte() {
    let Some(mut real) = Real::start() else { return };
    let mut embedded = Embedded::new(real.version.clone());
    for negotiation in NEGOTIATIONS {
        real.negotiate(negotiation);
        embedded.negotiate(negotiation);
        for id in IDS {
            // That far back, a `double` was written with six decimals.
            let is_double = serde_json::from_str::<Value>(id).is_ok_and(|id| id.is_f64());
            if real.version.qemu.major < 6 && is_double {
                continue;
            }
            for name in ["query-commands", "no-such-command"] {
                let command = format!("{{\"execute\": \"{name}\", \"id\": {id}}}");
                let theirs = real.answer(&command);
                assert_eq!(embedded.answer(&command), theirs, "{command}");
            }
        }
    }
}
