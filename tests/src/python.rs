//! A QMP client that nobody here wrote: Python's `qemu.qmp`, and its `qmp-shell`.
//!
//! `scripts/install-python-client` installs them. Where they are missing, the test that asks for
//! them is left out or fails, as without QEMU. The scripts that they run are in `tests/python`.
//!
//! A server is anything at a Unix socket. What is shown of it here begins with a machine that is
//! stopped, and leaves it so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it fails the test that uses it")]

mod shell;

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;
use tempfile::TempDir;

use crate::qemu::{find, within};
pub use shell::Shell;

/// What a session shows of every server: a step of `session.py` each, and what it prints.
pub const EVERY_SERVER: [&str; 4] =
    ["handshake", "commands 200", "errors", "events RESUME STOP RESUME STOP"];

/// What a session shows of QEMU besides.
pub const QEMU: [&str; 4] = ["greeting oob", "oob enabled", "schema", "descriptor"];

const LEGACY: [&str; 4] = ["without-id", "with-id", "errors", "events"];
const PAIR: [&str; 5] = ["together 202", "both RESUME", "both STOP", "both RESUME", "alone"];

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python-client/bin");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

/// The client, installed.
#[derive(Debug)]
pub struct Python {
    /// Where `qmp-shell` leaves what was typed.
    home: TempDir,
}

impl Python {
    /// Finds it; where it is missing, says so or fails.
    pub fn find() -> Option<Self> {
        find(&program("qmp-shell"))?;
        Some(Self { home: tempfile::tempdir().expect("a temporary folder") })
    }

    /// Shows all that the client can do with QEMU, or with what stands between. It goes on after.
    #[track_caller]
    pub fn drives_everything(&self, socket: &Path) {
        self.drives(socket);
        self.session(socket, &QEMU);
    }

    /// Shows what the client can do with every server. It goes on after.
    #[track_caller]
    pub fn drives(&self, socket: &Path) {
        self.session(socket, &EVERY_SERVER);
        self.legacy(socket);
        self.converses(socket);
    }

    /// Takes the steps that these facts begin with, and expects the facts.
    #[track_caller]
    pub fn session(&self, socket: &Path, facts: &[&str]) {
        let steps = facts.iter().filter_map(|fact| fact.split(' ').next());
        let arguments = [socket.as_os_str()].into_iter().chain(steps.map(OsStr::new));
        assert_eq!(self.script("session", arguments), facts);
    }

    /// Uses the synchronous interface.
    #[track_caller]
    pub fn legacy(&self, socket: &Path) {
        assert_eq!(self.script("legacy", [socket]), LEGACY);
    }

    /// Uses the synchronous interface, and then ends the server.
    #[track_caller]
    pub fn legacy_quits(&self, socket: &Path) {
        let facts = self.script("legacy", [socket.as_os_str(), OsStr::new("quit")]);
        assert_eq!(facts, [&LEGACY[..], &["quit"]].concat());
    }

    /// Has two sessions at once. The sockets are one and the same, or monitors of one server.
    #[track_caller]
    pub fn pair(&self, sockets: [&Path; 2]) {
        assert_eq!(self.script("pair", sockets), PAIR);
    }

    /// Has two sessions at once, one of which then ends the server.
    #[track_caller]
    pub fn pair_quits(&self, sockets: [&Path; 2]) {
        let arguments = sockets.map(Path::as_os_str).into_iter().chain([OsStr::new("quit")]);
        assert_eq!(self.script("pair", arguments), [&PAIR[..], &["quit"]].concat());
    }

    /// Runs a script, which has to succeed. Gives the lines that it printed.
    #[track_caller]
    fn script(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Vec<String> {
        let mut command = self.command("python");
        // It leaves no compiled files beside the scripts.
        command.arg("-B").arg(format!("{SCRIPTS}/{name}.py")).args(arguments);
        let child = command.stdin(Stdio::null()).spawn().expect("it is installed");
        let _kill = Kill::new(&child);
        let output = finish(child);
        assert!(output.status.success(), "{name}.py: {}\n{}", output.status, errors(&output));
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        printed.lines().map(str::to_owned).collect()
    }

    /// Talks to the server as a person at `qmp-shell` does.
    #[track_caller]
    pub fn converses(&self, socket: &Path) {
        let mut shell = self.shell(socket, &[]);
        assert!(shell.banner().contains("\nConnected to QEMU "), "{}", shell.banner());
        assert_eq!(shell.reply("query-status")["return"]["running"], false);
        assert_eq!(shell.reply("cont"), json!({"return": {}}));
        shell.hears("RESUME");
        assert_eq!(shell.reply("query-status")["return"]["running"], true);
        assert_eq!(shell.reply("no-such-command")["error"]["class"], "CommandNotFound");
        let wrong = shell.reply("query-status no-such-argument={'a':[1,null]}");
        assert_eq!(wrong["error"]["class"], "GenericError");
        assert_eq!(shell.reply("stop"), json!({"return": {}}));
        shell.hears("STOP");
        shell.leave();
    }

    /// Talks to the server at two `qmp-shell`s at once. Each hears what the other does.
    #[track_caller]
    pub fn converse_together(&self, sockets: [&Path; 2]) {
        let [mut first, mut second] = sockets.map(|socket| self.shell(socket, &[]));
        assert_eq!(first.reply("cont"), json!({"return": {}}));
        second.hears("RESUME");
        assert_eq!(second.reply("query-status")["return"]["running"], true);
        assert_eq!(second.reply("stop"), json!({"return": {}}));
        assert_eq!(first.reply("no-such-command")["error"]["class"], "CommandNotFound");
        first.hears("RESUME");
        first.hears("STOP");
        first.leave();
        second.hears("STOP");
        assert_eq!(second.reply("query-status")["return"]["running"], false);
        second.leave();
    }

    /// Ends the server from a `qmp-shell`.
    #[track_caller]
    pub fn shell_quits(&self, socket: &Path) {
        let mut shell = self.shell(socket, &[]);
        assert_eq!(shell.reply("quit"), json!({"return": {}}));
        shell.hears("SHUTDOWN");
        shell.leave_ended();
    }

    /// Starts `qmp-shell`, and waits for its first prompt.
    #[track_caller]
    pub fn shell(&self, socket: &Path, options: &[&str]) -> Shell {
        let mut command = self.command("qmp-shell");
        command.args(options).arg(socket).stdin(Stdio::piped());
        Shell::new(command.spawn().expect("it is installed"))
    }

    /// One of its programs, which speaks to us alone, and not as to a terminal.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.env("HOME", self.home.path()).env("TERM", "dumb");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Dropped, it kills the child if that still runs.
#[derive(Debug)]
struct Kill(OwnedFd);

impl Kill {
    fn new(child: &Child) -> Self {
        let id = Pid::from_child(child);
        Self(pidfd_open(id, PidfdFlags::empty()).expect("it is not waited for yet"))
    }

    fn now(&self) {
        // It may have ended already.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

impl Drop for Kill {
    fn drop(&mut self) {
        self.now();
    }
}

/// Waits until it has ended.
#[track_caller]
fn finish(child: Child) -> Output {
    within(move || child.wait_with_output()).expect("it is ours")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn program(name: &str) -> String {
    format!("{PROGRAMS}/{name}")
}
