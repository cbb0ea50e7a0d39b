//! The example `record`: a session that goes through it is in its file, and replays.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use qmp_blocking::commands::{Closefd, Cont, Getfd, QueryStatus, Quit, Stop};
use qmp_blocking::{Client, CloseReason, Empty, Request};
use qmp_proto::trace::Trace;
use qmp_server::Machine;
use qmp_server::net::{Server, replay};
use qmp_tests::example::Example;
use qmp_tests::qemu::{Monitor, Setup, closed, next_event, patient, within};

fn story(client: &Client) {
    let mut events = client.events();
    client.execute(&Cont).unwrap();
    assert_eq!(next_event(&mut events).name(), "RESUME");
    assert!(client.execute_request(Request::new("nonsense")).is_err());
    client.execute(&Stop).unwrap();
    assert!(!client.execute(&QueryStatus).unwrap().running);
    client.execute(&Quit).unwrap();
    assert_eq!(closed(client), CloseReason::Quit);
}

/// Starts it before a monitor; gives it and the address at which it waits.
fn record(monitor: &str, file: &Path, listen: Option<&str>) -> (Example, String) {
    let mut arguments = vec![monitor, file.to_str().unwrap()];
    arguments.extend(listen);
    let example = Example::start("record", &arguments);
    let line = example.line();
    let address = line.strip_prefix("waiting for a client at ").expect(&line).to_owned();
    (example, address)
}

fn trace_in(file: &Path) -> Trace {
    fs::read_to_string(file).unwrap().parse().unwrap()
}

#[track_caller]
fn replays(trace: Trace, story: fn(&Client)) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || replay(theirs, trace));
    story(&patient().from_stream(ours).unwrap());
    within(|| server.join()).unwrap().unwrap();
}

#[test]
fn c21_a_session_with_qemu_is_recorded_and_replays() {
    let Some(setup) = Setup::bare() else { return };
    let mut server = setup.monitor(Monitor::Unix).start();
    let file = server.folder().join("trace");
    let (example, address) = record(&server.address().to_string(), &file, None);
    let client = patient().connect(&address).unwrap();
    story(&client);
    drop(client);
    let (lines, status) = example.end();
    assert!(status.success() && lines.len() == 1, "{lines:?}");
    assert!(server.wait().success());
    replays(trace_in(&file), story);
}

#[test]
fn c21_passwords_are_not_recorded() {
    fn story(client: &Client) {
        let arguments = serde_json::json!({"protocol": "vnc", "password": "s3cret"});
        client.execute_request(Request::new("set_password").arguments(arguments)).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    let mut machine = Machine::new();
    machine.on("set_password", |_, _| Ok(Empty {}));
    let server = Server::bind("tcp::0", machine).unwrap();
    let (example, address) = record(&server.address().to_string(), &file, Some("tcp:127.0.0.1:0"));
    let client = patient().connect(&address).unwrap();
    story(&client);
    drop(client);
    assert!(example.end().1.success());
    assert!(!fs::read_to_string(&file).unwrap().contains("s3cret"));
    replays(trace_in(&file), story);
}

#[test]
fn c11_descriptors_are_passed_on() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let file = server.folder().join("trace");
    let (_example, address) = record(&server.address().to_string(), &file, None);
    let client = patient().connect(&address).unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    client.execute_with_fd(&Getfd { fdname: "f" }, writer).unwrap();
    client.execute(&Closefd { fdname: "f" }).unwrap();
    // QEMU had it, and it alone.
    let mut reader = File::from(reader);
    assert_eq!(within(move || reader.read(&mut [0])).unwrap(), 0);
}

/// Nobody is told to come, and no file is made.
#[test]
fn where_it_cannot_work_it_says_so_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let machine = Server::bind(path("qmp.sock"), Machine::new()).unwrap();
    let machine = machine.address().to_string();
    let listens = path("listens").to_str().unwrap().to_owned();
    for (monitor, listen) in [
        // There is no such path and will be none, so it is not waited for.
        ("unix:/dev/null/qmp.sock", &*listens),
        ("pipe:/nowhere", &*listens),
        ("nonsense", &*listens),
        (&*machine, "nonsense"),
        (&*machine, "unix:/nonexistent/listens"),
    ] {
        let file = path("trace");
        let example = Example::start("record", &[monitor, file.to_str().unwrap(), listen]);
        let (lines, status) = example.end();
        assert!(!status.success() && lines.is_empty(), "{monitor} {listen}: {lines:?}");
        assert!(!file.exists() && !path("listens").exists(), "{monitor} {listen}");
    }
}
