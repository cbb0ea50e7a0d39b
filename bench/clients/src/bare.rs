//! A loop over a socket of std that does the least possible: it trusts the server in everything.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bench_worker::{AT_ONCE, BEFORE, LATE, Scenario, Version, Work, lap};
use memchr::memchr_iter;
use serde::Deserialize;
use serde::de::DeserializeOwned;

// QEMU needs no line's end, and reads byte by byte: a command that is shorter is answered sooner.
pub(crate) const HELLO: &[u8] = b"{\"execute\":\"qmp_capabilities\",\"id\":1}";
pub(crate) const COMMAND: &[u8] = b"{\"execute\":\"query-version\",\"id\":1}";
/// As long as ours.
const LONG_COMMAND: &[u8] = b"{\"execute\":\"query-version\",\"id\":1234567890123456}\n";
/// How much is read at once.
pub(crate) const ROOM: usize = 64 << 10;

/// What it does beside the least.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Extra {
    Nothing,
    /// Each message is decoded.
    Decoding,
    /// Commands are as long as ours.
    LongIds,
}

/// A reply's envelope.
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is decoded to be decoded")]
struct Reply<T> {
    id: u64,
    #[serde(rename = "return")]
    value: T,
}

/// An event, with its data.
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is decoded to be decoded")]
struct Event {
    event: String,
    data: Deleted,
    timestamp: Timestamp,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is decoded to be decoded")]
struct Deleted {
    device: Option<String>,
    path: String,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is decoded to be decoded")]
struct Timestamp {
    seconds: i64,
    microseconds: i64,
}

pub(crate) fn open(scenario: Scenario, path: &Path, extra: Extra) -> Option<Work> {
    let path = path.to_owned();
    if scenario == Scenario::Connect {
        return Some(Box::new(move |count| (0..count).map(|_| drop(Bare::connect(&path))).count()));
    }
    let mut bare = Bare::connect(&path);
    let typed = extra == Extra::Decoding;
    let command = if extra == Extra::LongIds { LONG_COMMAND } else { COMMAND };
    Some(match scenario {
        Scenario::Commands | Scenario::Awaited => Box::new(move |count| {
            (0..count)
                .map(|_| {
                    bare.send(command);
                    bare.lines(1, |line| look::<Reply<Version>>(line, typed));
                    lap();
                })
                .count()
        }),
        Scenario::Outstanding => {
            let all = COMMAND.repeat(AT_ONCE);
            Box::new(move |count| {
                for _ in 0..count / AT_ONCE {
                    bare.send(&all);
                    bare.lines(AT_ONCE, |line| look::<Reply<Version>>(line, typed));
                }
                count
            })
        }
        Scenario::Events => Box::new(move |count| {
            bare.send(&ask(&format!("events {count}")));
            bare.lines(1, pass_over);
            bare.lines(count, |line| look::<Event>(line, typed));
            count
        }),
        Scenario::Followed => Box::new(move |count| {
            for _ in 0..count {
                for _ in 0..BEFORE {
                    bare.send(COMMAND);
                    bare.lines(1, pass_over);
                }
                bare.send(&ask(LATE));
                bare.lines(2, pass_over);
            }
            count
        }),
        Scenario::Raw(size) => large(bare, size, pass_over),
        Scenario::Typed(size) => large(bare, size, decoded::<Reply<String>>),
        _ => return None,
    })
}

fn large(mut bare: Bare, size: usize, look: fn(&[u8])) -> Work {
    let command = ask(&format!("size {size}"));
    Box::new(move |count| {
        for _ in 0..count {
            bare.send(&command);
            look(&bare.long_line());
        }
        count
    })
}

/// For who does not look.
fn pass_over(_line: &[u8]) {}

fn look<T: DeserializeOwned>(line: &[u8], typed: bool) {
    if typed {
        decoded::<T>(line);
    }
}

fn decoded<T: DeserializeOwned>(line: &[u8]) {
    drop(serde_json::from_slice::<T>(line).expect("what is expected"));
}

pub(crate) fn ask(line: &str) -> Vec<u8> {
    let command = "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":";
    format!("{command}\"{line}\"}},\"id\":1}}").into_bytes()
}

/// A connection that is negotiated.
struct Bare {
    stream: UnixStream,
    buffer: Vec<u8>,
    length: usize,
}

impl Bare {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("a server");
        let mut bare = Self { stream, buffer: vec![0; ROOM], length: 0 };
        bare.lines(1, pass_over);
        bare.send(HELLO);
        bare.lines(1, pass_over);
        bare
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("a server that reads");
    }

    /// Shows so many lines.
    fn lines(&mut self, mut count: usize, mut look: impl FnMut(&[u8])) {
        loop {
            let mut taken = 0;
            for end in memchr_iter(b'\n', &self.buffer[..self.length]).take(count) {
                look(&self.buffer[taken..end]);
                (taken, count) = (end + 1, count - 1);
            }
            self.buffer.copy_within(taken..self.length, 0);
            self.length -= taken;
            if count == 0 {
                return;
            }
            self.length += self.stream.read(&mut self.buffer[self.length..]).expect("bytes");
        }
    }

    /// One line of any length, in a buffer of its own.
    fn long_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let read = self.stream.read(&mut self.buffer).expect("bytes");
            line.extend_from_slice(&self.buffer[..read]);
        }
        line
    }
}
