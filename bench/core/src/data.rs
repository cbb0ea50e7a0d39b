//! What a server sends in the workloads.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use serde_json::value::RawValue;

/// A stream of bytes, and how many messages it has.
pub struct Data {
    /// The bytes, without a greeting.
    pub bytes: Vec<u8>,
    /// How many messages are in them.
    pub messages: usize,
    /// How many of them are replies. Their ids are those of a connection's first commands, in order.
    pub replies: usize,
}

/// The id that the first command of our connections has; see [`crate::ours::NONCE`].
pub type FirstId = u64;

/// Templates of the small mix, with `#` for an id: what QEMU 7.2 says to a client that asks for the
/// state of things and starts a job now and then. 77 bytes each, on average.
const SMALL: [&str; 10] = [
    r##"{"return": {}, "id": #}"##,
    r##"{"return": {"status": "running", "singlestep": false, "running": true}, "id": #}"##,
    r##"{"timestamp": {"seconds": 1795331979, "microseconds": 979544}, "event": "STOP"}"##,
    r##"{"return": {}, "id": #}"##,
    r##"{"return": {"enabled": true, "present": true}, "id": #}"##,
    r##"{"timestamp": {"seconds": 1795331985, "microseconds": 600938}, "event": "JOB_STATUS_CHANGE", "data": {"status": "created", "id": "j0"}}"##,
    r##"{"return": {}, "id": #}"##,
    r##"{"timestamp": {"seconds": 1795331980, "microseconds": 985635}, "event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}"##,
    r##"{"return": [], "id": #}"##,
    r##"{"id": #, "error": {"class": "GenericError", "desc": "Device 'nope' not found"}}"##,
];

impl Data {
    /// Replies, events and errors of some 77 bytes, a thousand in all.
    pub fn small(first: FirstId) -> Self {
        Self::mix(first, |message| message.to_owned())
    }

    /// The same, as QEMU writes it with `pretty=on`.
    pub fn pretty(first: FirstId) -> Self {
        Self::mix(first, |message| {
            let value: Value = serde_json::from_str(message).expect("a template is JSON");
            pretty(&value)
        })
    }

    fn mix(first: FirstId, write: impl Fn(&str) -> String) -> Self {
        let mut data = Self { bytes: Vec::new(), messages: 1000, replies: 0 };
        for template in SMALL.iter().cycle().take(data.messages) {
            let id = first + data.replies as u64;
            data.replies += usize::from(template.contains('#'));
            data.bytes.extend(write(&template.replace('#', &id.to_string())).bytes());
            data.bytes.extend(b"\r\n");
        }
        data
    }

    /// A reply of QEMU to query-qmp-schema, 200 KB, as it was recorded.
    pub fn schema(first: FirstId) -> Self {
        Self::reply(recorded_schema(), first)
    }

    /// One string of 16 MiB, as `human-monitor-command` gives: `xp` of memory, line by line.
    pub fn big(first: FirstId) -> Self {
        Self::string(16 << 20, first)
    }

    /// A reply that is one string, so long that the stream has `size` bytes.
    pub fn string(size: usize, first: FirstId) -> Self {
        let line = r"00000000fee00000: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\r\n";
        let room = size - Self::reply(r#""""#.into(), first).bytes.len();
        let mut payload = format!("\"{}", line.repeat(room / line.len()));
        payload.extend(std::iter::repeat_n(' ', room + 1 - payload.len()));
        Self::reply(payload + "\"", first)
    }

    /// A reply that is a list of the schema's entries, so many that the stream has `size` bytes.
    pub fn list(size: usize, first: FirstId) -> Self {
        let schema = recorded_schema();
        let entries: Vec<&RawValue> = serde_json::from_str(&schema).expect("a list");
        let end = size - Self::reply(String::new(), first).bytes.len();
        let mut payload = String::from("[");
        let mut comma = "";
        for entry in entries.iter().map(|entry| entry.get()).cycle() {
            if payload.len() + comma.len() + entry.len() >= end {
                break;
            }
            payload = payload + comma + entry;
            comma = ", ";
        }
        payload.extend(std::iter::repeat_n(' ', end - 1 - payload.len()));
        payload.push(']');
        Self::reply(payload, first)
    }

    fn reply(payload: String, id: FirstId) -> Self {
        let bytes = format!("{{\"return\": {payload}, \"id\": {id}}}\r\n").into_bytes();
        Self { bytes, messages: 1, replies: 1 }
    }
}

/// The value of `return` in the recorded reply to query-qmp-schema.
fn recorded_schema() -> String {
    let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../qmp-proto/tests/captures");
    let path = Path::new(captures).join("schema-qemu7.bin.gz");
    let mut text = String::new();
    std::fs::File::open(&path)
        .and_then(|file| GzDecoder::new(file).read_to_string(&mut text))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (start, end) = ("\"return\": [{", "}], \"id\"");
    let from = text.find(start).expect("a reply with a list") + start.len() - 2;
    let to = from + text[from..].find(end).expect("the list's end") + 2;
    text[from..to].to_owned()
}

/// As QEMU: four spaces a level, every line ended by CR and LF, empty brackets broken too.
fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write_pretty(&mut text, value, 0);
    text.replace('\n', "\r\n")
}

fn write_pretty(text: &mut String, value: &Value, level: usize) {
    let line = |text: &mut String, level: usize| {
        text.push('\n');
        text.push_str(&"    ".repeat(level));
    };
    let mut comma = "";
    match value {
        Value::Object(members) => {
            text.push('{');
            for (name, member) in members {
                text.push_str(comma);
                line(text, level + 1);
                text.push_str(&format!("\"{name}\": "));
                write_pretty(text, member, level + 1);
                comma = ",";
            }
            line(text, level);
            text.push('}');
        }
        Value::Array(elements) => {
            text.push('[');
            for element in elements {
                text.push_str(comma);
                line(text, level + 1);
                write_pretty(text, element, level + 1);
                comma = ",";
            }
            line(text, level);
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}
