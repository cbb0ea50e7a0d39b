//! A small session over each transport that a real QEMU has for a monitor.
#![allow(clippy::useless_conversion, reason = "the blocking adapter's programs are std's own")]

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use qmp_tests::qemu::{Monitor, Setup, check_version, find};
use serde_json::Value;

use super::qmp::commands::{Cont, QueryStatus, Quit, RunState, Stop};
use super::qmp::process::Command;
use super::qmp::{Address, Client, CloseReason, ConnectError, Error, Events};
use super::runtime::{ended, next, stream, tell};
use super::{next_event, patient, qmp};

/// Commands, events, and the end.
async fn session((client, mut events): (Client, Events)) {
    start_and_stop(&client, &mut events).await;
    wait!(client.execute(&Quit)).unwrap();
    assert_eq!(next_event(&mut events).await.name(), "SHUTDOWN");
    assert!(next(&mut events).await.is_none());
    assert_eq!(wait!(client.closed()), CloseReason::Quit);
}

async fn start_and_stop(client: &Client, events: &mut Events) {
    let greeting = client.greeting();
    assert_eq!(greeting.capabilities, ["oob"]);
    check_version("qemu-system-x86_64", greeting.version.as_ref());
    assert_eq!(wait!(client.execute(&QueryStatus)).unwrap().status, RunState::Prelaunch);
    wait!(client.execute(&Cont)).unwrap();
    assert_eq!(next_event(events).await.name(), "RESUME");
    wait!(client.execute(&Stop)).unwrap();
    assert_eq!(next_event(events).await.name(), "STOP");
    assert_eq!(wait!(client.execute(&QueryStatus)).unwrap().status, RunState::Paused);
}

async fn session_over(monitor: Monitor, pretty: bool) {
    let Some(setup) = Setup::bare() else { return };
    let setup = if pretty { setup.pretty() } else { setup };
    let mut server = setup.monitor(monitor).start();
    session(wait!(patient().connect_with_events(server.address())).unwrap()).await;
    assert!(server.wait().success());
}

#[test]
fn qemu_over_unix() {
    tell(async {
        session_over(Monitor::Unix, false).await;
        session_over(Monitor::Unix, true).await;
    });
}

/// QEMU's `-qmp stdio`: we hold the other ends of its pipes.
#[test]
fn qemu_over_its_standard_streams() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let mut setup = setup.args(["-qmp", "stdio"]);
        setup.command().stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = setup.start_at_once();
        let reader = OwnedFd::from(server.child().stdout.take().unwrap());
        let writer = OwnedFd::from(server.child().stdin.take().unwrap());
        let (reader, writer) = (stream(reader.into()), stream(writer.into()));
        session(wait!(patient().from_io_with_events(reader, writer)).unwrap()).await;
        assert!(server.wait().success());
    });
}

/// QEMU prints a line before it greets: where the terminal is.
#[test]
fn c7_what_qemu_prints_on_the_monitors_stream_is_shown() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let mut setup = setup.args(["-serial", "pty", "-qmp", "stdio"]);
        setup.command().stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = setup.start_at_once();
        let reader = OwnedFd::from(server.child().stdout.take().unwrap());
        let writer = OwnedFd::from(server.child().stdin.take().unwrap());
        let (reader, writer) = (stream(reader.into()), stream(writer.into()));
        let error = wait!(patient().from_io(reader, writer)).unwrap_err();
        let line = "expected a JSON object, found \"char device redirected to /dev/pts/";
        assert!(error.to_string().contains(line), "{error}");
        assert!(error.to_string().ends_with("(label serial0)\""), "{error}");
    });
}

#[test]
fn qemu_over_an_abstract_name() {
    tell(session_over(Monitor::Abstract, false));
}

#[test]
fn qemu_over_tcp() {
    tell(session_over(Monitor::Tcp, false));
}

#[test]
fn qemu_over_fifos() {
    tell(session_over(Monitor::Pipe, false));
}

#[test]
fn qemu_over_an_inherited_descriptor() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let mut server = setup.monitor(Monitor::Unix).start();
        let Address::Unix(path) = server.address() else { panic!() };
        let stream = UnixStream::connect(path).unwrap();
        match wait!(patient().connect_with_events(format!("fd:{}", stream.as_raw_fd()))) {
            Ok(connected) => {
                session(connected).await;
                assert!(server.wait().success());
            }
            Err(ConnectError::Io(error))
                if error.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                eprintln!("LEFT OUT: {error}");
            }
            Err(error) => panic!("{error}"),
        }
    });
}

/// QEMU says where it is.
#[test]
fn qemu_over_a_terminal() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let setup = setup.monitor(Monitor::Unix);
        let terminal = ["-chardev", "pty,id=terminal", "-mon", "chardev=terminal,mode=control"];
        let mut server = setup.args(terminal).start();
        let beside = wait!(patient().connect(server.address())).unwrap();
        let devices: Vec<Value> = wait!(beside.query("chardev")).unwrap().parse().unwrap();
        let terminal = devices.iter().find(|device| device["label"] == "terminal").unwrap();
        let address = terminal["filename"].as_str().unwrap();
        assert!(address.starts_with("pty:/dev/"), "{address}");
        let (client, mut events) = wait!(patient().connect_with_events(address)).unwrap();
        start_and_stop(&client, &mut events).await;
        // What QEMU writes last may go down with the terminal.
        let quit = wait!(client.execute(&Quit)).map(|_| ());
        assert!(matches!(quit, Ok(()) | Err(Error::Unanswered(CloseReason::Quit))), "{quit:?}");
        assert_eq!(wait!(client.closed()), CloseReason::Quit);
        assert!(server.wait().success());
    });
}

#[test]
fn qemu_as_a_child() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let command = Command::from(setup.into_command());
        let (client, events, child) = wait!(patient().spawn_with_events(command)).unwrap();
        session((client, events)).await;
        assert!(ended(child).await.success());
    });
}

#[test]
fn qemu_as_a_child_of_the_short_function() {
    tell(async {
        let Some(program) = find("qemu-system-x86_64") else { return };
        let mut command = Command::new(program);
        command.args(["-machine", "none", "-nodefaults", "-display", "none", "-S"]);
        let (client, child) = wait!(qmp::spawn(command)).unwrap();
        let events = client.events();
        session((client, events)).await;
        assert!(ended(child).await.success());
    });
}

#[test]
fn c20_a_program_that_does_not_start_or_ends_at_once_is_told_apart() {
    tell(async {
        let error = wait!(qmp::spawn(Command::new("/nonexistent/qemu"))).unwrap_err();
        assert!(matches!(error, ConnectError::NotStarted { .. }), "{error}");
        let Some(setup) = Setup::bare() else { return };
        let mut command = Command::from(setup.args(["-no-such-option"]).into_command());
        command.stderr(Stdio::null());
        let error = wait!(patient().spawn(command)).unwrap_err();
        let ConnectError::Exited { status, stderr } = error else { panic!("{error}") };
        assert_eq!((status.code(), &*stderr), (Some(1), ""));
    });
}
