//! The steps from a program's start to its output: `guest-exec`, and `guest-exec-status` again and
//! again.
//!
//! That a program has ended, and its output, is told once. So whatever comes in place of an answer
//! ends it, as asking once more could not bring back what is lost; and close to the deadline nothing
//! is asked that might be answered behind it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use qmp_proto::guest_commands::{GuestExec, GuestExecStatus};
use qmp_proto::{Command, Prepared, Raw, Refusal, Request};

use super::error::GuestExecError;
use super::output::GuestOutput;
use crate::error::Error;

/// A program is asked for when it has run a quarter longer than before: so a long one is not asked
/// for often, and the end of a short one is soon known. These are the limits of that.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long before the deadline it is asked last, but at most a quarter of the timeout before. An answer
/// takes a millisecond, or far longer where the guest or this machine is busy.
const CLOSE: Duration = Duration::from_millis(100);

/// What to do next for a program in the guest.
#[derive(Debug)]
#[must_use = "nobody else waits for the program"]
pub enum Step {
    /// Execute this, wait for it so long at most, and hand on how it ended.
    Execute(Prepared<OwnedFd>, Option<Duration>, Asked),
    /// Let so much time pass, less where the connection ends meanwhile; and go on.
    Sleep(Duration, Running),
    /// Nothing: it has ended.
    Done(GuestOutput),
}

/// A program that the agent was told to start, or asked for.
#[derive(Debug)]
pub struct Asked {
    /// None where it is to be started.
    pid: Option<i64>,
    time: Time,
}

/// A program that ran when the agent was asked last.
#[derive(Debug)]
pub struct Running {
    pid: i64,
    time: Time,
}

#[derive(Clone, Copy, Debug)]
struct Time {
    began: Instant,
    deadline: Option<Instant>,
    /// How long before the deadline it is asked last.
    margin: Duration,
}

/// Starts a program by its [`prepare`](super::GuestProgram::prepare), and waits for its end, within
/// `timeout`.
///
/// ```
/// use std::time::{Duration, Instant};
/// use qmp_client::guest::{GuestExecError, GuestOutput, GuestProgram, Step, start};
/// use qmp_proto::Raw;
///
/// fn exec(program: &GuestProgram) -> Result<GuestOutput, GuestExecError> {
///     // What an agent would say, and its time.
///     let mut replies = [
///         r#"{"pid": 9217}"#,
///         r#"{"exited": false}"#,
///         r#"{"exited": true, "exitcode": 0, "out-data": "aGVsbG8="}"#,
///     ].into_iter();
///     let mut now = Instant::now();
///
///     let mut step = start(program.prepare(), Some(Duration::from_secs(1)), now)?;
///     loop {
///         step = match step {
///             Step::Execute(_command, _timeout, asked) => {
///                 let reply = Raw::from_static(replies.next().expect("nothing more is asked"));
///                 asked.answered(Ok(reply), now)?
///             }
///             Step::Sleep(time, running) => {
///                 now += time;
///                 running.ask(now)?
///             }
///             Step::Done(output) => return Ok(output),
///         }
///     }
/// }
///
/// let output = exec(&GuestProgram::new("echo").args(["-n", "hello"]))?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello");
/// # Ok::<(), GuestExecError>(())
/// ```
pub fn start(
    program: Result<Prepared<OwnedFd>, Refusal>,
    timeout: Option<Duration>,
    now: Instant,
) -> Result<Step, GuestExecError> {
    let command = program.map_err(|error| GuestExecError::NotStarted(error.into()))?;
    Ok(Asked { pid: None, time: Time::new(timeout, now) }.by(command, now))
}

/// Waits for the end of a program that runs already, within `timeout`.
///
/// # Errors
///
/// As [`Running::ask`].
pub fn wait(pid: i64, timeout: Option<Duration>, now: Instant) -> Result<Step, GuestExecError> {
    Running { pid, time: Time::new(timeout, now) }.ask(now)
}

impl Asked {
    fn by(self, command: Prepared<OwnedFd>, now: Instant) -> Step {
        Step::Execute(command, self.time.left(now), self)
    }

    /// Goes on with how the command ended.
    ///
    /// # Errors
    ///
    /// Where it did not end well, or cannot be read.
    pub fn answered(
        self,
        outcome: Result<Raw, Error>,
        now: Instant,
    ) -> Result<Step, GuestExecError> {
        let Self { pid, time } = self;
        let Some(pid) = pid else {
            let started = read::<GuestExec<'_>>(outcome).map_err(GuestExecError::NotStarted)?;
            return Ok(Running { pid: started.pid, time }.rest(now));
        };
        let status = read::<GuestExecStatus>(outcome);
        let status = status.map_err(|error| GuestExecError::of_asking(pid, error))?;
        if !status.exited {
            return Ok(Running { pid, time }.rest(now));
        }
        let output = GuestOutput::new(&status);
        output.map(Step::Done).map_err(|error| GuestExecError::NotBase64 { pid, error })
    }
}

impl Running {
    fn rest(self, now: Instant) -> Step {
        let ran = now.saturating_duration_since(self.time.began);
        let pause = (ran / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let pause = match self.time.left(now) {
            None => pause,
            // The last question is as late as may be, and then the rest of the time passes.
            Some(left) if left > self.time.margin => pause.min(left - self.time.margin),
            Some(left) => left,
        };
        Step::Sleep(pause, self)
    }

    /// Asks how it stands, unless the deadline is too close: then what is left of the time passes.
    ///
    /// # Errors
    ///
    /// [`GuestExecError::StillRunning`] at the deadline.
    pub fn ask(self, now: Instant) -> Result<Step, GuestExecError> {
        let Self { pid, time } = self;
        let still_running = |error| GuestExecError::StillRunning { pid, error };
        match time.left(now) {
            Some(Duration::ZERO) => Err(still_running(Error::TimedOut { sent: false })),
            // One may wake later than one was to.
            Some(left) if left < time.margin / 2 => Ok(Step::Sleep(left, self)),
            _ => {
                let command = Request::of(&GuestExecStatus { pid }).prepare();
                let command = command.map_err(|error| still_running(error.into()))?;
                Ok(Asked { pid: Some(pid), time }.by(command, now))
            }
        }
    }
}

impl Time {
    /// A timeout too long for the clock is none.
    fn new(timeout: Option<Duration>, now: Instant) -> Self {
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        let margin = timeout.map_or(CLOSE, |timeout| CLOSE.min(timeout / 4));
        Self { began: now, deadline, margin }
    }

    fn left(self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }
}

fn read<C: Command>(outcome: Result<Raw, Error>) -> Result<C::Return, Error> {
    Ok(C::decode(outcome?)?)
}

#[cfg(test)]
mod tests;
