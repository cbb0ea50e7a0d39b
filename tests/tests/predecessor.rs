//! The predecessor's interface against real QEMU: the example, and a session with callbacks over each
//! way to a socket that the predecessor's README lists.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use qmp_blocking::commands::{Cont, QueryStatus, Quit, RunState, Stop};
use qmp_blocking::{Client, CloseReason, Empty, Error, ErrorClass, Pool, Raw, Request, scope};
use qmp_server::Machine;
use qmp_server::net::Server as MachineServer;
use qmp_tests::calls::Calls;
use qmp_tests::example::Example;
use qmp_tests::qemu::{DEADLINE, Monitor, Server, Setup, closed, patient};
use serde_json::{Value, json};

/// The lines that begin with a word, without it.
fn told<'a>(lines: &'a [String], word: &str) -> Vec<&'a str> {
    lines.iter().filter_map(|line| line.strip_prefix(word)).map(str::trim).collect()
}

#[track_caller]
fn check(example: Example) -> Vec<String> {
    let (lines, status) = example.end();
    assert!(status.success(), "{lines:?}");
    let status: Value = serde_json::from_str(told(&lines, "status")[0]).unwrap();
    assert_eq!(status["status"], "prelaunch");
    let block: Value = serde_json::from_str(told(&lines, "block")[0]).unwrap();
    assert_eq!(block[0]["device"], "ide1-cd0");
    assert_eq!(told(&lines, "eject"), ["{}"]);
    let events = told(&lines, "event");
    assert_eq!(events, ["DEVICE_TRAY_MOVED", "RESUME", "STOP", "SHUTDOWN"]);
    assert_eq!(told(&lines, "stop "), ["true"]);
    assert_eq!(lines.iter().filter(|line| *line == "stopped").count(), 1);
    assert_eq!(told(&lines, "the end"), ["closed after quit"]);
    // What was waited for has been told by then.
    let waited = lines.iter().position(|line| line == "waited").unwrap();
    let before = &lines[..waited];
    assert_eq!(told(before, "event"), ["DEVICE_TRAY_MOVED", "RESUME", "STOP"]);
    assert_eq!(told(before, "stop ").len() + told(before, "stopped").len(), 2);
    lines
}

#[test]
fn the_example_starts_a_qemu() {
    if Setup::pc_with_cd().is_none() {
        return;
    }
    let lines = check(Example::start("predecessor", &[]));
    assert_eq!(told(&lines, "QEMU"), ["exit status: 0"]);
}

#[test]
fn the_example_drives_the_qemu_at_an_address() {
    let Some(setup) = Setup::pc_with_cd() else { return };
    let mut server = setup.monitor(Monitor::Tcp).start();
    check(Example::start("predecessor", &[&server.address().to_string()]));
    assert!(server.wait().success());
}

#[test]
fn the_example_drives_the_embedded_machine() {
    let mut machine = Machine::new();
    machine.on("query-block", |_, _| Ok(json!([{"device": "ide1-cd0", "removable": true}])));
    machine.on("eject", |vm, arguments| {
        let arguments: Value = arguments.parse()?;
        assert_eq!(arguments, json!({"device": "ide1-cd0"}));
        let moved = json!({"device": "ide1-cd0", "id": "/machine/cd", "tray-open": true});
        vm.event("DEVICE_TRAY_MOVED", Some(&moved));
        Ok(Empty {})
    });
    let server = MachineServer::bind("tcp:127.0.0.1:0", machine).unwrap();
    check(Example::start("predecessor", &[&server.address().to_string()]));
    server.wait().unwrap();
}

/// What the predecessor can do, once.
fn session(api: &Client, server: &mut Server) {
    let (callback, events) = Calls::new();
    let all = callback.clone();
    api.on_any_event(move |event| all(format!("any {}", event.name()))).detach();
    let (callback, stops) = Calls::new();
    let stop = api.on_event("STOP", move |event| callback(event.name().to_owned()));

    let status: Value = api.query("status").unwrap().parse().unwrap();
    assert_eq!(status["running"], false);
    let (callback, blocks) = Calls::new();
    api.query_then("block", callback).unwrap();
    let (callback, outcomes) = Calls::new();
    for device in ["ide1-cd0", "nonsense"] {
        let eject = Request::new("eject").arguments(json!({ "device": device }));
        api.submit_request(eject, callback.clone()).unwrap();
    }
    api.submit(&Cont, drop).unwrap();
    api.submit(&Stop, drop).unwrap();
    api.wait_idle(DEADLINE).unwrap();

    let blocks: Value = blocks.next().unwrap().parse().unwrap();
    assert_eq!(blocks[0]["device"], "ide1-cd0");
    let mut outcomes = outcomes.take(2);
    outcomes.sort_by_key(Result::is_err);
    assert_eq!(outcomes[0].as_ref().map(Raw::as_str), Ok(Ok("{}")));
    let Err(Error::Command(error)) = &outcomes[1] else { panic!("there is no such device") };
    assert_eq!(error.class, ErrorClass::DeviceNotFound);
    assert_eq!(events.take(3), ["any DEVICE_TRAY_MOVED", "any RESUME", "any STOP"]);
    assert_eq!(stops.next(), "STOP");
    drop(stop);
    stops.over();

    api.submit(&Quit, drop).unwrap();
    assert_eq!(closed(api), CloseReason::Quit);
    api.wait_idle(DEADLINE).unwrap();
    assert_eq!(events.next(), "any SHUTDOWN");
    assert!(server.wait().success());
}

fn session_over(monitor: Monitor) {
    let Some(setup) = Setup::pc_with_cd() else { return };
    let mut server = setup.monitor(monitor).start();
    let client = server.connect();
    session(&client, &mut server);
}

#[test]
fn callbacks_over_tcp() {
    session_over(Monitor::Tcp);
}

#[test]
fn callbacks_over_unix() {
    session_over(Monitor::Unix);
}

#[test]
fn callbacks_over_pipe() {
    session_over(Monitor::Pipe);
}

#[test]
fn callbacks_over_stdio() {
    let Some(setup) = Setup::pc_with_cd() else { return };
    let mut setup = setup.args(["-qmp", "stdio"]);
    setup.command().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = setup.start_at_once();
    let (reader, writer) = (server.child().stdout.take(), server.child().stdin.take());
    let client = patient().from_io(reader.unwrap(), writer.unwrap()).unwrap();
    session(&client, &mut server);
}

/// The second example of the predecessor's: a client that is made first and given to a thread.
#[test]
fn a_client_is_given_to_another_thread() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    let moved = thread::spawn(move || {
        client.execute(&Cont).unwrap();
        client
    });
    let client = moved.join().unwrap();
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Running);
}

/// The third: threads that share one, inside a scope.
#[test]
fn threads_share_the_client_of_a_scope() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let names = Arc::new(Mutex::new(Vec::new()));
    let kept = scope(server.address().clone(), |api| {
        let threads: Vec<_> = ["version", "status", "name", "commands"]
            .into_iter()
            .map(|name| {
                let (api, names) = (api.clone(), names.clone());
                thread::spawn(move || {
                    let told = move |outcome: Result<Raw, Error>| {
                        outcome.unwrap();
                        names.lock().unwrap().push(name);
                    };
                    api.query_then(name, told).unwrap();
                    api.query(name).unwrap();
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        api.clone()
    })
    .unwrap();
    assert_eq!(kept.close_reason(), Some(CloseReason::Requested));
    assert_eq!(names.lock().unwrap().len(), 4);
    // The next client is served.
    assert!(server.connect().execute(&QueryStatus).is_ok());
}

#[test]
fn one_pool_serves_several_machines() {
    let Some(first) = Setup::bare() else { return };
    let builder = patient().callback_pool(Pool::threads(2));
    let mut machines = Vec::new();
    for setup in [Some(first), Setup::bare(), Setup::bare()].into_iter().flatten() {
        let (client, _, server) = setup.spawn(&builder);
        machines.push((client, server));
    }
    let (callback, heard) = Calls::new();
    for (number, (client, _)) in machines.iter().enumerate() {
        let callback = callback.clone();
        client.on_event("RESUME", move |_| callback(number)).detach();
        client.submit(&Cont, drop).unwrap();
    }
    for (client, _) in &machines {
        client.wait_idle(DEADLINE).unwrap();
    }
    let mut heard = heard.take(3);
    heard.sort();
    assert_eq!(heard, [0, 1, 2]);
}

#[test]
fn what_the_server_offers_is_known() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = patient().refuse_unknown(true).connect(server.address().clone()).unwrap();
    assert_eq!(client.supports("blockdev-add"), Ok(true));
    assert_eq!(client.supports("blockdev-ad"), Ok(false));
    let unknown = Err(Error::UnknownCommand("blockdev-ad".to_owned()));
    assert_eq!(client.execute_request(Request::new("blockdev-ad")), unknown);
    assert!(client.query("status").is_ok());
    let Some(setup) = Setup::storage_daemon() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let daemon = server.connect();
    assert_eq!(daemon.supports("blockdev-add"), Ok(true));
    assert_eq!(daemon.supports("system_reset"), Ok(false));
}
