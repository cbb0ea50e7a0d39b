//! Python's `qemu.qmp` and its `qmp-shell` against servers of ours: the embedded machine, and the
//! example `share` in front of a real QEMU.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use qmp_server::Machine;
use qmp_server::net::Server as MachineServer;
use qmp_tests::example::Example;
use qmp_tests::python::Python;
use qmp_tests::qemu::{Monitor, Server, Setup, within};
use tempfile::TempDir;

/// The embedded machine at a socket.
struct Embedded {
    python: Python,
    // In this order: the server ends before its folder goes.
    server: MachineServer,
    folder: TempDir,
}

impl Embedded {
    fn start() -> Option<Self> {
        let (python, folder) = (Python::find()?, tempfile::tempdir().unwrap());
        let mut machine = Machine::new();
        // What the session executes out-of-band.
        machine.on_out_of_band("query-yank", |_, _| Ok([(); 0]));
        let server = MachineServer::bind(folder.path().join("qmp.sock"), machine).unwrap();
        Some(Self { python, server, folder })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("qmp.sock")
    }

    /// Ends the machine in one of the client's ways, and waits until it has.
    fn quit(quit: fn(&Python, &Path)) {
        let Some(embedded) = Self::start() else { return };
        quit(&embedded.python, &embedded.socket());
        let Self { server, .. } = embedded;
        within(move || server.wait()).unwrap();
    }
}

/// A QEMU with one monitor, shared at another socket.
struct Shared {
    python: Python,
    // In this order: the example goes before its QEMU.
    share: Example,
    qemu: Server,
    socket: PathBuf,
}

impl Shared {
    fn start() -> Option<Self> {
        let setup = Setup::q35()?.monitor(Monitor::Unix);
        let (python, qemu) = (Python::find()?, setup.start());
        let socket = qemu.folder().join("shared");
        let share = Example::share(qemu.address(), &socket);
        Some(Self { python, share, qemu, socket })
    }

    fn sockets(&self) -> [&Path; 2] {
        [&self.socket; 2]
    }

    /// Ends QEMU in one of the client's ways, and waits until it and `share` are gone.
    fn quit(quit: fn(&Python, [&Path; 2])) {
        let Some(mut shared) = Self::start() else { return };
        quit(&shared.python, shared.sockets());
        assert!(shared.qemu.wait().success());
        let (_, status) = shared.share.end();
        assert!(status.success());
    }
}

#[test]
fn python_drives_the_embedded_machine() {
    let Some(embedded) = Embedded::start() else { return };
    embedded.python.drives(&embedded.socket());
    embedded.python.session(&embedded.socket(), &["greeting oob", "oob enabled"]);
}

#[test]
fn python_sessions_and_shells_quit_the_embedded_machine() {
    Embedded::quit(|python, socket| python.session(socket, &["quit host-qmp-quit"]));
    Embedded::quit(Python::legacy_quits);
    Embedded::quit(Python::shell_quits);
}

#[test]
fn python_drives_qemu_through_share() {
    let Some(shared) = Shared::start() else { return };
    shared.python.drives_everything(&shared.socket);
}

#[test]
fn two_python_sessions_at_once_through_share() {
    let Some(shared) = Shared::start() else { return };
    shared.python.pair(shared.sockets());
    shared.python.converse_together(shared.sockets());
}

#[test]
fn python_sessions_and_shells_quit_qemu_through_share() {
    Shared::quit(|python, [socket, _]| python.session(socket, &["quit host-qmp-quit"]));
    Shared::quit(|python, [socket, _]| python.legacy_quits(socket));
    Shared::quit(|python, [socket, _]| python.shell_quits(socket));
    Shared::quit(Python::pair_quits);
}
