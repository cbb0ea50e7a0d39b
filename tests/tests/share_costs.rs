//! What clients of the example `share` can make it, and a real QEMU, cost the others: time and memory.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::Client;
use qmp_blocking::commands::QueryStatus;
use qmp_tests::example::Example;
use qmp_tests::qemu::{DEADLINE, Monitor, Server, Setup, patient};
use qmp_tests::scripted::PATIENCE;

const ATTACKERS: usize = 16;
const MIB: usize = 1 << 20;

/// What a command may have by default.
const MAX_COMMAND: usize = 64 << 10;

struct Shared {
    // In this order: the example goes before its QEMU.
    share: Example,
    socket: PathBuf,
    _server: Server,
}

impl Shared {
    fn start() -> Option<Self> {
        let server = Setup::bare()?.monitor(Monitor::Unix).start();
        let socket = server.folder().join("shared");
        Some(Self { share: Example::share(server.address(), &socket), socket, _server: server })
    }

    fn client(&self) -> Client {
        patient().connect(&self.socket).unwrap()
    }
}

/// A client that has said nothing yet.
fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn negotiated(socket: &Path) -> UnixStream {
    let mut stream = connect(socket);
    stream.write_all(br#"{"execute": "qmp_capabilities"}"#).unwrap();
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !said.ends_with(b"{\"return\": {}}\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        said.extend(byte);
    }
    stream
}

/// How long so many commands take of a client that wants nothing special.
fn time(client: &Client) -> Duration {
    let start = Instant::now();
    for _ in 0..100 {
        client.execute(&QueryStatus).unwrap();
    }
    start.elapsed()
}

/// What is done, and what has to be kept for it to go on.
type Attack = fn(&Path) -> Vec<UnixStream>;

/// Of a command of 4 MB QEMU would read for 25 to 55 s.
fn a_huge_command(socket: &Path) -> Vec<UnixStream> {
    let mut attacker = negotiated(socket);
    let command = format!(r#"{{"execute": "x", "arguments": {{"a": "{}"}}}}"#, "x".repeat(4 * MIB));
    attacker.write_all(command.as_bytes()).unwrap();
    vec![attacker]
}

/// A command of the largest size. QEMU reads it whole before it refuses it.
fn largest_command() -> String {
    format!(r#"{{"execute": "x", "arguments": {{"a": "{}"}}}}"#, "x".repeat(MAX_COMMAND - 100))
}

fn half_commands(socket: &Path) -> Vec<UnixStream> {
    let half = [br#"{"execute": "x", "id": ""#, &vec![b'x'; 8 * MIB][..]].concat();
    attack(socket, |attacker| attacker.write_all(&half).unwrap())
}

/// The largest that are echoed, and all are asked for again until nothing more is taken.
fn ids_that_are_never_read(socket: &Path) -> Vec<UnixStream> {
    let command = format!(r#"{{"execute": "x", "id": "{}"}}"#, "x".repeat(MAX_COMMAND - 100));
    attack(socket, |attacker| {
        attacker.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        while attacker.write_all(command.as_bytes()).is_ok() {}
    })
}

/// Those are not echoed.
fn huge_ids(socket: &Path) -> Vec<UnixStream> {
    let command = format!(r#"{{"execute": "x", "id": "{}"}}"#, "x".repeat(8 * MIB));
    attack(socket, |attacker| attacker.write_all(command.repeat(2).as_bytes()).unwrap())
}

fn clients_that_are_killed(socket: &Path) -> Vec<UnixStream> {
    for _ in 0..ATTACKERS {
        let mut attacker = negotiated(socket);
        attacker.set_nonblocking(true).unwrap();
        // As many as the socket takes.
        let _ = attacker.write_all(r#"{"execute": "query-qmp-schema"}"#.repeat(20_000).as_bytes());
    }
    Vec::new()
}

fn clients_that_say_nothing(socket: &Path) -> Vec<UnixStream> {
    (0..200).map(|_| connect(socket)).collect()
}

/// Many at once, who stay.
fn attack(socket: &Path, act: impl Fn(&mut UnixStream) + Sync) -> Vec<UnixStream> {
    thread::scope(|scope| {
        let one = || {
            let mut attacker = negotiated(socket);
            act(&mut attacker);
            attacker
        };
        let attackers: Vec<_> = (0..ATTACKERS).map(|_| scope.spawn(one)).collect();
        attackers.into_iter().map(|attacker| attacker.join().unwrap()).collect()
    })
}

/// Without limits some of these take half a minute, and some as long as the attacker likes.
#[test]
fn c14_no_client_delays_the_others_for_long() {
    let attacks: [(&str, Attack); 6] = [
        ("a huge command", a_huge_command),
        ("half commands", half_commands),
        ("ids that are never read", ids_that_are_never_read),
        ("huge ids", huge_ids),
        ("clients that are killed", clients_that_are_killed),
        ("clients that say nothing", clients_that_say_nothing),
    ];
    for (name, attack) in attacks {
        let Some(shared) = Shared::start() else { return };
        let client = shared.client();
        let alone = time(&client);
        let socket = &*shared.socket;
        let attacked = thread::scope(|scope| {
            let attacking = scope.spawn(|| attack(socket));
            let mut longest = Duration::ZERO;
            while !attacking.is_finished() {
                longest = longest.max(time(&client));
            }
            let _kept = attacking.join().unwrap();
            longest.max(time(&client)).max(time(&shared.client()))
        });
        println!("{name}: {attacked:?}, alone {alone:?}");
        assert!(attacked < 50 * alone + Duration::from_secs(5), "{name}: {attacked:?} {alone:?}");
    }
}

/// Each attacker has one command at the server at a time, so a victim waits for one of each.
#[test]
fn c14_a_client_waits_for_one_command_of_each_other_client() {
    const CLIENTS: usize = 4;
    const COMMANDS: usize = 5;
    let Some(shared) = Shared::start() else { return };
    let client = shared.client();
    let command = largest_command();
    let answers = AtomicUsize::new(0);
    let (answer_first, first_answers) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut attacker = negotiated(&shared.socket);
            let mut reader = attacker.try_clone().unwrap();
            let (command, answers, answer_first) = (&command, &answers, answer_first.clone());
            scope.spawn(move || attacker.write_all(command.repeat(COMMANDS).as_bytes()).unwrap());
            scope.spawn(move || {
                for number in 0..COMMANDS {
                    read_line(&mut reader);
                    answers.fetch_add(1, Ordering::SeqCst);
                    if number == 0 {
                        answer_first.send(()).unwrap();
                    }
                }
            });
        }
        // Each has had an answer, and has the next command at the server.
        for _ in 0..CLIENTS {
            first_answers.recv_timeout(DEADLINE).unwrap();
        }
        let before = answers.load(Ordering::SeqCst);
        client.execute(&QueryStatus).unwrap();
        let waited_for = answers.load(Ordering::SeqCst) - before;
        // One answer of each may have been on its way already.
        assert!(waited_for <= 2 * CLIENTS, "{waited_for} commands");
    });
}

fn read_line(stream: &mut UnixStream) {
    let mut byte = [0];
    while byte != *b"\n" {
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
    }
}

/// 1 MiB unread, 64 KiB of a command, and what its forms take, for each client.
#[test]
fn c3_what_clients_leave_unfinished_and_unread_is_bounded() {
    let attacks: [(&str, Attack, usize); 3] = [
        ("half commands", half_commands, MIB),
        ("ids that are never read", ids_that_are_never_read, 4 * MIB),
        ("huge ids", huge_ids, MIB),
    ];
    for (name, attack, most) in attacks {
        let Some(shared) = Shared::start() else { return };
        let client = shared.client();
        client.execute(&QueryStatus).unwrap();
        let before = shared.share.memory();
        let _kept = attack(&shared.socket);
        client.execute(&QueryStatus).unwrap();
        let each = shared.share.memory().saturating_sub(before) / ATTACKERS;
        println!("{name}: {each} bytes for each");
        assert!(each < most, "{name}: {each} bytes for each");
    }
}
