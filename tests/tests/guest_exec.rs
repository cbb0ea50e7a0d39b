//! C23: the example `guest_exec`, with a real agent.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use qmp_tests::agent::Agent;
use qmp_tests::example::run;
use qmp_tests::scripted::Watched;

/// What the example wrote to its standard output and error, and its status.
#[track_caller]
fn guest_exec(address: &str, program: &[&str]) -> (String, String, i32) {
    let output = run("guest_exec", &[&[address], program].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[test]
fn c23_it_prints_what_the_program_wrote_and_exits_as_it_did() {
    let _watched = Watched::new();
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
    let _watched = Watched::new();
    let Some(agent) = Agent::start() else { return };
    let address = &agent.address().to_string();
    let (stdout, stderr, status) = guest_exec(address, &["/nonexistent/program"]);
    assert_eq!((&*stdout, status), ("", 255));
    assert!(stderr.starts_with("error: the program was not started: "), "{stderr}");
    let (_, stderr, status) = guest_exec(address, &[]);
    assert!(stderr.starts_with("error: usage: guest_exec ADDRESS PROGRAM"), "{stderr}");
    assert_eq!(status, 255);
    let (_, stderr, status) = guest_exec("unix:/", &["true"]);
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert_eq!(status, 255);
}

#[test]
fn c23_it_says_when_output_was_truncated() {
    let _watched = Watched::new();
    let Some(agent) = Agent::start() else { return };
    let address = &agent.address().to_string();
    let (stdout, stderr, status) = guest_exec(address, &["head", "-c", "16777300", "/dev/zero"]);
    assert_eq!((stdout.len(), status), (16 << 20, 0));
    let text =
        "guest_exec: the agent kept 16777216 bytes of its standard output, and lost the rest\n";
    assert_eq!(stderr, text);
}
