//! C21: sessions that are recorded, and replayed to the same program.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;

use qmp_blocking::commands::{Cont, DeviceDel, QueryName, QueryStatus, Quit, Stop};
use qmp_blocking::trace::{Direction, Payload, Redaction, Trace};
use qmp_blocking::{Builder, Client, CloseReason, Error, ErrorClass, Event, Recording, Request};
use qmp_server::{Mismatch, Replay};
use qmp_tests::qemu::{Monitor, Setup, patient};
use qmp_tests::scripted::{PATIENCE, Peer, Script, pair, run};
use tempfile::TempDir;

/// A recording in a file.
struct Tape {
    folder: TempDir,
}

impl Tape {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("session.trace")
    }

    fn file(&self) -> File {
        File::create(self.path()).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn trace(&self) -> Trace {
        self.text().parse().unwrap()
    }
}

/// Plays a trace to a program; gives the mismatch, if there is one.
fn play(trace: Trace, program: impl FnOnce(&Client)) -> Option<Mismatch> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (sender, mismatch) = mpsc::channel();
    let script = Script::start(move || sender.send(serve(Replay::new(trace), theirs)).unwrap());
    if let Ok(client) = Builder::new().oob(true).from_stream(ours) {
        program(&client);
    }
    script.join();
    mismatch.recv_timeout(PATIENCE).unwrap()
}

/// The server of a replay.
fn serve(mut replay: Replay, mut socket: UnixStream) -> Option<Mismatch> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4096];
    loop {
        while let Some(bytes) = replay.transmit() {
            let Ok(taken) = socket.write(bytes) else { break };
            replay.advance(taken);
        }
        if replay.is_finished() || replay.mismatch().is_some() {
            return replay.mismatch().cloned();
        }
        match socket.read(&mut buffer).unwrap() {
            0 => replay.handle_eof(),
            length => replay.handle_input(&buffer[..length]),
        }
    }
}

/// An event, a reply, an error, and the end.
fn program(client: &Client) {
    assert_eq!(client.execute(&QueryName).unwrap().name.as_deref(), Some("vm"));
    let gone = |event: &Event| event.name() == "DEVICE_DELETED";
    client.execute_until(&DeviceDel { id: "net0" }, gone).unwrap();
    let Err(Error::Command(error)) = run(client, "no-such-command") else { panic!("it worked") };
    assert_eq!(error.class, ErrorClass::CommandNotFound);
    client.execute(&Quit).unwrap();
    assert_eq!(client.closed(), CloseReason::Quit);
}

fn script(peer: &mut Peer) {
    peer.greet();
    let command = peer.expect("query-name");
    peer.send("\r\n\u{20}");
    peer.reply(&command, "{\"name\":\r\n \"vm\"}");
    let command = peer.expect("device_del");
    peer.reply(&command, "{}");
    peer.event("DEVICE_DELETED", r#"{"path": "/machine"}"#);
    let command = peer.command();
    peer.fail(&command, "CommandNotFound", "there is none");
    let command = peer.expect("quit");
    peer.reply(&command, "{}");
}

fn recorded(tape: &Tape, recording: impl Into<Recording>) -> Trace {
    let (socket, script) = pair(script);
    let client = Builder::new().oob(true).record(recording).from_stream(socket).unwrap();
    program(&client);
    drop(client);
    script.join();
    tape.trace()
}

#[test]
fn c21_a_session_is_recorded_and_replayed() {
    let tape = Tape::new();
    let trace = recorded(&tape, tape.file());
    let arrows: String = trace
        .entries()
        .iter()
        .map(|entry| match (entry.direction(), entry.payload()) {
            (Direction::ToServer, Payload::Json(_)) => '>',
            (Direction::ToClient, Payload::Json(_)) => '<',
            (Direction::ToServer, Payload::End) => ')',
            (Direction::ToClient, Payload::End) => '(',
            _ => '!',
        })
        .collect();
    assert_eq!(arrows, "<><><><<><><()");
    assert!(tape.text().contains(r#"<- {"return": {"name":   "vm"}, "id": "#), "{}", tape.text());
    assert_eq!(trace.to_string(), tape.text());
    // Again and again: the ids are others each time.
    assert_eq!(play(trace.clone(), program), None);
    assert_eq!(play(trace, program), None);
}

/// An event before the greeting, and a greeting again before the client is ready.
#[test]
fn c21_a_server_that_was_just_starting_is_replayed_too() {
    let tape = Tape::new();
    let (socket, peer) = pair(|peer| {
        peer.event("STOP", "{}");
        peer.say_hello();
        let first = peer.expect("qmp_capabilities");
        peer.say_hello();
        let again = peer.expect("qmp_capabilities");
        peer.reply(&first, "{}");
        peer.fail(&again, "CommandNotFound", "already complete");
        let quit = peer.expect("quit");
        peer.reply(&quit, "{}");
    });
    let quit = |client: &Client| {
        client.execute(&Quit).unwrap();
    };
    let client = Builder::new().oob(true).record(tape.file()).from_stream(socket).unwrap();
    quit(&client);
    drop(client);
    peer.join();
    assert_eq!(play(tape.trace(), quit), None);
}

#[test]
fn c21_a_program_that_has_changed_is_found_out() {
    let tape = Tape::new();
    let trace = recorded(&tape, tape.file());
    let other_argument = |client: &Client| {
        client.execute(&QueryName).unwrap();
        let error = client.execute(&DeviceDel { id: "net1" }).unwrap_err();
        assert!(matches!(error, Error::Unanswered(_)), "{error:?}");
    };
    let mismatch = play(trace.clone(), other_argument).unwrap();
    let is = |text: &str, id: &str| {
        let start = format!(r#"{{"execute":"device_del","arguments":{{"id":"{id}"}},"id":"#);
        text.starts_with(&start)
    };
    assert_eq!(mismatch.line, 7);
    assert!(is(&mismatch.expected, "net0") && is(&mismatch.got, "net1"), "{mismatch}");
    let leaves_early = |client: &Client| {
        client.execute(&QueryName).unwrap();
        client.close(PATIENCE).unwrap();
    };
    let mismatch = play(trace, leaves_early).unwrap();
    assert_eq!((mismatch.line, &*mismatch.got), (7, "the end of the stream"));
    assert!(is(&mismatch.expected, "net0"), "{mismatch}");
}

#[test]
fn c21_what_speaks_no_qmp_is_recorded_too() {
    let tape = Tape::new();
    let (socket, script) = pair(|peer| {
        peer.send("(qemu) \u{1}\r\n");
        peer.expect_eof();
    });
    assert!(Builder::new().record(tape.file()).from_stream(socket).is_err());
    script.join();
    let lines: Vec<_> =
        tape.trace().entries().iter().map(|entry| entry.payload().to_string()).collect();
    assert_eq!(lines[0], r"!(qemu) \x01\x0d\x0a");
}

/// A full disk: everything goes on, and the recording says why it ended.
#[test]
fn c21_a_writer_that_fails_does_no_harm() {
    let recording = Recording::new(File::options().write(true).open("/dev/full").unwrap());
    let (socket, script) = pair(script);
    let client = Builder::new().record(recording.clone()).from_stream(socket).unwrap();
    program(&client);
    script.join();
    assert_eq!(recording.error().unwrap().kind(), std::io::ErrorKind::StorageFull);
}

/// What QEMU says is not known beforehand; the same program gets the same of the recording.
fn with_qemu(client: &Client) {
    assert!(!client.execute(&QueryStatus).unwrap().running);
    let resumed = |event: &Event| event.name() == "RESUME";
    client.execute_until(&Cont, resumed).unwrap();
    let stopped = |event: &Event| event.name() == "STOP";
    client.execute_until(&Stop, stopped).unwrap();
    let secret = serde_json::json!({"qom-type": "secret", "id": "key", "data": "hunter2"});
    client.execute_request(Request::new("object-add").arguments(secret)).unwrap();
    client.query("qmp-schema").unwrap();
    client.execute_oob(&Quit).unwrap_err();
    client.execute(&Quit).unwrap();
    client.closed();
}

fn record_qemu(setup: Setup, recording: impl Into<Recording>) {
    let mut server = setup.monitor(Monitor::Unix).start();
    let client = patient().oob(true).record(recording).connect(server.address()).unwrap();
    with_qemu(&client);
    drop(client);
    assert!(server.wait().success());
}

fn assert_replayed(setup: Setup) {
    let tape = Tape::new();
    record_qemu(setup, tape.file());
    let trace = tape.trace();
    assert!(!trace.is_redacted());
    assert!(tape.text().contains("hunter2"));
    let is_escaped = |payload: &Payload| matches!(payload, Payload::Bytes(_));
    assert!(!trace.entries().iter().any(|entry| is_escaped(entry.payload())), "{}", tape.text());
    assert_eq!(play(trace, with_qemu), None);
}

#[test]
fn c21_a_session_with_qemu_is_replayed() {
    Setup::bare().into_iter().for_each(assert_replayed);
}

#[test]
fn c21_a_session_with_qemu_on_many_lines_is_replayed() {
    Setup::bare().map(Setup::pretty).into_iter().for_each(assert_replayed);
}

#[test]
fn c21_a_redacted_session_with_qemu_is_replayed() {
    let Some(setup) = Setup::bare() else { return };
    let tape = Tape::new();
    record_qemu(setup, Recording::new(tape.file()).redacted(Redaction::default()));
    assert!(!tape.text().contains("hunter2"));
    assert!(tape.text().contains(r#""qom-type":"secret""#), "{}", tape.text());
    let trace = tape.trace();
    assert!(trace.is_redacted());
    assert_eq!(play(trace, with_qemu), None);
}
