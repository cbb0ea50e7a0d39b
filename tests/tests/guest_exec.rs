//! C23: the example `guest_exec`, with a real agent.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use qmp_tests::agent::Agent;
use qmp_tests::example::{program, run, run_with};
use qmp_tests::scripted::{Server, Watched};

/// Where the example has to be built first, that takes longer than a test.
fn watched() -> Watched {
    program("guest_exec");
    Watched::new()
}

/// What the example wrote to its standard output and error, and its status.
#[track_caller]
fn guest_exec(address: &str, program: &[&str]) -> (String, String, i32) {
    let output = run("guest_exec", &[&[address], program].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[test]
fn c23_it_prints_what_the_program_wrote_and_exits_as_it_did() {
    let _watched = watched();
    let Some(agent) = Agent::start() else { return };
    let address = &agent.address().to_string();
    std::fs::write(agent.file("a file"), "").unwrap();
    let (stdout, stderr, status) = guest_exec(address, &["ls", &agent.file("")]);
    assert!(stdout.lines().any(|line| line == "a file"), "{stdout}");
    assert_eq!((&*stderr, status), ("", 0));
    let script = "printf '%s ' \"$0\" \"$@\"; echo two >&2; exit 42";
    let ended = guest_exec(address, &["sh", "-c", script, "a b", "-c"]);
    assert_eq!(ended, ("a b -c ".to_owned(), "two\n".to_owned(), 42));
    let (stdout, stderr, status) = guest_exec(address, &["sh", "-c", "echo out; kill -15 $$"]);
    assert_eq!((&*stdout, &*stderr, status), ("out\n", "", 128 + 15));
}

#[test]
fn c23_it_says_what_went_wrong_where_nothing_is_known() {
    let _watched = watched();
    let Some(agent) = Agent::start() else { return };
    let address = &agent.address().to_string();
    let (stdout, stderr, status) = guest_exec(address, &["/nonexistent/program"]);
    assert_eq!((&*stdout, status), ("", 255));
    assert!(stderr.starts_with("error: the program was not started: "), "{stderr}");
    let (_, stderr, status) = guest_exec(address, &[]);
    assert!(stderr.starts_with("error: usage: guest_exec [--timeout SECONDS] ADDRESS"), "{stderr}");
    assert_eq!(status, 255);
    for timeout in [&["--timeout"][..], &["--timeout", "soon", address, "true"]] {
        let (stdout, stderr, status) = guest_exec(timeout[0], &timeout[1..]);
        assert!(stderr.starts_with("error: usage: "), "{stderr}");
        assert_eq!((&*stdout, status), ("", 255));
    }
    let output = run_with("guest_exec", |command| {
        command.args([OsStr::new(address), OsStr::new("echo"), OsStr::from_bytes(b"\xff")]);
    });
    assert_eq!(output.stderr, b"error: no UTF-8: \"\\xFF\"\n");
    assert_eq!(output.status.code(), Some(255));
    let (_, stderr, status) = guest_exec("unix:/", &["true"]);
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert_eq!(status, 255);
}

/// A guest's words do not act on the terminal.
#[test]
fn c22_an_error_of_a_hostile_agent_is_shown_as_escapes() {
    let _watched = watched();
    let server = Server::unix(|peer| {
        let sync = peer.expect("guest-sync-delimited");
        peer.send(b"\xff");
        peer.reply(&sync, &sync.arguments["id"].to_string());
        let exec = peer.expect("guest-exec");
        peer.fail(&exec, "\u{9b}2J", "\u{1b}]0;title\u{7}\u{202e}txt.exe");
        peer.expect_eof();
    });
    let (stdout, stderr, status) = guest_exec(server.address(), &["true"]);
    let shown =
        "error: the program was not started: \\u009b2J: \\u001b]0;title\\u0007\\u202etxt.exe\n";
    assert_eq!((&*stdout, &*stderr, status), ("", shown, 255));
    server.join();
}

#[test]
fn c23_it_waits_as_long_as_it_may() {
    let _watched = watched();
    let Some(agent) = Agent::start() else { return };
    let address = &agent.address().to_string();
    let (_, stderr, status) = guest_exec("--timeout", &["1", address, "sleep", "2"]);
    assert!(stderr.contains("the deadline passed"), "{stderr}");
    assert_eq!(status, 255);
    let ended = guest_exec("--timeout", &["60", address, "sh", "-c", "exit 3"]);
    assert_eq!(ended, (String::new(), String::new(), 3));
}

#[test]
fn c23_its_status_is_the_programs_though_nobody_reads_the_output() {
    let _watched = watched();
    let Some(agent) = Agent::start() else { return };
    let output = run_with("guest_exec", |command| {
        let (nobody, _) = UnixStream::pair().unwrap();
        let address = agent.address().to_string();
        command.args([&*address, "sh", "-c", "echo out; echo err >&2; exit 5"]);
        command.stdout(OwnedFd::from(nobody));
    });
    assert_eq!((&*output.stderr, output.status.code()), (&b"err\n"[..], Some(5)));
}

#[test]
fn c23_it_says_when_output_was_truncated() {
    let _watched = watched();
    let Some(agent) = Agent::start() else { return };
    let address = &agent.address().to_string();
    let (stdout, stderr, status) = guest_exec(address, &["head", "-c", "16777300", "/dev/zero"]);
    assert_eq!((stdout.len(), status), (16 << 20, 0));
    let text =
        "guest_exec: the agent kept 16777216 bytes of its standard output, and lost the rest\n";
    assert_eq!(stderr, text);
}
