//! The server for tests and examples: a machine behind a listener, and our client before it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use qmp_blocking::commands::{Cont, Getfd, QueryStatus, QueryVersion, Quit, RunState, Stop};
use qmp_blocking::{
    Address, Builder, Client, CloseReason, ConnectError, Empty, Error, ErrorClass, Event, Events,
    Raw, Request, Timestamp, Version,
};
use qmp_server::Machine;
use qmp_server::net::{Listener, Server, connect_machine};
use qmp_tests::qemu::{closed, next_event, patient, within};
use qmp_tests::scripted::{PATIENCE, run};
use tempfile::TempDir;

const SHORT: Duration = Duration::from_millis(50);

/// A server in a folder of its own.
fn serve(machine: Machine<OwnedFd>) -> (Server, PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    (Server::bind(&path, machine).unwrap(), path, folder)
}

fn connect(server: &Server) -> (Client, Events) {
    patient().connect_with_events(server.address()).unwrap()
}

fn an_event() -> Event {
    let data = Raw::new(&serde_json::json!({"device": "net0"})).unwrap();
    Event::new("ODD", Some(&data), Timestamp { seconds: 5, microseconds: 6 })
}

#[test]
fn the_whole_story() {
    let mut machine = Machine::new();
    machine.set_version(Version::new(9, 1, 2));
    machine.on_out_of_band("yank", |vm, _| {
        vm.event::<Empty>("YANKED", None);
        Ok(Empty {})
    });
    machine.on("getfd", |vm, _| match vm.take_descriptor() {
        Some(descriptor) => {
            File::from(descriptor).write_all(b"taken").unwrap();
            Ok(Empty {})
        }
        None => Err(qmp_blocking::CommandError::generic("there is none")),
    });
    let (server, path, _folder) = serve(machine);
    let (client, mut events) =
        patient().oob(true).connect_with_events(path.to_str().unwrap()).unwrap();

    assert_eq!(client.greeting().capabilities, ["oob"]);
    assert_eq!(client.execute(&QueryVersion).unwrap().qemu.major, 9);
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Prelaunch);
    client.execute(&Cont).unwrap();
    let resumed = next_event(&mut events);
    assert_eq!(resumed.name(), "RESUME");
    assert!(resumed.timestamp().unwrap().seconds > 1_600_000_000, "it is a time of today");

    let Err(Error::Command(error)) = run(&client, "nonsense") else { panic!() };
    assert_eq!(error.class, ErrorClass::CommandNotFound);
    client.execute_request(Request::new("yank").out_of_band()).unwrap();
    assert_eq!(next_event(&mut events).name(), "YANKED");

    let (mut reader, writer) = rustix::pipe::pipe().map(|(r, w)| (File::from(r), w)).unwrap();
    assert!(matches!(client.execute(&Getfd { fdname: "f" }), Err(Error::Command(_))));
    client.execute_with_fd(&Getfd { fdname: "f" }, writer).unwrap();
    let mut written = String::new();
    reader.read_to_string(&mut written).unwrap();
    assert_eq!(written, "taken");

    assert!(server.event(&an_event()));
    let event = next_event(&mut events);
    assert_eq!((event.name(), event.timestamp()), ("ODD", an_event().timestamp()));
    assert_eq!(event.data().unwrap().as_str().unwrap(), r#"{"device": "net0"}"#);

    client.execute(&Quit).unwrap();
    assert_eq!(next_event(&mut events).name(), "SHUTDOWN");
    assert_eq!(closed(&client), CloseReason::Quit);
    within(|| server.wait()).unwrap();
    assert!(!path.exists(), "the file is gone with the server");
}

/// From within a command's function, and from elsewhere while it runs.
#[test]
fn an_event_does_not_wait_for_a_command() {
    let (running, is_running) = mpsc::channel();
    let (told, go_on) = mpsc::channel();
    let its_server = Arc::new(OnceLock::<Server>::new());
    let within_it = Arc::downgrade(&its_server);
    let mut machine = Machine::new();
    machine.on("tell", move |_, _| {
        let server = within_it.upgrade().unwrap();
        assert!(server.get().unwrap().event(&an_event()));
        running.send(()).unwrap();
        go_on.recv_timeout(PATIENCE).unwrap();
        Ok(Empty {})
    });
    let folder = tempfile::tempdir().unwrap();
    its_server.set(Server::bind(folder.path().join("qmp.sock"), machine).unwrap()).unwrap();
    let server = its_server.get().unwrap();
    let (client, mut events) = connect(server);
    let executing = thread::spawn(move || run(&client, "tell").map(|_| client));
    assert_eq!(next_event(&mut events).name(), "ODD");
    is_running.recv_timeout(PATIENCE).unwrap();
    let other = its_server.clone();
    assert!(within(move || other.get().unwrap().event(&an_event())));
    assert_eq!(next_event(&mut events).name(), "ODD", "and the command runs yet");
    told.send(()).unwrap();
    within(|| executing.join()).unwrap().unwrap();
}

#[test]
fn a_client_that_comes_back_finds_the_machine_as_it_was() {
    let (server, _path, _folder) = serve(Machine::new());
    let (client, _) = connect(&server);
    client.execute(&Cont).unwrap();
    drop(client);
    // Nobody is there, so nobody is told, then or later.
    let (client, mut events) = connect(&server);
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Running);
    client.execute(&Stop).unwrap();
    assert_eq!(next_event(&mut events).name(), "STOP");
    assert_eq!(server.with_machine(|machine| machine.status().clone()), RunState::Paused);
}

#[test]
fn an_event_without_a_client_is_nobodys() {
    let (server, _path, _folder) = serve(Machine::new());
    assert!(!server.event(&an_event()));
    let (client, mut events) = connect(&server);
    client.execute(&Cont).unwrap();
    assert_eq!(next_event(&mut events).name(), "RESUME");
}

#[test]
fn commands_may_be_added_while_it_serves() {
    let (server, _path, _folder) = serve(Machine::new());
    let (client, _) = connect(&server);
    assert!(run(&client, "late").is_err());
    server.with_machine(|machine| {
        machine.on("late", |_, _| Ok(Empty {}));
    });
    run(&client, "late").unwrap();
}

#[test]
fn a_second_client_waits_for_its_turn() {
    let (server, _path, _folder) = serve(Machine::new());
    let (first, _) = connect(&server);
    let error = Builder::new().deadline(SHORT).connect(server.address()).unwrap_err();
    assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error:?}");
    let address = server.address().clone();
    let second = thread::spawn(move || patient().connect(address).unwrap());
    first.execute(&Cont).unwrap();
    drop(first);
    let second = within(|| second.join()).unwrap();
    assert_eq!(second.execute(&QueryStatus).unwrap().status, RunState::Running);
}

/// A client that has negotiated and reads nothing more, when it is sent more than it may be.
fn full(server: &Server) -> UnixStream {
    let Address::Unix(path) = server.address() else { panic!() };
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(br#"{"execute": "qmp_capabilities"}"#).unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"{\"return\": {}}\r\n") {
        let mut piece = [0; 100];
        let length = client.read(&mut piece).unwrap();
        assert!(length > 0);
        said.extend_from_slice(&piece[..length]);
    }
    let data = Raw::new(&"x".repeat(1000)).unwrap();
    let event = Event::new("FLOOD", Some(&data), Timestamp { seconds: 0, microseconds: 0 });
    let sent = (0..100_000).take_while(|_| server.event(&event)).count();
    assert!((1000..100_000).contains(&sent), "1 MiB and what the kernel keeps, not {sent}");
    client
}

#[test]
fn a_client_that_never_reads_hinders_nobody_once_it_has_left() {
    let (server, _path, _folder) = serve(Machine::new());
    let mut client = full(&server);
    // It is not read either, but that is still executed.
    client.write_all(br#"{"execute": "cont"}"#).unwrap();
    drop(client);
    let (client, _) = connect(&server);
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Running);
}

#[test]
fn dropped_it_ends_a_client_that_never_reads() {
    let (server, _path, _folder) = serve(Machine::new());
    let mut client = full(&server);
    within(|| drop(server));
    within(move || client.read_to_end(&mut Vec::new())).unwrap();
}

#[test]
fn dropped_it_ends_its_client_and_is_gone() {
    let (server, path, _folder) = serve(Machine::new());
    let (client, events) = connect(&server);
    within(|| drop(server));
    assert_eq!(closed(&client), CloseReason::Eof { mid_message: false });
    assert_eq!(events.count(), 0);
    assert!(!path.exists());
}

#[test]
fn dropped_without_a_client_it_is_gone() {
    let (server, path, _folder) = serve(Machine::new());
    within(|| drop(server));
    assert!(!path.exists());
}

#[test]
fn a_function_that_panics_ends_the_server() {
    let mut machine = Machine::new();
    machine.on("boom", |_, _| -> Result<Empty, _> { std::panic::resume_unwind(Box::new(())) });
    let (server, path, _folder) = serve(machine);
    let (client, _) = connect(&server);
    assert!(matches!(run(&client, "boom"), Err(Error::Unanswered(_))));
    assert!(within(|| server.wait()).unwrap_err().to_string().contains("panicked"));
    assert!(!path.exists());
}

#[test]
fn a_socket_file_that_was_left_behind_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    drop(UnixListener::bind(&path).unwrap());
    let server = Server::bind(&path, Machine::new()).unwrap();
    connect(&server).0.execute(&Cont).unwrap();

    let error = Server::bind(&path, Machine::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    connect(&server).0.execute(&Cont).unwrap();
}

/// Somebody may have taken the place meanwhile.
#[test]
fn another_servers_socket_file_stays() {
    let (server, path, _folder) = serve(Machine::new());
    fs::remove_file(&path).unwrap();
    let other = Server::bind(&path, Machine::new()).unwrap();
    within(|| drop(server));
    connect(&other).0.execute(&Cont).unwrap();
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter");
    fs::write(&path, "dear").unwrap();
    let error = Listener::bind(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(fs::read(&path).unwrap(), b"dear");
}

#[test]
fn over_tcp_the_address_has_the_real_port() {
    for text in ["tcp:127.0.0.1:0", "tcp::0"] {
        let server = Server::bind(text, Machine::new()).unwrap();
        assert!(matches!(server.address(), Address::Tcp { port: 1.., .. }));
        let (client, _) = connect(&server);
        client.execute(&Quit).unwrap();
        within(|| server.wait()).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn at_an_abstract_name() {
    let text = format!("unix:qmp-serving-{},abstract=on", process::id());
    let server = Server::bind(&text, Machine::new()).unwrap();
    assert_eq!(server.address(), &text.parse().unwrap());
    connect(&server).0.execute(&Cont).unwrap();
}

#[test]
fn a_listener_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::new(Listener::from_socket(listener).unwrap(), Machine::new()).unwrap();
    assert_eq!(server.address(), &Address::from(&path));
    connect(&server).0.execute(&Quit).unwrap();
    within(|| server.wait()).unwrap();
    assert!(path.exists(), "the file is not the server's");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::new(Listener::from_socket(listener).unwrap(), Machine::new()).unwrap();
    connect(&server).0.execute(&Cont).unwrap();
}

#[test]
fn only_sockets_have_listeners() {
    for (text, kind) in [
        ("pipe:/nowhere", ErrorKind::Unsupported),
        ("stdio", ErrorKind::Unsupported),
        ("unix:/nonexistent/qmp.sock", ErrorKind::NotFound),
        ("nonsense", ErrorKind::InvalidInput),
    ] {
        assert_eq!(Listener::bind(text).unwrap_err().kind(), kind, "{text}");
    }
}

#[test]
fn without_an_address_the_machine_goes_with_its_client() {
    for quit in [false, true] {
        let (held, gone) = mpsc::channel::<()>();
        let mut machine = Machine::new();
        machine.on("held", move |_, _| {
            let _ = &held;
            Ok(Empty {})
        });
        let client = patient().from_stream(connect_machine(machine).unwrap()).unwrap();
        run(&client, "held").unwrap();
        if quit {
            client.execute(&Quit).unwrap();
        }
        drop(client);
        let end = gone.recv_timeout(PATIENCE);
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
