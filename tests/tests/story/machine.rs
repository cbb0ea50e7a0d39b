//! The embedded machine as the server, and sessions that are recorded.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use qmp_server::Machine;
use qmp_server::net::{Server, connect_machine, replay};
use qmp_tests::qemu::{DEADLINE, within};
use qmp_tests::scripted::Script;
use serde::Deserialize;

use super::qmp::commands::{Cont, Getfd, QueryStatus, QueryVersion, Quit, RunState};
use super::qmp::trace::{Direction, Redaction, Trace};
use super::qmp::{
    Address, Builder, Client, CloseReason, CommandError, Empty, Error, ErrorClass, Event, Raw,
    Recording, Request, Timestamp, TypedEvent, Version,
};
use super::runtime::tell;
use super::{names_of, next_event, patient, qmp, run};

fn machine() -> Machine<OwnedFd> {
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
        None => Err(CommandError::generic("there is none")),
    });
    machine.on("set_password", |_, _| Ok(Empty {}));
    machine
}

/// An event of one's own.
#[derive(Debug, PartialEq, Deserialize)]
struct LidOpened {
    angle: u32,
}

impl TypedEvent for LidOpened {
    const NAME: &'static str = "LID_OPENED";
}

#[test]
fn the_whole_story_with_the_embedded_machine() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::bind(folder.path().join("qmp.sock"), machine()).unwrap();
        let builder = patient().oob(true);
        let (client, mut events) = wait!(builder.connect_with_events(server.address())).unwrap();
        assert_eq!(wait!(client.execute(&QueryVersion)).unwrap(), Version::new(9, 1, 2));
        assert_eq!(wait!(client.execute(&QueryStatus)).unwrap().status, RunState::Prelaunch);
        let status = wait!(client.execute_request(Request::new("query-status"))).unwrap();
        assert_eq!(status.as_str(), Ok(r#"{"status": "prelaunch", "running": false}"#));
        let resumed = |event: &Event| event.name() == "RESUME";
        let (Empty {}, event) = wait!(client.execute_until(&Cont, resumed)).unwrap();
        assert_eq!(event.name(), "RESUME");
        assert_eq!(next_event(&mut events).await.name(), "RESUME");

        let Err(Error::Command(error)) = run(&client, "nonsense").await else { panic!() };
        assert_eq!(error.class, ErrorClass::CommandNotFound);
        wait!(client.execute_request(Request::new("yank").out_of_band())).unwrap();
        assert_eq!(next_event(&mut events).await.name(), "YANKED");

        let (reader, writer) = rustix::pipe::pipe().unwrap();
        wait!(client.execute_with_fd(&Getfd { fdname: "f" }, writer)).unwrap();
        let mut written = String::new();
        File::from(reader).read_to_string(&mut written).unwrap();
        assert_eq!(written, "taken");

        let at = Timestamp { seconds: 5, microseconds: 6 };
        let data = Raw::new(&serde_json::json!({ "angle": 90, "later": [] })).unwrap();
        assert!(server.event(&Event::new("LID_OPENED", Some(&data), at)));
        let event = next_event(&mut events).await;
        assert_eq!(event.timestamp(), Some(at));
        assert_eq!(event.parse_as::<LidOpened>(), Some(Ok(LidOpened { angle: 90 })));

        wait!(client.execute(&Quit)).unwrap();
        assert_eq!(wait!(client.closed()), CloseReason::Quit);
        assert_eq!(names_of(events).await, ["SHUTDOWN"]);
        within(|| server.wait()).unwrap();
    });
}

#[test]
fn the_embedded_machine_at_each_kind_of_address() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp.sock");
        let shown = path.display();
        for address in
            ["tcp::0".to_owned(), format!("unix:{shown}"), format!("unix:{shown},abstract=on")]
        {
            let server = Server::bind(&address, machine()).unwrap();
            for _ in 0..3 {
                // Each comes as soon as the one before has gone.
                let client = wait!(patient().connect(server.address())).unwrap();
                wait!(client.execute(&Cont)).unwrap();
            }
            let client = match server.address() {
                Address::Tcp { host, port } => wait!(qmp::connect_tcp(host, *port)),
                Address::Unix(path) => wait!(qmp::connect_unix(path)),
                other => wait!(qmp::connect(other)),
            };
            wait!(client.unwrap().execute(&Quit)).unwrap();
            within(|| server.wait()).unwrap();
        }
    });
}

#[test]
fn c17_a_machine_that_goes_away_is_noticed() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::bind(folder.path().join("qmp.sock"), machine()).unwrap();
        let client = wait!(patient().connect(server.address())).unwrap();
        let events = client.events();
        within(|| drop(server));
        assert_eq!(wait!(client.closed()), CloseReason::Eof { mid_message: false });
        assert!(names_of(events).await.is_empty());
    });
}

/// What is recorded, and done again when it is replayed.
async fn program(client: Client) {
    assert!(!wait!(client.execute(&QueryStatus)).unwrap().running);
    let resumed = |event: &Event| event.name() == "RESUME";
    wait!(client.execute_until(&Cont, resumed)).unwrap();
    let secret = serde_json::json!({ "protocol": "vnc", "password": "s3cret" });
    let set_password = Request::new("set_password").arguments(secret);
    wait!(client.execute_request(set_password)).unwrap();
    assert!(run(&client, "nonsense").await.is_err());
    wait!(client.close(DEADLINE)).unwrap();
}

#[test]
fn c21_a_session_is_recorded_and_replays() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.trace");
        for redacted in [false, true] {
            let recording = Recording::new(File::create(&path).unwrap());
            let recording =
                if redacted { recording.redacted(Redaction::default()) } else { recording };
            let socket = connect_machine(machine()).unwrap();
            let builder = Builder::new().record(recording);
            program(wait!(builder.from_stream(socket)).unwrap()).await;

            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text.contains("s3cret"), !redacted, "{text}");
            let trace: Trace = text.parse().unwrap();
            assert_eq!(trace.is_redacted(), redacted);
            let directions: String = trace
                .entries()
                .iter()
                .map(|entry| if entry.direction() == Direction::ToServer { '>' } else { '<' })
                .collect();
            assert_eq!(directions, "<><><><<><><>", "{text}");
            replays(trace).await;
        }
    });
}

async fn replays(trace: Trace) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = Script::start(move || replay(theirs, trace).unwrap());
    program(wait!(patient().from_stream(ours)).unwrap()).await;
    server.join();
}
