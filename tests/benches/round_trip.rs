//! Commands per second over a Unix socket: each adapter's client beside a bare loop over a socket of
//! the same runtime that does the least possible, in turns, in one run.
//!
//! ```sh
//! cargo bench -p qmp-tests --bench round_trip
//! ```
//!
//! Against QEMU the figure is mostly QEMU's. The last server answers at once, in a thread of its own.
//! Pin all of it to one CPU (`taskset -c 0`) to leave out what waking another one costs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails, ends")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use qmp_smol::Address;
use qmp_smol::commands::QueryVersion;
use qmp_tests::qemu::{Monitor, Setup};

const ROUNDS: usize = 15;
const COMMANDS: u32 = 1000;

const HELLO: &[u8] = b"{\"execute\":\"qmp_capabilities\",\"id\":1}\n";
const COMMAND: &[u8] = b"{\"execute\":\"query-version\",\"id\":1234567890123456}\n";
const VERSION: &str = r#"{"qemu":{"micro":22,"minor":2,"major":7},"package":""}"#;

fn main() {
    for (name, setup) in [("QEMU", Setup::bare()), ("q-s-d", Setup::storage_daemon())] {
        let Some(setup) = setup else { continue };
        // A server serves one client of a monitor at a time, so each has one of its own.
        let server = (0..6).fold(setup, |setup, _| setup.monitor(Monitor::Unix)).start();
        let paths: Vec<_> = server.addresses().iter().map(path).collect();
        compare(name, &paths);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    serve(&path);
    compare("at once", &[path.as_path(); 6]);
}

fn path(address: &Address) -> &Path {
    let Address::Unix(path) = address else { panic!("a Unix socket was asked for") };
    path
}

fn compare(server: &str, paths: &[&Path]) {
    let client = qmp_blocking::connect(paths[0]).unwrap();
    let mut bare = Bare::connect(paths[1]);
    let ours = || timed(|| drop(client.execute(&QueryVersion).unwrap()));
    pair(server, "blocking", ours, || timed(|| bare.ask(COMMAND)));

    let client = smol::block_on(qmp_smol::connect(paths[2])).unwrap();
    let stream = smol::block_on(smol::net::unix::UnixStream::connect(paths[3])).unwrap();
    let mut bare = smol::block_on(BareTask::greet(stream));
    let ours = || smol::block_on(run_client(&client));
    pair(server, "smol", ours, || smol::block_on(bare.run()));

    let client = async_std::task::block_on(qmp_async_std::connect(paths[4])).unwrap();
    let connecting = async_std::os::unix::net::UnixStream::connect(paths[5]);
    let stream = async_std::task::block_on(connecting).unwrap();
    let mut bare = async_std::task::block_on(BareTask::greet(stream));
    let ours = || async_std::task::block_on(run_client(&client));
    pair(server, "async-std", ours, || async_std::task::block_on(bare.run()));
}

/// Runs both in turns.
fn pair(
    server: &str,
    runtime: &str,
    mut ours: impl FnMut() -> Duration,
    mut bare: impl FnMut() -> Duration,
) {
    ours();
    bare();
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (ours(), bare())).collect();
    let rate = |times: Vec<Duration>| f64::from(COMMANDS) / median(times).as_secs_f64();
    let mut ratios: Vec<_> =
        rounds.iter().map(|(ours, bare)| ours.as_secs_f64() / bare.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "{server:8} {runtime:10} client {:7.0}/s, bare loop {:7.0}/s, time per command {:.3} of the \
         bare loop's (median of {ROUNDS} pairs of {COMMANDS})",
        rate(rounds.iter().map(|round| round.0).collect()),
        rate(rounds.iter().map(|round| round.1).collect()),
        ratios[ROUNDS / 2]
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn timed(mut command: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..COMMANDS).for_each(|_| command());
    start.elapsed()
}

/// The clients of both adapters for tasks are one type.
async fn run_client(client: &qmp_smol::Client) -> Duration {
    let start = Instant::now();
    for _ in 0..COMMANDS {
        client.execute(&QueryVersion).await.unwrap();
    }
    start.elapsed()
}

/// One write and one read a command; a reply ends with its line.
struct Bare {
    stream: UnixStream,
    buffer: [u8; 4096],
}

impl Bare {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        let mut bare = Self { stream, buffer: [0; 4096] };
        bare.read_line();
        bare.ask(HELLO);
        bare
    }

    fn ask(&mut self, command: &[u8]) {
        self.stream.write_all(command).unwrap();
        self.read_line();
    }

    fn read_line(&mut self) {
        let mut length = 0;
        while length == 0 || self.buffer[length - 1] != b'\n' {
            length += self.stream.read(&mut self.buffer[length..]).unwrap();
        }
    }
}

/// The same on a socket of a runtime's.
struct BareTask<S> {
    stream: S,
    buffer: [u8; 4096],
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> BareTask<S> {
    async fn greet(stream: S) -> Self {
        let mut bare = Self { stream, buffer: [0; 4096] };
        bare.read_line().await;
        bare.ask(HELLO).await;
        bare
    }

    async fn run(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..COMMANDS {
            self.ask(COMMAND).await;
        }
        start.elapsed()
    }

    async fn ask(&mut self, command: &[u8]) {
        self.stream.write_all(command).await.unwrap();
        self.read_line().await;
    }

    async fn read_line(&mut self) {
        let mut length = 0;
        while length == 0 || self.buffer[length - 1] != b'\n' {
            length += self.stream.read(&mut self.buffer[length..]).await.unwrap();
        }
    }
}

/// A server that looks for line ends alone, and echoes the id at the end of each line.
fn serve(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
}

fn answer(mut stream: UnixStream) {
    write!(stream, "{{\"QMP\":{{\"version\":{VERSION},\"capabilities\":[]}}}}\r\n").unwrap();
    let mut buffer = [0; 4096];
    let mut length = 0;
    while let Ok(more @ 1..) = stream.read(&mut buffer[length..]) {
        length += more;
        let whole = buffer[..length].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut replies = Vec::new();
        for line in buffer[..whole].split_inclusive(|byte| *byte == b'\n') {
            let id = line.iter().rposition(|byte| *byte == b':').unwrap() + 1;
            replies.extend_from_slice(b"{\"return\": ");
            replies.extend_from_slice(VERSION.as_bytes());
            replies.extend_from_slice(b", \"id\": ");
            replies.extend_from_slice(&line[id..line.len() - 2]);
            replies.extend_from_slice(b"}\r\n");
        }
        if stream.write_all(&replies).is_err() {
            return;
        }
        buffer.copy_within(whole..length, 0);
        length -= whole;
    }
}
