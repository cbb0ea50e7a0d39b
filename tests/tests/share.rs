//! The example `share`: several clients at one monitor, which serves one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use qmp_blocking::commands::{
    AddFd, Closefd, Cont, Getfd, QueryCommands, QueryFdsets, QueryStatus, QueryVersion, Quit,
    RunState, Stop,
};
use qmp_blocking::{
    Client, CloseReason, CommandError, Empty, Error, ErrorClass, Events, Raw, Request, Version,
};
use qmp_server::Machine;
use qmp_server::net;
use qmp_server::net::{Listener, Server as MachineServer};
use qmp_tests::example::Example;
use qmp_tests::out_of_band::{MigratePause, QueryYank, has_yank, is_unpausable};
use qmp_tests::qemu::{Block, Monitor, Server, Setup, closed, next_event, patient, within};
use qmp_tests::scripted::{PATIENCE, run};

struct Shared {
    // In this order: the example goes before its QEMU.
    share: Example,
    server: Server,
    socket: PathBuf,
}

fn shared() -> Option<Shared> {
    let server = Setup::bare()?.monitor(Monitor::Unix).start();
    let socket = server.folder().join("shared");
    Some(Shared { share: Example::share(server.address(), &socket), server, socket })
}

impl Shared {
    fn connect(&self) -> (Client, Events) {
        patient().oob(true).connect_with_events(&self.socket).unwrap()
    }
}

#[test]
fn everybody_gets_the_events() {
    let Some(shared) = shared() else { return };
    let ((first, mut events), (second, mut other_events)) = (shared.connect(), shared.connect());
    assert_eq!(first.execute(&QueryVersion), second.execute(&QueryVersion));
    assert_eq!(first.greeting().version, Some(first.execute(&QueryVersion).unwrap()));
    first.execute(&Cont).unwrap();
    second.execute(&Stop).unwrap();
    for events in [&mut events, &mut other_events] {
        assert_eq!(next_event(events).name(), "RESUME");
        assert_eq!(next_event(events).name(), "STOP");
    }
    assert_eq!(first.execute(&QueryStatus).unwrap().status, RunState::Paused);
}

#[test]
fn c13_replies_find_their_clients() {
    let Some(shared) = shared() else { return };
    thread::scope(|scope| {
        for number in 0..4 {
            let (client, _) = shared.connect();
            scope.spawn(move || {
                for count in 0..100 {
                    let name = format!("none-{number}-{count}");
                    let outcome = client.execute_request(Request::new(name.clone()));
                    let Err(Error::Command(error)) = outcome else { panic!("{outcome:?}") };
                    assert_eq!(error.class, ErrorClass::CommandNotFound);
                    // QEMU's text has the command's name in it.
                    assert!(error.desc.contains(&name), "{number}: {error}");
                }
            });
        }
    });
}

#[test]
fn c10_out_of_band_execution_passes_what_keeps_qemu_busy() {
    let Some(shared) = shared() else { return };
    let ((client, _), (other, _)) = (shared.connect(), shared.connect());
    assert_eq!(client.greeting().capabilities, ["oob"]);
    let has_yank = has_yank(&client.execute(&QueryCommands).unwrap());
    let busy = Block::new(&client, shared.server.folder());
    for client in [&client, &other] {
        if has_yank {
            let instances = client.execute_oob(&QueryYank).unwrap();
            assert!(instances.iter().any(|instance| instance["id"] == "monitor0"));
        } else {
            let outcome = client.execute_oob(&MigratePause);
            assert!(is_unpausable(&outcome), "{outcome:?}");
        }
    }
    busy.release().unwrap();
    let refused = client.execute_oob(&QueryStatus);
    assert!(matches!(refused, Err(Error::Command(_))), "{refused:?}");
}

#[test]
fn c11_descriptors_are_passed_on() {
    let Some(shared) = shared() else { return };
    let ((first, _), (second, _)) = (shared.connect(), shared.connect());
    let null = || File::open("/dev/null").unwrap();
    first.execute_with_fd(&Getfd { fdname: "f" }, null()).unwrap();
    second.execute(&Closefd { fdname: "f" }).unwrap();
    second.execute_with_fd(&AddFd::default(), null()).unwrap();
    assert_eq!(first.execute(&QueryFdsets).unwrap().len(), 1);
    let missing = first.execute(&Getfd { fdname: "g" });
    assert!(matches!(missing, Err(Error::Command(_))), "{missing:?}");
}

#[test]
fn the_servers_errors_are_passed_on_as_they_are() {
    let mut machine = Machine::new();
    machine.set_version(Version::new(9, 8, 7));
    machine.on("fail", |_, _| -> Result<Empty, _> {
        Err(CommandError::new(ErrorClass::Other("Odd".into()), "an \"odd\" one"))
    });
    machine.on("echo", |_, arguments: &Raw| Ok(arguments.clone()));
    let folder = tempfile::tempdir().unwrap();
    let server = MachineServer::bind(folder.path().join("qmp.sock"), machine).unwrap();
    let socket = folder.path().join("shared");
    let _share = Example::share(server.address(), &socket);
    let client = patient().connect(&socket).unwrap();
    assert_eq!(client.greeting().version, Some(Version::new(9, 8, 7)));
    let Err(Error::Command(error)) = run(&client, "fail") else { panic!() };
    assert_eq!((error.class.as_str(), &*error.desc), ("Odd", "an \"odd\" one"));
    let arguments = serde_json::json!({"a": [1, 2.5, null, {"b": "ü\n"}]});
    let echoed = client.execute_request(Request::new("echo").arguments(&arguments)).unwrap();
    assert_eq!(echoed.parse::<serde_json::Value>().unwrap(), arguments);
}

#[test]
fn a_client_that_dies_in_the_middle_of_a_command_harms_nobody() {
    let Some(shared) = shared() else { return };
    let ((dying, _), (other, mut events)) = (shared.connect(), shared.connect());
    let busy = Block::new(&dying, shared.server.folder());
    dying.close(Duration::ZERO).unwrap_err();
    let mut torn = UnixStream::connect(&shared.socket).unwrap();
    torn.write_all(br#"{"execute": "qmp_capabilities"}{"execute": "co"#).unwrap();
    drop(torn);
    let its = other.clone();
    let waiting = thread::spawn(move || its.execute(&Cont));
    let error = busy.release().unwrap_err();
    assert!(matches!(error, Error::Unanswered(_)), "{error:?}");
    within(|| waiting.join()).unwrap().unwrap();
    assert_eq!(next_event(&mut events).name(), "RESUME");
}

#[test]
fn c14_a_client_that_does_not_read_loses_its_own_events_alone() {
    const ROUNDS: usize = 300;
    let mut machine = Machine::new();
    machine.on("tell", |vm, _| {
        vm.event("TOLD", Some(&serde_json::json!({"text": "x".repeat(10_000)})));
        Ok(Empty {})
    });
    let folder = tempfile::tempdir().unwrap();
    let server = MachineServer::bind(folder.path().join("qmp.sock"), machine).unwrap();
    let socket = folder.path().join("shared");
    let share = Example::share(server.address(), &socket);

    let mut slow = UnixStream::connect(&socket).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    slow.write_all(br#"{"execute": "qmp_capabilities"}{"execute": "query-status"}"#).unwrap();
    let mut said = vec![0; 1 << 16];
    let mut length = 0;
    while !said[..length].windows(9).any(|text| text == b"prelaunch") {
        length += slow.read(&mut said[length..]).unwrap();
    }
    let (client, mut events) = patient().connect_with_events(&socket).unwrap();
    for _ in 0..ROUNDS {
        run(&client, "tell").unwrap();
        assert_eq!(next_event(&mut events).name(), "TOLD");
    }
    client.execute(&Quit).unwrap();
    // It is given time to read what was kept for it.
    within(move || {
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).unwrap();
        assert!(rest.len() > 1 << 20 && rest.ends_with(b"}\r\n"), "{} bytes", rest.len());
        let told = rest.windows(4).filter(|text| text == b"TOLD").count();
        assert!((1..ROUNDS).contains(&told), "{told} of them");
    });
    assert!(share.end().1.success());
}

/// A client needs two: one is left, and then none.
#[cfg(target_os = "linux")]
#[test]
fn without_descriptors_it_turns_clients_away_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = MachineServer::bind(folder.path().join("qmp.sock"), Machine::new()).unwrap();
    let socket = folder.path().join("shared");
    let share = Example::share(server.address(), &socket);
    let (first, _) = patient().connect_with_events(&socket).unwrap();

    share.limit_descriptors(1);
    let mut turned_away = UnixStream::connect(&socket).unwrap();
    turned_away.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = String::new();
    turned_away.read_to_string(&mut said).unwrap();
    assert!(said.contains("Too many open files"), "{said}");
    first.execute(&QueryStatus).unwrap();

    // This one has to wait, until the first has left.
    share.limit_descriptors(0);
    let waiting = thread::spawn({
        let socket = socket.clone();
        move || patient().connect(&socket).unwrap()
    });
    first.execute(&QueryStatus).unwrap();
    drop(first);
    let second = within(|| waiting.join()).unwrap();
    second.execute(&Quit).unwrap();
    assert!(share.end().1.success());
}

#[test]
fn a_listener_that_is_stopped_keeps_further_clients_out() {
    let machine = net::connect_machine(Machine::new()).unwrap();
    let upstream = patient().from_stream(machine).unwrap();
    let listener = Listener::bind("tcp:127.0.0.1:0").unwrap();
    let (address, stopper) = (listener.address().clone(), listener.stopper());
    let sharing = thread::spawn(move || net::share(upstream, &listener, drop));
    let first = patient().connect(address.clone()).unwrap();
    stopper.stop();
    patient().deadline(Duration::from_millis(50)).connect(address).unwrap_err();
    first.execute(&QueryStatus).unwrap();
    first.execute(&Quit).unwrap();
    let end = within(|| sharing.join()).unwrap().unwrap();
    assert_eq!(end, CloseReason::Quit);
}

/// QEMU offers it, but who did not ask for it cannot pass it on.
#[test]
fn what_the_client_has_not_enabled_is_not_offered() {
    for enabled in [false, true] {
        let machine = net::connect_machine(Machine::new()).unwrap();
        let upstream = patient().oob(enabled).from_stream(machine).unwrap();
        let listener = Listener::bind("tcp:127.0.0.1:0").unwrap();
        let address = listener.address().clone();
        let sharing = thread::spawn(move || net::share(upstream, &listener, drop));
        let client = patient().oob(true).connect(address).unwrap();
        assert_eq!(client.greeting().capabilities, if enabled { vec!["oob"] } else { vec![] });
        let refused = matches!(client.execute_oob(&QueryStatus), Err(Error::Refused(_)));
        assert_eq!(refused, !enabled);
        client.execute(&Quit).unwrap();
        within(|| sharing.join()).unwrap().unwrap();
    }
}

#[test]
fn c12_quit_ends_all_and_is_answered() {
    let Some(mut shared) = shared() else { return };
    let (other, events) = shared.connect();
    let mut quitting = UnixStream::connect(&shared.socket).unwrap();
    quitting.write_all(br#"{"execute": "qmp_capabilities"}{"execute": "quit", "id": 7}"#).unwrap();
    let said = within(move || {
        let mut said = String::new();
        quitting.read_to_string(&mut said).map(|_| said)
    });
    let said = said.unwrap();
    assert!(said.contains(r#"{"return": {}, "id": 7}"#) && said.contains("SHUTDOWN"), "{said}");

    let told: Vec<_> = within(|| events.map(|event| event.unwrap().name().to_owned()).collect());
    assert_eq!(told, ["SHUTDOWN"]);
    assert_eq!(closed(&other), CloseReason::Eof { mid_message: false });
    let (lines, status) = shared.share.end();
    assert!(status.success(), "{lines:?}");
    assert_eq!(lines, ["the end: closed after quit"]);
    assert!(shared.server.wait().success());
    assert!(!shared.socket.exists());
}

#[test]
fn c17_when_qemu_dies_everybody_learns_it() {
    let Some(shared) = shared() else { return };
    let ((first, _), (second, _)) = (shared.connect(), shared.connect());
    shared.server.signal(rustix::process::Signal::KILL);
    for client in [first, second] {
        assert!(matches!(closed(&client), CloseReason::Eof { .. }));
    }
    assert!(shared.share.end().1.success());
}
