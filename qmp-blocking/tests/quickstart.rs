//! The example `quickstart` does what it says: with a QEMU of its own, with one at an address, and
//! without any.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::env;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// A child that does not outlive its test.
struct Guarded(Child);

impl Guarded {
    /// Waits until it closes its output, and gives that.
    fn end(&mut self) -> String {
        let mut output = self.0.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            sender.send(text)
        });
        receiver.recv_timeout(DEADLINE).expect("it ends in time")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the example prints; it has to end well.
fn run(arguments: &[String]) -> String {
    let mut example = Command::new(example());
    example.args(arguments);
    run_command(example)
}

fn run_command(mut example: Command) -> String {
    example.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut example = Guarded(example.spawn().unwrap());
    let text = example.end();
    assert!(example.0.wait().unwrap().success(), "{text}");
    text
}

/// Cargo builds the examples together with the tests, and puts them beside these.
fn example() -> PathBuf {
    let this = env::current_exe().unwrap();
    let example = this.parent().unwrap().with_file_name("examples").join("quickstart");
    assert!(example.is_file(), "cargo test --test leaves it out: cargo build --examples");
    example
}

/// Whether QEMU is there; else the test is left out, or fails.
fn qemu_is_installed() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join("qemu-system-x86_64").is_file());
    if !found {
        let required = env::var_os("QMP_REQUIRE_QEMU").is_some_and(|value| value == "1");
        assert!(!required, "qemu-system-x86_64 is not installed, and QMP_REQUIRE_QEMU=1");
        let test = thread::current().name().unwrap_or("a test").to_owned();
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(io::stderr(), "LEFT OUT: {test}: qemu-system-x86_64 is not installed");
    }
    found
}

/// The lines that begin with a word, without it.
fn told<'a>(output: &'a str, word: &str) -> Vec<&'a str> {
    output.lines().filter_map(|line| line.strip_prefix(word)).map(str::trim).collect()
}

fn check(output: &str) {
    let version = told(output, "version");
    assert!(version.len() == 1 && version[0].starts_with("QEMU "), "{output}");
    assert_eq!(told(output, "status"), ["Prelaunch", "Running", "Paused"], "{output}");
    assert_eq!(told(output, "event"), ["RESUME", "STOP", "SHUTDOWN"], "{output}");
    assert_eq!(told(output, "the end"), ["closed after quit"], "{output}");
}

#[test]
fn without_an_argument_it_starts_a_qemu() {
    if !qemu_is_installed() {
        return;
    }
    let output = run(&[]);
    check(&output);
    assert_eq!(told(&output, "QEMU"), ["exit status: 0"], "{output}");
}

#[test]
fn without_qemu_it_takes_the_embedded_machine_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut example = Command::new(example());
    example.env("PATH", folder.path());
    let output = run_command(example);
    check(&output);
    let first = output.lines().next();
    assert_eq!(first, Some("no qemu-system-x86_64 here: using the embedded machine"));
    assert!(told(&output, "QEMU").is_empty(), "{output}");
}

#[test]
fn with_an_address_it_drives_the_qemu_there() {
    if !qemu_is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // With wait=on QEMU does not go on before the example has come.
    let address = format!("unix:{}/monitor,server=on,wait=on", folder.path().display());
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "none", "-nodefaults", "-display", "none", "-S", "-qmp", &address]);
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut qemu = Guarded(qemu.spawn().unwrap());
    check(&run(&[address]));
    // It was told to end, too.
    qemu.end();
    assert!(qemu.0.wait().unwrap().success());
}
