//! The examples, as children.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it fails the test that uses it")]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;

use qmp_blocking::Address;

use crate::qemu::{DEADLINE, within};

/// Runs one by its name, up to its end.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    run_with(name, |command| {
        command.args(arguments);
    })
}

/// Runs one by its name, up to its end, as a command that was prepared.
pub fn run_with(name: &str, prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(program(name));
    command.stdin(Stdio::null());
    prepare(&mut command);
    within(move || command.output().expect("a program"))
}

/// An example that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Example {
    child: Child,
    lines: Receiver<String>,
}

impl Example {
    /// Starts one by its name.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program(name));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a program");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        Self { child, lines }
    }

    /// Starts `share` between a monitor and those who will come to a Unix socket, and waits until
    /// they may.
    pub fn share(monitor: &Address, socket: &Path) -> Self {
        let listen = Address::from(socket).to_string();
        let share = Self::start("share", &[&monitor.to_string(), &listen]);
        assert!(share.line().ends_with(&listen));
        share
    }

    /// From now on it gets so many descriptors more, but for those that it closes.
    #[cfg(target_os = "linux")]
    pub fn limit_descriptors(&self, more: usize) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        let open: Vec<u64> = open
            .map(|entry| entry.expect("a name").file_name().to_str().unwrap().parse().unwrap())
            .collect();
        let first_out = (0..).filter(|number| !open.contains(number)).nth(more);
        let limit = Rlimit { current: first_out, maximum: Some(4096) };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).expect("it runs");
    }

    /// How much memory it takes, in bytes.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> usize {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        let kilobytes = resident.trim().trim_end_matches(" kB");
        kilobytes.parse::<usize>().expect("a number") << 10
    }

    /// The next line that it prints.
    #[track_caller]
    pub fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line, in time")
    }

    /// A line that it has printed already.
    pub fn try_line(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Waits until it has ended; gives the lines that it still printed, and its status.
    #[track_caller]
    pub fn end(mut self) -> (Vec<String>, ExitStatus) {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it did not end: {lines:?}"),
            }
        }
        (lines, self.child.wait().expect("it has ended"))
    }
}

/// Where an example is. `cargo test --workspace` has built it together with the tests; `cargo test -p
/// qmp-tests` has not, so where it is missing, or older than its sources, it is built here.
pub fn program(name: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let this = env::current_exe().expect("a file");
    let profile = this.ancestors().nth(2).expect("PROFILE/deps/TEST");
    let program = profile.join("examples").join(name);
    let _one_after_the_other = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_current(&program) {
        build(profile.parent().expect("a target folder"));
        assert!(program.is_file(), "there is no example {name}");
    }
    program
}

/// Whether a program is there, and younger than all of its sources, which cargo notes beside it.
fn is_current(program: &Path) -> bool {
    let time = |path: &Path| path.metadata()?.modified();
    let Ok(built) = time(program) else { return false };
    let Ok(notes) = fs::read_to_string(program.with_extension("d")) else { return false };
    // In a path, a space has a backslash before it.
    let sources = notes.trim_end().replace("\\ ", "\0");
    let mut sources = sources.split(' ').skip(1).map(|source| source.replace('\0', " "));
    sources.all(|source| time(Path::new(&source)).is_ok_and(|changed| changed <= built))
}

/// Builds all examples, as `make test` does.
fn build(target: &Path) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .args(["build", "--workspace", "--all-features", "--examples", "--target-dir"])
        .arg(target);
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(""));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    eprintln!("building the examples: {cargo:?}");
    assert!(cargo.status().expect("cargo").success(), "the examples do not build");
}

impl Drop for Example {
    fn drop(&mut self) {
        // What has ended already stays so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
