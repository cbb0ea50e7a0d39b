//! QEMU's guest agent as a child, in a folder of its own. It runs on this machine, whose guest it takes
//! for its own: nothing may be asked of it that would end or change that.
//!
//! Where it is not installed, the test that asks for it is left out, or fails, as with QEMU.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it fails the test that uses it")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::Address;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tempfile::TempDir;

use crate::qemu::{DEADLINE, find};

/// A child that does not outlive this.
#[derive(Debug)]
struct Process {
    child: Child,
    handle: OwnedFd,
}

impl Process {
    /// Starts one with a folder for its state and for what it says.
    fn start(program: &Path, method: &str, path: &Path, folder: &Path, more: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(folder.join("stderr"));
        let mut command = Command::new(program);
        command.args(["-m", method, "-p"]).arg(path).arg("-t").arg(folder).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a file"));
        let child = command.spawn().expect("it is installed, so it starts");
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        Self { child, handle: handle.expect("it is not waited for yet") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent at a Unix socket, or gone. Dropped, it is killed.
///
/// It serves one client at a time. It ends by itself when one leaves before it has read all replies:
/// then the kernel resets the connection. (Behind QEMU's serial port there is no such thing.)
#[derive(Debug)]
pub struct Agent {
    program: PathBuf,
    folder: TempDir,
    arguments: Vec<String>,
    running: Option<Process>,
}

impl Agent {
    /// Starts one, and waits until it listens. None where it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same, with more arguments.
    pub fn start_with(more: &[&str]) -> Option<Self> {
        let program = find("qemu-ga")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = more.iter().map(|&argument| argument.to_owned()).collect();
        let mut agent = Self { program, folder, arguments, running: None };
        agent.restart();
        Some(agent)
    }

    /// Starts one at the place of one that was killed.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let more: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let process =
            Process::start(&self.program, "unix-listen", &self.path(), self.folder.path(), &more);
        self.running = Some(process);
        self.wait_until_it_listens();
    }

    fn wait_until_it_listens(&self) {
        let start = Instant::now();
        while UnixStream::connect(self.path()).is_err() {
            assert!(start.elapsed() < DEADLINE, "it does not listen: {self:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Where its socket is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.path().into()
    }

    /// Its folder, which is removed with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What is at a name in its folder, as text, which all of its commands take.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).into_os_string().into_string().expect("UTF-8")
    }

    /// A client that sends this, and leaves when the agent has it.
    pub fn leave_behind(&self, bytes: &[u8]) {
        let mut socket = UnixStream::connect(self.path()).expect("it listens");
        socket.write_all(bytes).expect("it reads");
        socket.shutdown(std::net::Shutdown::Write).expect("a socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
        // It closes when it has read all of it.
        socket.read_to_end(&mut Vec::new()).expect("it closes");
    }

    /// Sends it a signal: `STOP` and `CONT`, say.
    pub fn signal(&self, signal: Signal) {
        let process = self.running.as_ref().expect("it runs");
        pidfd_send_signal(&process.handle, signal).expect("it is not waited for yet");
    }

    /// Ends it with `kill -9`. Its socket stays where it is, and nobody listens there.
    pub fn kill(&mut self) {
        drop(self.running.take().expect("it runs"));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if thread::panicking() {
            let said = fs::read(self.folder.path().join("stderr")).unwrap_or_default();
            eprintln!("the agent said: {}", String::from_utf8_lossy(&said));
        }
    }
}

/// A serial line, which is a terminal, and an agent at its far end, or none yet. Dropped, it is killed.
#[derive(Debug)]
pub struct SerialAgent {
    program: PathBuf,
    // In this order: it is killed before its folder goes.
    running: Option<Process>,
    folder: TempDir,
    line: File,
    /// The far end: while nobody has it open, the line is dead.
    path: PathBuf,
    idle: Option<OwnedFd>,
}

impl SerialAgent {
    /// A line without an agent. None where that is not installed.
    pub fn new() -> Option<Self> {
        let program = find("qemu-ga")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let line = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&line).expect("a terminal");
        unlockpt(&line).expect("a terminal");
        let name = ptsname(&line, Vec::new()).expect("a terminal");
        let path = PathBuf::from(OsStr::from_bytes(name.as_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let idle = Some(open(&path, flags, Mode::empty()).expect("a terminal"));
        Some(Self { program, running: None, folder, line: line.into(), path, idle })
    }

    /// Starts the agent, and waits until it reads: what came before is lost.
    pub fn start(&mut self) {
        self.running = Some(self.process());
        let start = Instant::now();
        // It turns the echo off when it has thrown away what had come.
        while tcgetattr(&self.line).expect("a terminal").local_modes.contains(LocalModes::ECHO) {
            assert!(start.elapsed() < DEADLINE, "it does not read");
            thread::sleep(Duration::from_millis(1));
        }
        self.idle = None;
    }

    /// Waits until a line has come, while there is no agent to read it.
    pub fn wait_for_input(&self) {
        let idle = self.idle.as_ref().expect("there is no agent");
        let timeout = Timespec::try_from(DEADLINE).expect("short enough");
        let mut polled = [PollFd::new(idle, PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut polled, Some(&timeout)), Ok(1), "nothing came");
    }

    /// Our end of the line.
    pub fn line(&self) -> File {
        self.line.try_clone().expect("a descriptor")
    }

    /// Sends the agent a signal: `STOP` and `CONT`, for instance.
    pub fn signal(&self, signal: Signal) {
        let process = self.running.as_ref().expect("it runs");
        pidfd_send_signal(&process.handle, signal).expect("it is not waited for yet");
    }

    /// Kills the agent and starts another one. The line stays, with what is unread in it, as that of a guest does.
    pub fn restart(&mut self) {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        self.idle = Some(open(&self.path, flags, Mode::empty()).expect("a terminal"));
        self.kill();
        self.running = Some(self.process());
    }

    fn process(&self) -> Process {
        Process::start(&self.program, "isa-serial", &self.path, self.folder.path(), &[])
    }

    /// Ends it with `kill -9`.
    pub fn kill(&mut self) {
        drop(self.running.take().expect("it runs"));
    }
}
