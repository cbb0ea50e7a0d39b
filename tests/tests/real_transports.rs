//! A QEMU that connects to us, its standard streams, and two monitors of one machine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use qmp_blocking::commands::{Cont, QueryStatus, Quit, RunState, Stop};
use qmp_blocking::{Address, Client, CloseReason, Events, connect_tcp, connect_unix};
use qmp_tests::qemu::{Monitor, Server, Setup, closed, next_event, patient, within};

/// Commands, events, and the end.
fn session(client: &Client, server: &mut Server) {
    let mut events = client.events();
    start_and_stop(client, &mut events);
    client.execute(&Quit).unwrap();
    assert_eq!(next_event(&mut events).name(), "SHUTDOWN");
    assert!(within(move || events.next()).is_none());
    assert_eq!(closed(client), CloseReason::Quit);
    assert!(server.wait().success());
}

fn start_and_stop(client: &Client, events: &mut Events) {
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Prelaunch);
    client.execute(&Cont).unwrap();
    assert_eq!(next_event(events).name(), "RESUME");
    client.execute(&Stop).unwrap();
    assert_eq!(next_event(events).name(), "STOP");
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Paused);
}

#[test]
fn standard_streams_of_a_child() {
    let Some(setup) = Setup::bare() else { return };
    let mut setup = setup.args(["-qmp", "stdio"]);
    setup.command().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = setup.start_at_once();
    let (reader, writer) = (server.child().stdout.take(), server.child().stdin.take());
    let client = patient().from_io(reader.unwrap(), writer.unwrap()).unwrap();
    session(&client, &mut server);
}

#[test]
fn qemu_connects_to_us_over_unix() {
    let Some(setup) = Setup::bare() else { return };
    let path = setup.folder().join("listening");
    let listener = UnixListener::bind(&path).unwrap();
    let mut server = setup.args(["-qmp", &format!("unix:{}", path.display())]).start();
    let (stream, _) = within(move || listener.accept()).unwrap();
    let client = patient().from_stream(stream).unwrap();
    session(&client, &mut server);
}

#[test]
fn qemu_connects_to_us_over_tcp() {
    let Some(setup) = Setup::bare() else { return };
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = setup.args(["-qmp", &format!("tcp:{address}")]).start();
    let (stream, _) = within(move || listener.accept()).unwrap();
    let client = patient().from_stream(stream).unwrap();
    session(&client, &mut server);
}

#[test]
fn the_short_functions() {
    let Some(setup) = Setup::bare() else { return };
    let setup = setup.monitor(Monitor::Unix).monitor(Monitor::Tcp);
    let mut server = setup.start();
    let [Address::Unix(path), Address::Tcp { host, port }] = server.addresses() else {
        unreachable!()
    };
    let over_unix = connect_unix(path).unwrap();
    let over_tcp = connect_tcp(host, *port).unwrap();
    // Both monitors tell the same events, whoever caused them.
    let mut events = over_tcp.events();
    start_and_stop(&over_unix, &mut events);
    session_ends_for_both(&over_unix, &over_tcp, &mut server);
}

fn session_ends_for_both(quits: &Client, looks_on: &Client, server: &mut Server) {
    quits.execute(&Quit).unwrap();
    assert_eq!(closed(quits), CloseReason::Quit);
    assert_eq!(closed(looks_on), CloseReason::Eof { mid_message: false });
    assert!(server.wait().success());
}
