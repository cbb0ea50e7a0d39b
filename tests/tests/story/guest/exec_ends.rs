//! Programs in the guest that are not waited for up to their end.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use qmp_tests::agent::Agent;
use qmp_tests::qemu::DEADLINE;
use qmp_tests::scripted::pair;
use rustix::process::Signal;

use super::super::qmp::guest_commands::{GuestExec, GuestExecStatus, GuestExecStatusInfo};
use super::super::qmp::{Client, Error, GuestExecError, GuestProgram};
use super::super::runtime::{finish, start, tell};
use super::{agents, connect, delimited, is_in_step, serve_echoes, sync_number, synchronise};

/// Long enough for an agent to answer on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

/// A program that runs until this is dropped, or the agent's folder.
struct Held {
    program: GuestProgram,
    runs: PathBuf,
    begun: PathBuf,
}

impl Held {
    fn new(agent: &Agent) -> Self {
        let [runs, begun] = ["runs", "begun"].map(|name| agent.folder().join(name));
        fs::write(&runs, "").unwrap();
        let script = "touch \"$1\"; while [ -e \"$0\" ]; do sleep 0.01; done; echo done";
        let program = GuestProgram::new("sh").args(["-c", script]);
        let program = program.args([agent.file("runs"), agent.file("begun")]);
        Self { program, runs, begun }
    }

    /// Waits until it runs.
    fn has_begun(&self) {
        let start = Instant::now();
        while !self.begun.exists() {
            assert!(start.elapsed() < DEADLINE, "it does not begin");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The folder may be gone already.
        let _ = fs::remove_file(&self.runs);
    }
}

/// As what a program goes on that was not waited for any more.
async fn left_running(client: &Client, program: &GuestProgram) -> i64 {
    let began = Instant::now();
    let error = wait!(client.with_timeout(SHORT).guest_exec(program)).unwrap_err();
    assert!(error.is_timeout() && began.elapsed() >= SHORT, "{error}");
    match error {
        GuestExecError::StillRunning { pid, error: Error::TimedOut { sent: false } } => pid,
        error => panic!("{error}"),
    }
}

#[test]
fn c23_at_the_deadline_a_program_goes_on_and_can_be_waited_for_again() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let held = Held::new(&agent);
        let pid = left_running(&client, &held.program).await;
        let error = wait!(client.with_timeout(SHORT).guest_wait(pid)).unwrap_err();
        assert!(matches!(error, GuestExecError::StillRunning { pid: p, .. } if p == pid));
        // Over another connection, too.
        drop(client);
        let client = connect(&agent).await;
        let waiting = {
            let client = client.clone();
            start(async move { wait!(client.guest_wait(pid)) })
        };
        drop(held);
        let output = finish(waiting).await.unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"done\n");
        // Its end is told once.
        let error = wait!(client.guest_wait(pid)).unwrap_err();
        assert!(matches!(error, GuestExecError::Lost { error: Error::Command(_), .. }), "{error}");
    });
}

/// The agent hears the question and tells the end to nobody.
#[test]
fn c23_an_answer_that_does_not_come_in_time_is_lost_and_not_asked_for_again() {
    tell(async {
        let (socket, script) = pair(|peer| {
            synchronise(peer);
            let exec = peer.expect("guest-exec");
            peer.reply(&exec, r#"{"pid": 77}"#);
            let query = peer.expect("guest-exec-status");
            assert_eq!(query.arguments, serde_json::json!({"pid": 77}));
            let number = sync_number(peer);
            // Too late; and nobody asks again.
            peer.reply(&query, r#"{"exited": true, "exitcode": 0}"#);
            peer.send(delimited(number));
            serve_echoes(peer);
        });
        let client = wait!(agents().from_stream(socket)).unwrap();
        let program = GuestProgram::new("it");
        let error = wait!(client.with_timeout(SHORT).guest_exec(&program)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        let error_inside = Error::TimedOut { sent: true };
        assert_eq!(error, GuestExecError::Lost { pid: 77, error: error_inside });
        is_in_step(&client).await;
        drop(client);
        script.join();
    });
}

#[test]
fn c23_an_agent_that_hangs_before_the_program_is_started() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        agent.signal(Signal::STOP);
        let program = GuestProgram::new("true");
        let error = wait!(client.with_timeout(SHORT).guest_exec(&program)).unwrap_err();
        assert_eq!(error, GuestExecError::NotStarted(Error::TimedOut { sent: true }));
        agent.signal(Signal::CONT);
        is_in_step(&client).await;
    });
}

#[test]
fn c23_an_agent_that_dies_while_a_program_runs() {
    tell(async {
        let Some(mut agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let held = Held::new(&agent);
        let waiting = {
            let (client, program) = (client.clone(), held.program.clone());
            start(async move { wait!(client.guest_exec(&program)) })
        };
        held.has_begun();
        // One after the other: so it is known by now that it was started.
        is_in_step(&client).await;
        agent.kill();
        let error = finish(waiting).await.unwrap_err();
        let expected = match &error {
            GuestExecError::StillRunning { error, .. } => {
                matches!(error, Error::Refused(_) | Error::NotSent(_))
            }
            GuestExecError::Lost { error, .. } => matches!(error, Error::Unanswered(_)),
            _ => false,
        };
        assert!(expected, "{error:?}");
        assert!(!error.is_timeout());
    });
}

/// What `guest_exec` is made of is there, too.
#[test]
fn c23_a_program_by_hand() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let echo = GuestExec { arg: &["hello"], capture_output: true, ..GuestExec::new("echo") };
        let pid = wait!(client.execute(&echo)).unwrap().pid;
        let began = Instant::now();
        let ended: GuestExecStatusInfo = loop {
            let status = wait!(client.execute(&GuestExecStatus { pid })).unwrap();
            if status.exited {
                break status;
            }
            assert!(began.elapsed() < DEADLINE);
        };
        assert_eq!((ended.exitcode, ended.out_data.as_deref()), (Some(0), Some("aGVsbG8K")));
        assert!(matches!(wait!(client.execute(&GuestExecStatus { pid })), Err(Error::Command(_))));
    });
}
