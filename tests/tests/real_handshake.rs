//! The way to a connection that is ready for commands, with real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use qmp_blocking::commands::{QueryStatus, QueryVersion, RunState};
use qmp_blocking::{Builder, Client, ConnectError};
use qmp_proto::{CloseReason, NotQmp};
use qmp_tests::qemu::{Monitor, Setup, check_version, patient};
use std::time::Duration;

/// The greeting has been read, and commands are answered.
fn check(program: &str, client: &Client) {
    let greeting = client.greeting();
    assert_eq!(greeting.capabilities, ["oob"]);
    let version = client.execute(&QueryVersion).unwrap();
    assert_eq!(greeting.version.as_ref(), Some(&version));
    check_version(program, Some(&version));
}

fn check_machine(client: &Client) {
    check("qemu-system-x86_64", client);
    let status = client.execute(&QueryStatus).unwrap();
    assert_eq!((status.status, status.running), (RunState::Prelaunch, false));
}

#[test]
fn c9_over_unix_and_tcp_plain_and_pretty() {
    let Some(setup) = Setup::bare() else { return };
    let setup = setup.monitor(Monitor::Unix).monitor(Monitor::Tcp).pretty();
    let server = setup.monitor(Monitor::Unix).start();
    for address in server.addresses() {
        check_machine(&patient().connect(address).unwrap());
    }
}

#[test]
fn c9_pretty_over_tcp() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.pretty().monitor(Monitor::Tcp).start();
    check_machine(&server.connect());
}

#[test]
fn c9_all_of_them_with_oob() {
    let Some(setup) = Setup::bare() else { return };
    let setup = setup.monitor(Monitor::Unix).monitor(Monitor::Tcp).pretty();
    let server = setup.monitor(Monitor::Unix).start();
    for address in server.addresses() {
        check_machine(&patient().oob(true).connect(address).unwrap());
    }
}

#[test]
fn c9_storage_daemon_plain_and_pretty() {
    let Some(setup) = Setup::storage_daemon() else { return };
    let setup = setup.monitor(Monitor::Unix).monitor(Monitor::Tcp).pretty();
    let server = setup.monitor(Monitor::Unix).start();
    for address in server.addresses() {
        check("qemu-storage-daemon", &patient().connect(address).unwrap());
    }
}

#[test]
fn c9_each_client_of_a_monitor_is_greeted() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    for oob in [false, true, false, true] {
        check_machine(&patient().oob(oob).connect(server.address()).unwrap());
    }
}

#[test]
fn c7_telnet_is_named() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor_with(Monitor::Tcp, ",telnet=on").start();
    let error = patient().connect(server.address()).unwrap_err();
    assert!(
        matches!(error, ConnectError::Ended { reason: CloseReason::NotQmp(NotQmp::Telnet), .. }),
        "{error}"
    );
}

#[test]
fn c20_a_websocket_gives_no_greeting() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor_with(Monitor::Tcp, ",websocket=on").start();
    let builder = Builder::new().deadline(Duration::from_millis(300));
    let error = builder.connect(server.address()).unwrap_err();
    assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error}");
    assert!(error.to_string().contains("websocket=on"), "{error}");
}

#[test]
fn c20_a_program_that_ends_at_once_is_reported_so() {
    let Some(setup) = Setup::bare() else { return };
    let command = setup.args(["-no-such-option"]).into_command();
    let error = patient().spawn(command).unwrap_err();
    let ConnectError::Exited { status, stderr } = error else { panic!("{error}") };
    assert_eq!((status.code(), &*stderr), (Some(1), ""));
}
