//! Agents that answer, answer badly, or not.

use qmp_proto::{CloseReason, CommandError, ErrorClass};

use super::super::program::GuestProgram;
use super::*;

/// A program that runs so long, and a client that does as it is told.
struct Trial {
    program: GuestProgram,
    timeout: Option<Duration>,
    runs: Duration,
    /// What its end is told with.
    told: &'static str,
    /// From this question on, a command ends so; the first starts the program.
    fails: Option<(usize, Error)>,
    asked: Vec<Duration>,
    /// How much later than it was to it wakes.
    late: Duration,
}

impl Trial {
    fn new(runs: Duration) -> Self {
        let (program, timeout) = (GuestProgram::new("it"), None);
        let told = r#"{"exited": true, "exitcode": 7}"#;
        Self { program, timeout, runs, told, fails: None, asked: Vec::new(), late: Duration::ZERO }
    }

    /// How it ends, and when.
    fn run(&mut self) -> (Result<GuestOutput, GuestExecError>, Duration) {
        let began = Instant::now();
        let mut now = began;
        let outcome = self.go(began, &mut now);
        (outcome, now - began)
    }

    fn go(&mut self, began: Instant, now: &mut Instant) -> Result<GuestOutput, GuestExecError> {
        let mut step = start(self.program.prepare(), self.timeout, began)?;
        loop {
            step = match step {
                Step::Execute(_, left, asked) => {
                    let end = self.timeout.map(|timeout| began + timeout);
                    assert_eq!(left, end.map(|end| end - *now));
                    asked.answered(self.answer(*now - began), *now)?
                }
                Step::Sleep(time, running) => {
                    *now += time + self.late;
                    running.ask(*now)?
                }
                Step::Done(output) => return Ok(output),
            }
        }
    }

    fn answer(&mut self, time: Duration) -> Result<Raw, Error> {
        let number = self.asked.len();
        self.asked.push(time);
        match &self.fails {
            Some((from, error)) if number >= *from => Err(error.clone()),
            _ if number == 0 => Ok(Raw::from_static(r#"{"pid": 5}"#)),
            _ if time < self.runs => Ok(Raw::from_static(r#"{"exited": false}"#)),
            _ => Ok(Raw::from_static(self.told)),
        }
    }
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn the_end_is_known_after_five_quarters_of_the_time() {
    for runs in [ms(0), ms(1), ms(10), ms(100), ms(1000), ms(60_000)] {
        let mut trial = Trial::new(runs);
        let (outcome, known) = trial.run();
        assert_eq!(outcome.unwrap().status.code(), Some(7));
        let late = known - runs;
        assert!(late <= (runs / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE), "{runs:?}, {late:?}");
    }
}

#[test]
fn a_long_program_is_not_asked_for_often() {
    let mut trial = Trial::new(ms(3_600_000));
    trial.run().0.unwrap();
    let pauses: Vec<_> = trial.asked.windows(2).map(|times| times[1] - times[0]).collect();
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert_eq!((pauses[0], pauses.last()), (SHORTEST_PAUSE, Some(&LONGEST_PAUSE)));
    assert!(trial.asked.len() < 7_250, "{}", trial.asked.len());
}

#[test]
fn at_the_deadline_it_runs_on_and_nothing_was_asked_shortly_before() {
    for timeout in [ms(0), ms(1), ms(9), ms(10), ms(100), ms(30_000)] {
        let mut trial = Trial { timeout: Some(timeout), ..Trial::new(ms(60_000)) };
        let (outcome, end) = trial.run();
        let error = outcome.unwrap_err();
        assert!(error.is_timeout());
        let timed_out = Error::TimedOut { sent: false };
        assert_eq!(error, GuestExecError::StillRunning { pid: 5, error: timed_out });
        let text = "the deadline passed, and the program 5 had not been seen to end; \
                    it can be waited for again";
        assert_eq!(error.to_string(), text);
        assert_eq!(end, timeout);
        let last = timeout - CLOSE.min(timeout / 4);
        assert!(trial.asked[1..].iter().all(|time| *time <= last), "{timeout:?}");
        if last >= SHORTEST_PAUSE {
            assert_eq!(trial.asked.last(), Some(&last), "{timeout:?}");
        }
    }
}

#[test]
fn what_ends_before_the_last_moment_to_ask_is_known_by_the_deadline() {
    for timeout in [ms(4), ms(50), ms(100), ms(104), ms(1000), ms(3000)] {
        let last = timeout - CLOSE.min(timeout / 4);
        for runs in [ms(0), last / 2, last - ms(1), last] {
            // A wake-up is never in time.
            for late in [ms(0), Duration::from_micros(100), (timeout - last) / 2] {
                let mut trial = Trial { timeout: Some(timeout), late, ..Trial::new(runs) };
                let (outcome, known) = trial.run();
                assert_eq!(outcome.unwrap().status.code(), Some(7), "{runs:?} of {timeout:?}");
                assert!(known <= last + late);
            }
        }
    }
}

/// Whatever happens, it ends with the first command that does.
#[track_caller]
fn ends(from: usize, error: Error, text: &str) -> GuestExecError {
    let mut trial = Trial { fails: Some((from, error)), ..Trial::new(ms(60_000)) };
    let ended = trial.run().0.unwrap_err();
    assert_eq!(trial.asked.len(), from + 1);
    assert_eq!(ended.to_string(), text);
    ended
}

fn no_such_pid() -> Error {
    let desc = "Invalid parameter 'pid'".into();
    Error::Command(CommandError { class: ErrorClass::GenericError, desc })
}

const GONE: CloseReason = CloseReason::Requested;

#[test]
fn a_program_that_is_not_started() {
    let text = "the program was not started: GenericError: Invalid parameter 'pid'";
    assert!(!ends(0, no_such_pid(), text).is_timeout());
    let text = "the program was not started: the deadline passed; nothing was sent";
    assert!(ends(0, Error::TimedOut { sent: false }, text).is_timeout());
}

#[test]
fn a_program_of_which_nobody_knows_whether_it_was_started() {
    let text = "it is not known whether the program was started: \
                the deadline passed after the command was sent; it may have run";
    assert!(ends(0, Error::TimedOut { sent: true }, text).is_timeout());
    let text = "it is not known whether the program was started: \
                the command was sent, at least in part, and not answered: closed on request";
    ends(0, Error::Unanswered(GONE), text);
}

#[test]
fn a_program_that_was_not_asked_for_runs_on() {
    let silent = Error::AgentSilent { sent: false };
    for error in [Error::NotSent(GONE), Error::Refused(Refusal::Closed(GONE)), silent] {
        let text = format!(
            "the program 5 had not been seen to end, and was not asked for any more: {error}"
        );
        let ended = ends(3, error.clone(), &text);
        assert_eq!(ended.is_timeout(), matches!(error, Error::AgentSilent { .. }));
        assert_eq!(ended, GuestExecError::StillRunning { pid: 5, error });
    }
}

#[test]
fn what_may_be_lost_is_not_asked_for_again() {
    let unanswered = Error::Unanswered(GONE);
    let silent = Error::AgentSilent { sent: true };
    for error in [Error::TimedOut { sent: true }, silent, unanswered, no_such_pid()] {
        let text = format!(
            "the program 5 was asked for and no answer came; \
             if it had ended, its output is lost; if it runs, it can be waited for again: {error}"
        );
        let ended = ends(3, error.clone(), &text);
        assert_eq!(
            ended.is_timeout(),
            matches!(error, Error::TimedOut { .. } | Error::AgentSilent { .. })
        );
        assert_eq!(ended, GuestExecError::Lost { pid: 5, error });
    }
}

#[test]
fn an_answer_that_cannot_be_read() {
    let mut trial = Trial { told: r#"{"exited": 1}"#, ..Trial::new(ms(0)) };
    let ended = trial.run().0.unwrap_err();
    assert!(matches!(ended, GuestExecError::Lost { pid: 5, error: Error::Decode(_) }), "{ended}");
    let told = r#"{"exited": true, "exitcode": 0, "out-data": "aGV!"}"#;
    let ended = Trial { told, ..Trial::new(ms(0)) }.run().0.unwrap_err();
    let text = "the program 5 ended, but its output cannot be read: no base64 at byte 3";
    assert_eq!(ended.to_string(), text);
}

#[test]
fn what_is_told_of_the_end() {
    let told = r#"{"exited": true, "signal": 9, "out-data": "dGljaw==", "err-data": "dG9jaw==", "err-truncated": true}"#;
    let output = Trial { told, ..Trial::new(ms(0)) }.run().0.unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (None, Some(9)));
    assert_eq!((&*output.stdout, &*output.stderr), (&b"tick"[..], &b"tock"[..]));
    assert_eq!((output.stdout_truncated, output.stderr_truncated), (false, true));
    assert_eq!(output.status.to_string(), "signal: 9");
    let shown = format!("{output:?}");
    assert!(shown.contains("stdout: 4 bytes") && !shown.contains("tick"), "{shown}");
}

/// With QEMU's mend an agent always tells it of output; without, only where it was truncated, and then
/// wrongly.
#[test]
fn what_is_told_of_truncated_output() {
    const KEPT: usize = 16 << 20;
    let truncated = |bytes: usize, told: &str| {
        let output = crate::guest::base64::encode(vec![0; bytes]);
        let told = format!(r#"{{"exited": true, "exitcode": 0, "out-data": "{output}"{told}}}"#);
        let output = GuestOutput::new(&serde_json::from_str(&told).unwrap()).unwrap();
        assert_eq!(output.stdout.len(), bytes);
        output.stdout_truncated
    };
    let (is, is_not) = (r#", "out-truncated": true"#, r#", "out-truncated": false"#);
    assert!(truncated(KEPT, is) && truncated(KEPT, is_not) && truncated(9, is));
    assert!(!truncated(KEPT, "") && !truncated(KEPT - 1, is_not) && !truncated(9, is_not));
}

#[test]
fn a_program_that_the_protocol_cannot_carry_is_refused() {
    let mut trial = Trial { program: GuestProgram::new("\u{ffff}"), ..Trial::new(ms(0)) };
    let ended = trial.run().0.unwrap_err();
    assert!(matches!(ended, GuestExecError::NotStarted(Error::Refused(_))), "{ended}");
    assert!(trial.asked.is_empty());
}

#[test]
fn a_text_with_a_nul_is_refused() {
    let it = || GuestProgram::new("it");
    for program in [GuestProgram::new("a\0b"), it().args(["a", "\0"]), it().env("A", "b\0")] {
        let mut trial = Trial { program, ..Trial::new(ms(0)) };
        let refused = GuestExecError::NotStarted(Error::Refused(Refusal::Nul));
        assert_eq!(trial.run().0.unwrap_err(), refused);
        assert!(trial.asked.is_empty());
    }
    // It may be read.
    Trial { program: it().input("a\0b"), ..Trial::new(ms(0)) }.run().0.unwrap();
}

#[test]
fn one_that_runs_already_is_asked_for_at_once() {
    let now = Instant::now();
    let step = wait(5, None, now).unwrap();
    let Step::Execute(_, None, asked) = step else { panic!("{step:?}") };
    let ended = Raw::from_static(r#"{"exited": true, "exitcode": 0}"#);
    let Step::Done(output) = asked.answered(Ok(ended), now).unwrap() else { panic!() };
    assert!(output.status.success());
}
