//! Broken input, beside a real server: the embedded one reads the same objects in it, finds the same
//! faults, and finds back at the same byte.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use qmp_client::Address;
use qmp_proto::{Timestamp, Version};
use qmp_server::{Connection, Machine, Output};
use qmp_tests::qemu::{DEADLINE, Monitor, Server, Setup};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// What both have to agree on.
#[derive(Debug, PartialEq)]
struct Answer {
    /// `None` for a `return`.
    error_class: Option<String>,
    id: Id,
}

/// Real servers echo numbers by value, objects in an order of their own, and beyond a double's range
/// no JSON at all.
#[derive(Debug, PartialEq)]
enum Id {
    None,
    String(String),
    Other,
}

impl Answer {
    fn read(line: &str) -> Self {
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(rename = "return")]
            success: Option<IgnoredAny>,
            error: Option<Error>,
            #[serde(borrow)]
            id: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Error {
            class: String,
            desc: String,
        }
        let line = line.replace("inf", "0");
        let message: Message<'_> = serde_json::from_str(&line).expect(&line);
        assert!(message.success.is_some() != message.error.is_some(), "{line}");
        assert!(message.error.as_ref().is_none_or(|error| !error.desc.is_empty()), "{line}");
        let id = message.id.map(|id| match serde_json::from_str(id.get()) {
            Ok(string) => Id::String(string),
            Err(_) => Id::Other,
        });
        Self { error_class: message.error.map(|error| error.class), id: id.unwrap_or(Id::None) }
    }
}

const END: &str = "the end of an input";

/// Brings any reader back into step, and tells where the answers to an input end.
fn with_end(input: &[u8]) -> Vec<u8> {
    let probe = format!("{{\"execute\": \"query-version\", \"id\": \"{END}\"}}");
    [input, b"\xFF\n", probe.as_bytes()].concat()
}

struct Real {
    _daemon: Server,
    stream: BufReader<UnixStream>,
    version: Version,
}

impl Real {
    fn start() -> Option<Self> {
        let daemon = Setup::storage_daemon()?.monitor(Monitor::Unix).start();
        let Address::Unix(path) = daemon.address() else { unreachable!() };
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let version = Version::new(0, 0, 0);
        let mut real = Self { stream: BufReader::new(stream), _daemon: daemon, version };
        let greeting: Value = serde_json::from_str(&real.line()).unwrap();
        real.version = serde_json::from_value(greeting["QMP"]["version"].clone()).unwrap();
        real.stream.get_mut().write_all(br#"{"execute": "qmp_capabilities"}"#).unwrap();
        assert_eq!(Answer::read(&real.line()).error_class, None);
        Some(real)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    fn answers(&mut self, input: &[u8]) -> Vec<Answer> {
        self.stream.get_mut().write_all(&with_end(input)).unwrap();
        let mut answers = Vec::new();
        while answers.last().is_none_or(|answer: &Answer| answer.id != Id::String(END.into())) {
            answers.push(Answer::read(&self.line()));
        }
        answers
    }
}

struct Embedded {
    machine: Machine,
    connection: Connection,
}

impl Embedded {
    fn start(version: Version) -> Self {
        let mut machine = Machine::new();
        machine.set_version(version);
        let mut embedded = Self { connection: Connection::new(machine.config()), machine };
        embedded.sent(br#"{"execute": "qmp_capabilities"}"#);
        embedded
    }

    /// What it sends after it got these bytes.
    fn sent(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        self.connection.handle_input(bytes);
        loop {
            while let Some(output) = self.connection.poll_output() {
                if let Output::Call(call) = output {
                    let now = Timestamp { seconds: 1, microseconds: 2 };
                    self.machine.execute(&call, &mut self.connection, now);
                }
            }
            let Some(bytes) = self.connection.transmit() else { return sent };
            sent.extend_from_slice(bytes);
            let taken = bytes.len();
            self.connection.advance(taken);
        }
    }

    fn answers(&mut self, input: &[u8]) -> Vec<Answer> {
        let input = with_end(input);
        let sent: Vec<u8> = input.chunks(7).flat_map(|chunk| self.sent(chunk)).collect();
        String::from_utf8(sent).unwrap().lines().map(Answer::read).collect()
    }
}

/// Both get each input.
#[track_caller]
fn agree(inputs: impl IntoIterator<Item = Vec<u8>>) {
    let Some(mut real) = Real::start() else { return };
    let mut embedded = Embedded::start(real.version.clone());
    for input in inputs {
        let (ours, theirs) = (embedded.answers(&input), real.answers(&input));
        assert_eq!(ours, theirs, "{}", input.escape_ascii());
    }
}

#[test]
fn chosen_input() {
    let inputs = ALONE.into_iter().flat_map(parts).map(<[u8]>::to_vec);
    let values = parts(VALUES).flat_map(|value| {
        let string = [b"\"", value, b"\""].concat();
        [within(value), within(&string), named(&string), value.to_vec(), string]
    });
    agree(inputs.chain(values).chain(nested()).chain(every_byte()));
}

fn parts(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table.split(|byte| *byte == b'|')
}

/// A command with this id.
fn within(id: &[u8]) -> Vec<u8> {
    [b"{\"execute\": \"x\", \"id\": ", id, b"}"].concat()
}

/// A command whose id has a member of this name, beside others.
fn named(name: &[u8]) -> Vec<u8> {
    within(&[b"{\"a\": 1, ", name, b": 2, \"\\u00e9\": 3, \"\\u0000\": 4}"].concat())
}

fn nested() -> impl Iterator<Item = Vec<u8>> {
    let nested = [1023, 1024, 1025, 3000].into_iter().flat_map(|levels: usize| {
        let arrays = ["[".repeat(levels), "]".repeat(levels)].concat();
        let objects = ["{'a':".repeat(levels), "1".into(), "}".repeat(levels)].concat();
        [within(arrays.as_bytes()), arrays.into_bytes(), within(objects.as_bytes())]
    });
    // What follows the bracket that is one too many.
    let open = "[".repeat(1025);
    let behind = parts(b"|]|}|#|\x01|{}|{]|[|1 2|\xFF\xFF")
        .map(move |rest| [open.as_bytes(), rest, br#"{"execute": "x", "id": "a"}]]"#].concat());
    nested.chain(behind)
}

/// Each byte in a string, behind a backslash in one, and where recovery may end.
fn every_byte() -> impl Iterator<Item = Vec<u8>> {
    let before = [&b"'"[..], b"'\\", b"#"];
    (0..=u8::MAX).flat_map(move |byte| before.map(|before| [before, &[byte], b"1 {}"].concat()))
}

/// Each is sent alone. A bar separates them.
const ALONE: [&[u8]; 7] = [
    b"|\n|{}|{}{}|[]",
    // What ends no message, and what does.
    b"{|[|}|]|}{}|}}}|{]|{]{}|[}{}|{[}]{}|[{]}{}|{\"a\":[}|{\"a\":[}]|{\"a\":[}{}|\
      {\"a\":{]}|{\"a\":1]{}|{{}}|{{}:1}",
    // Punctuation.
    b",|:|{,}|{:}|[,]|[1,]|[1 2]|{\"a\"}|{\"a\":}|{\"a\" 1}|{\"a\":1,}|{\"a\":1 \"b\":2}|\
      {\"a\":1:2}|{\"a\",1}|{1:2}|{true:2}|{[]:2}",
    // Where recovery ends.
    b"#|##|# 1 2 {}|#\n1 {}|#\t1 {}|#\x001 {}|#\x01{}|#\x1F{}|#\x7F1 {}|#\x801 {}|#\xFD1 {}|\
      #\xFE1 {}|#\xFF1 {}|#\"a\"{}|#\"{\"{}|#'a\n{}|#{}|#[]|#]{}|#}{}|#:{}|#,{}|{\"a\":#{}|\
      [[[#]{}|A{}|Abc def{}|\xEF\xBB\xBF{}|\xFF\xFF{}|\x01\x01{}|\xFE|\x00|\x0B{}|\x0C{}|\
      \x7F{}|%d|%{}|/**/{}",
    // Where strings end.
    b"'|\"|'\\|'a\x01'{}|'a\n'{}|'a\xFE'{}|'a\xFF'{}|'\\\x01'{}|'\\\xFF'{}|'\\\xFD'{}|\
      'a\"'{}|\"a'\"{}|{'execute':'x','id':'a'}|{'execute':\"x\",\"id\":'\\'\"'}",
    // Where numbers and words end.
    b"-|-{}|-a{}|1{}|1\"a\"{}|1true|true1|true\"a\"|true\x80|1\x80|1\xFF|true\xFF|trueA{}|\
      1.{}|1.\n{}|1e{}|1e+\n{}|01{}",
    // What is no command.
    b"{\"id\":1}|{\"\":1,\"id\":3}|{\"id\":1,\"id\":1}|\
      {\"execute\":\"query-version\",\"id\":1,\"\\u0069d\":2}|\
      {\"execute\":\"query-version\"}{\"execute\":\"x\"}|\
      {\"execute\":\"query\\u002dversion\",\"arguments\":{}}|\
      {\"execute\":\"query-version\",\"arguments\":{\"a\":1}}|\
      {\"execute\":\"query-version\\u0000\",\"id\":\"a\"}|{\"execute\":1,\"id\":\"a\"}|\
      {\"execute\":null,\"id\":null}",
];

/// Each is an id as it stands, and a string, and a name.
const VALUES: &[u8] = b"\
    0|-0|00|0e1|0.0e1|1E+05|1e-400|1e400|-1e400|-9223372036854775809|18446744073709551616|\
    1.|.5|+1|1.5.5|0x10|true|True|truefalse|nul|nan||a|\xFE|\xFF|\x7F|\xC3\xA9|\xF0\x9F\x98\x80|\
    \x80|\xC3|\xC3(|\xC0|\xC0\x80|\xC0\x81|\xC1\xBF|\xE0\x80\x80|\xED\x9F\xBF|\
    \xED\xA0\x80|\xED\xA0\xBD\xED\xB8\x80|\xEE\x80\x80|\xEF\xB7\x8F|\xEF\xB7\x90|\
    \xEF\xB7\xAF|\xEF\xBF\xBD|\xEF\xBF\xBE|\xEF\xBF\xBF|\xF0\x8F\xBF\xBF|\xF0\x9F\xBF\xBE|\
    \xF4\x8F\xBF\xBD|\xF4\x8F\xBF\xBF|\xF4\x90\x80\x80|\xF8\x88\x80\x80\x80|\
    \xFC\x84\x80\x80\x80\x80|\\\"\\'\\\\\\/\\b\\f\\n\\r\\t|\\a|\\x41|\\U0041|\\0|\\u|\
    \\u12|\\u+123|\\u 123|\\u00g0|\\u0000|\\u001f|\\u0061|\\u00E9|\\u007f\\u0080|\
    \\ud7ff\\ue000|\\ud800|\\udc00|\\ud83d\\ude00|\\uD83D\\uDE00|\\ude00\\ud83d|\
    \\ud83d\\u0041|\\ud83d\\ud83d\\ude00|\\ud83dx|\\ud83d\\n|\\ud83d\\u12|\
    \\ufdcf\\ufdf0\\ufffd|\\ufdd0|\\ufdef|\\ufffe|\\uffff|\\ud83f\\udffd|\\ud83f\\udffe|\
    \\udbff\\udfff";

/// What the generator begins with.
const COMMANDS: [&[u8]; 9] = [
    b"{\"execute\": \"query-version\", \"id\": \"one\"}",
    b"{ 'execute': 'query-version', 'arguments': {}, 'id': [1, {'a': -2.5e3}] }",
    b"{\"execute\":\"x\",\"arguments\":{\"a\":[true,false,null]},\"id\":\"\\u00e9\\n\xC3\xA9\"}",
    b"{\"id\":{\"a\":{\"b\":0},\"b\":[[],{}]},\"execute\":\"x\"}{\"execute\":\"query-version\"}",
    b"[1, 'a', {\"id\": 1}]\n{\"execute\":\"x\",\"id\":\"\\ud83d\\ude00\"}",
    b"{\"execute\":\"query-version\",\n\t\"id\":\"two\"}\r\n{\"execute\":\"y\",\"id\":null} ",
    b"{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]},\"id\":\"a\"}",
    b"{'exec-oob':'query-version','id':'b'}{'execute':'x','arguments':[],'id':'c'}",
    b"{\"execute\":\"query-version\",\"arguments\":{\"b\":1},\"surplus\":2,\"id\":\"d\"}",
];

/// And what it puts in.
const PIECES: &[u8] = b"\
    {|}|[|]|:|,|\"|'|\\| |\n|\t|\x00|\x01|\x1F|\x7F|\x80|\xBF|\xC0\x80|\xC3|\xED\xA0\x80|\xEF\xBF\xBF|\
    \xFD|\xFE|\xFF|#|%|A|e|true|null|nil|0|1|-|.|1e5|+|\\u0000|\\u0061|\\ud83d|\\ude00|\\uffff|\\x|\
    {}|[]|'a':1,|\"id\":1,";

/// Always the same for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        let step = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = step.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn piece(&mut self) -> &'static [u8] {
        let pieces: Vec<_> = parts(PIECES).collect();
        pieces[self.below(pieces.len())]
    }

    fn input(&mut self) -> Vec<u8> {
        let mut input = COMMANDS[self.below(COMMANDS.len())].to_vec();
        for _ in 0..=self.below(3) {
            self.mutate(&mut input);
        }
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let until = (at + self.below(8)).min(input.len());
        match self.below(5) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 => drop(input.drain(at..until)),
            2 => input.extend_from_within(at..until),
            _ => {
                let replaced = at..until.min(at + self.below(2));
                input.splice(replaced, self.piece().iter().copied());
            }
        }
    }
}

#[test]
fn random_input() {
    let mut random = Random(0x5eed);
    agree((0..3000).map(|_| random.input()));
}
