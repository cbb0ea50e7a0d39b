//! The example `shell`, in a pipe and with `-e`, and a machine for it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it fails the test that uses it")]

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;

use qmp_blocking::{CommandError, Empty, Raw};
use qmp_server::Machine;
use qmp_server::net::Server;
use serde_json::Value;

use crate::example::program;
use crate::qemu::within;

/// What a shell said, and its exit status.
#[derive(Debug)]
pub struct Said {
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
    /// Its exit status.
    pub code: i32,
}

impl Said {
    /// The lines of its output.
    pub fn lines(&self) -> Vec<&str> {
        self.output.lines().collect()
    }
}

/// Runs a shell to its end.
#[track_caller]
pub fn shell(arguments: &[&str], input: impl AsRef<[u8]>) -> Said {
    let mut command = Command::new(program("shell"));
    command.args(arguments).env_remove("QMP_SOCKET");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.as_ref().to_owned();
    // One that has read enough does not take the rest.
    let writing = thread::spawn(move || drop(stdin.write_all(&input)));
    let said = within(move || child.wait_with_output()).unwrap();
    writing.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = said.status.code().expect("an exit status");
    Said { output: text(said.stdout), errors: text(said.stderr), code }
}

/// A machine that says what it was told.
pub fn echo() -> (Server, String) {
    let mut machine = Machine::new();
    machine.on("echo", |_, arguments: &Raw| Ok(arguments.clone()));
    machine.on("transaction", |_, arguments: &Raw| Ok(arguments.clone()));
    machine.on("pretty", |_, _| {
        Ok(Raw::from_static("{\r\n    \"a\": [\r\n    ],\r\n \"b\": 0.10\r\n}"))
    });
    machine.on("fail", |_, _| -> Result<Empty, _> { Err(CommandError::generic("no \"luck\"")) });
    machine.on("human-monitor-command", |_, arguments| {
        let arguments: Value = arguments.parse()?;
        Ok(format!("{}: {}\r\n", arguments["cpu-index"], arguments["command-line"]))
    });
    serve(machine)
}

/// Serves a machine where a QEMU would be.
pub fn serve(machine: Machine<OwnedFd>) -> (Server, String) {
    let server = Server::bind("tcp:127.0.0.1:0", machine).unwrap();
    let address = server.address().to_string();
    (server, address)
}
