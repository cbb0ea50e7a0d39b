//! Programs in the guest that end, and what they wrote.

use qmp_tests::agent::Agent;

use super::super::qmp::{Error, GuestExecError, GuestOutput, GuestProgram};
use super::super::runtime::{finish, start, tell};
use super::{connect, is_in_step};

/// A shell's script.
fn shell(script: &str) -> GuestProgram {
    GuestProgram::new("sh").args(["-c", script])
}

fn wrote(output: &GuestOutput) -> (&str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn c23_a_program_with_input_arguments_output_and_a_status() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let output = wait!(client.guest_exec(&GuestProgram::new("true"))).unwrap();
        assert!(output.status.success());
        assert_eq!(wrote(&output), ("", ""));
        let script = shell("cat; printf '%s|' \"$0\" \"$@\" >&2; exit 3");
        let program = script.arg("the name").args(["", "ä \"\\ $HOME", "-x"]).input("one\ntwo\0");
        let output = wait!(client.guest_exec(&program)).unwrap();
        assert_eq!((output.status.code(), output.status.signal()), (Some(3), None));
        assert!(!output.status.success());
        assert_eq!(wrote(&output), ("one\ntwo\0", "the name||ä \"\\ $HOME|-x|"));
        assert!(!output.stdout_truncated && !output.stderr_truncated);
        // A request can be made again.
        assert_eq!(wait!(client.guest_exec(&program)).unwrap(), output);
    });
}

#[test]
fn c23_a_program_that_a_signal_ends() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let output = wait!(client.guest_exec(&shell("echo before; kill -9 $$"))).unwrap();
        assert_eq!((output.status.code(), output.status.signal()), (None, Some(9)));
        assert!(!output.status.success());
        assert_eq!(output.status.to_string(), "signal: 9");
        assert_eq!(wrote(&output), ("before\n", ""));
    });
}

#[test]
fn c23_an_environment_replaces_the_agents_own() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let print = || GuestProgram::new("env");
        let inherited = wait!(client.guest_exec(&print())).unwrap();
        assert!(wrote(&inherited).0.contains("PATH="));
        let given = wait!(client.guest_exec(&print().env("A", "b=c").env("D", 1))).unwrap();
        assert_eq!(wrote(&given), ("A=b=c\nD=1\n", ""));
    });
}

#[test]
fn c23_output_that_nobody_wants() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let program = shell("echo one; echo two >&2; exit 5").discard_output();
        let output = wait!(client.guest_exec(&program)).unwrap();
        assert_eq!(output.status.code(), Some(5));
        assert_eq!(wrote(&output), ("", ""));
    });
}

#[test]
fn c23_a_program_that_is_not_there() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let missing = GuestProgram::new(agent.file("missing"));
        let error = wait!(client.guest_exec(&missing)).unwrap_err();
        assert!(matches!(error, GuestExecError::NotStarted(Error::Command(_))), "{error}");
        assert!(error.to_string().starts_with("the program was not started: "), "{error}");
        is_in_step(&client).await;
    });
}

/// Four bytes of it for each three of these are in one line.
#[test]
fn c23_three_megabytes_of_output() {
    const SIZE: usize = 3_000_000;
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let file = agent.file("noise");
        let script = format!("head -c {SIZE} /dev/urandom | tee {file}");
        let output = wait!(client.guest_exec(&shell(&script))).unwrap();
        assert!(output.status.success());
        assert!(output.stdout == std::fs::read(&file).unwrap());
        assert_eq!((output.stdout.len(), output.stdout_truncated), (SIZE, false));
        is_in_step(&client).await;
    });
}

/// An agent keeps the first 16 MiB of each.
#[test]
fn c23_output_that_was_truncated() {
    const KEPT: usize = 16 << 20;
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let script = format!("head -c {} /dev/zero; echo end >&2", KEPT + 1);
        let output = wait!(client.guest_exec(&shell(&script))).unwrap();
        assert!(output.status.success());
        assert_eq!((output.stdout.len(), output.stdout_truncated), (KEPT, true));
        assert!(!output.stderr_truncated);
        assert_eq!(output.stderr, b"end\n");
        is_in_step(&client).await;
    });
}

#[test]
fn c23_programs_of_many_callers_at_once() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let callers: Vec<_> = (0..8)
            .map(|caller| {
                let client = client.clone();
                start(async move {
                    for number in 0..5 {
                        let text = format!("{caller} {number}");
                        let program = shell("sleep 0.01; cat; exit 6").input(text.as_str());
                        let output = wait!(client.guest_exec(&program)).unwrap();
                        assert_eq!(output.status.code(), Some(6));
                        assert_eq!(wrote(&output), (&*text, ""));
                    }
                })
            })
            .collect();
        for caller in callers {
            finish(caller).await;
        }
    });
}
