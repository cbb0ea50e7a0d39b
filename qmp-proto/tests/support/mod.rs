//! What several test files share: the recorded sessions under `tests/captures`, and a server
//! played by hand.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file compiles its own copy and uses a part of it"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

pub mod agent;
pub mod peer;
pub mod trace;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;

/// Where the captures and their index are.
pub const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../qmp-proto/tests/captures");

/// What a real server sent in one session, and what is known to be in it.
pub struct Capture {
    /// The name in the index, such as `greeting-qemu7`.
    pub name: String,
    /// The bytes from server to client.
    pub bytes: Vec<u8>,
    /// How many messages of each kind: `greeting`, `return`, `error`, `event`, and what is none of them.
    pub counts: BTreeMap<String, u64>,
    /// How many events of each name.
    pub events: BTreeMap<String, u64>,
}

/// A capture's entry in the index.
#[derive(Deserialize)]
pub struct Entry {
    /// The size in bytes, uncompressed.
    pub bytes: usize,
    /// How many messages of each kind.
    pub messages: BTreeMap<String, u64>,
    /// How many events of each name.
    #[serde(default)]
    pub events: BTreeMap<String, u64>,
}

/// The index: every capture by name.
pub fn index() -> BTreeMap<String, Entry> {
    let path = Path::new(CAPTURES).join("INDEX.json");
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every capture, in the order of their names.
pub fn captures() -> Vec<Capture> {
    index().into_iter().map(load).collect()
}

/// The capture of that name.
#[track_caller]
pub fn capture(name: &str) -> Capture {
    match index().remove_entry(name) {
        Some(entry) => load(entry),
        None => panic!("no capture is called {name}"),
    }
}

fn load((name, entry): (String, Entry)) -> Capture {
    Capture { bytes: read(&name), name, counts: entry.messages, events: entry.events }
}

/// The bytes from client to server.
pub fn sent(name: &str) -> Vec<u8> {
    read(&format!("{name}.sent"))
}

/// `NAME.bin`, or what `NAME.bin.gz` unpacks to.
fn read(name: &str) -> Vec<u8> {
    let plain = Path::new(CAPTURES).join(format!("{name}.bin"));
    let packed = plain.with_extension("bin.gz");
    match fs::read(&plain) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => unpack(packed),
        Err(error) => panic!("{}: {error}", plain.display()),
    }
}

fn unpack(path: PathBuf) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| GzDecoder::new(file).read_to_end(&mut bytes))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes
}

/// Cuts bytes into pieces of 1 to `longest` bytes, the same ones for the same seed.
pub fn random_chunks(mut bytes: &[u8], longest: usize, seed: u64) -> Vec<&[u8]> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let length = 1 + (state >> 32) as usize % longest;
        let (chunk, rest) = bytes.split_at(length.min(bytes.len()));
        chunks.push(chunk);
        bytes = rest;
    }
    chunks
}
