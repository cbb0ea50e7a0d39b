//! Python's `qemu.qmp` and its `qmp-shell` against QEMU: what they find there, they have to find at
//! servers of ours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::path::Path;

use qmp_blocking::Address;
use qmp_tests::python::Python;
use qmp_tests::qemu::{Monitor, Server, Setup};
use serde_json::json;

/// The client, and QEMU with two monitors, since each serves one client.
fn start() -> Option<(Python, Server)> {
    let setup = Setup::q35()?.monitor(Monitor::Unix).monitor(Monitor::Unix);
    Some((Python::find()?, setup.start()))
}

fn sockets(server: &Server) -> [&Path; 2] {
    let path = |at: usize| match &server.addresses()[at] {
        Address::Unix(path) => path.as_path(),
        other => panic!("{other:?}"),
    };
    [path(0), path(1)]
}

#[test]
fn python_drives_qemu() {
    let Some((python, server)) = start() else { return };
    python.drives_everything(sockets(&server)[0]);
}

#[test]
fn two_python_sessions_at_once() {
    let Some((python, server)) = start() else { return };
    python.pair(sockets(&server));
    python.converse_together(sockets(&server));
}

/// Ends QEMU in one of the client's ways, and waits until it is gone.
fn quit(quit: fn(&Python, [&Path; 2])) {
    let Some((python, mut server)) = start() else { return };
    quit(&python, sockets(&server));
    assert!(server.wait().success());
}

#[test]
fn a_python_session_quits() {
    quit(|python, [socket, _]| python.session(socket, &["quit host-qmp-quit"]));
}

#[test]
fn a_synchronous_python_session_quits() {
    quit(|python, [socket, _]| python.legacy_quits(socket));
}

#[test]
fn a_qmp_shell_quits() {
    quit(|python, [socket, _]| python.shell_quits(socket));
}

#[test]
fn one_of_two_python_sessions_quits() {
    quit(Python::pair_quits);
}

#[test]
fn a_verbose_qmp_shell_shows_what_it_sends() {
    let Some((python, server)) = start() else { return };
    let [socket, _] = sockets(&server);
    for options in [&["-v"][..], &["-v", "-p"]] {
        let mut shell = python.shell(socket, options);
        let [sent, reply] = shell.exchange("query-status");
        assert_eq!(sent, json!({"execute": "query-status", "arguments": {}}));
        assert_eq!(reply["return"]["status"], "prelaunch");
        shell.leave();
    }
}

#[test]
fn a_qmp_shell_passes_commands_for_people_through() {
    let Some((python, server)) = start() else { return };
    let mut shell = python.shell(sockets(&server)[0], &["-H"]);
    assert!(shell.say("info status").contains("VM status: paused"));
    shell.leave();
}
