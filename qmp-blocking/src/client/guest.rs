//! Programs in the guest.

use std::time::{Duration, Instant};

use qmp_client::guest::{self, Step};
use qmp_client::{GuestExecError, GuestOutput, GuestProgram};
use qmp_proto::Command;
use qmp_proto::guest_commands::{GuestExec, GuestExecStatus};

use super::Client;

impl Client {
    /// Runs a program in the guest, through its agent, and waits for its end and its output.
    ///
    /// It is `guest-exec`, and then `guest-exec-status` again and again: soon at first, every half a
    /// second at last. In between, the connection is free for others. The timeout is for all of it.
    ///
    /// A program is never ended: whatever happens here, it goes on in the guest.
    ///
    /// # Errors
    ///
    /// A [`GuestExecError`] says whether the program runs, and whether it can still be waited for. A
    /// program that ended with an error of its own is no error here: see
    /// [`GuestOutput::status`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use qmp_blocking::{GuestExecError, GuestProgram, connect_guest_agent, printable};
    ///
    /// let guest = connect_guest_agent("unix:/tmp/ga.sock")?.with_timeout(Duration::from_secs(60));
    /// match guest.guest_exec(&GuestProgram::new("ls").args(["-l", "/"])) {
    ///     Ok(output) => println!("{}\n{}", output.status, printable(&output.stdout).with_lines()),
    ///     Err(GuestExecError::StillRunning { pid, .. }) => println!("to be waited for again: {pid}"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # Ok::<(), qmp_blocking::ConnectError>(())
    /// ```
    pub fn guest_exec(&self, program: &GuestProgram) -> Result<GuestOutput, GuestExecError> {
        let began = Instant::now();
        self.check_offered(GuestExec::NAME).map_err(GuestExecError::NotStarted)?;
        self.follow(guest::start(program.prepare(), self.left(began), Instant::now())?)
    }

    /// Waits for the end of a program in the guest that [`guest_exec`](Self::guest_exec) has left
    /// running, or that `guest-exec` started. Of the agent's clients, one alone can wait for a program:
    /// its end is told once.
    ///
    /// # Errors
    ///
    /// As [`guest_exec`](Self::guest_exec).
    pub fn guest_wait(&self, pid: i64) -> Result<GuestOutput, GuestExecError> {
        let began = Instant::now();
        self.check_offered(GuestExecStatus::NAME)
            .map_err(|error| GuestExecError::StillRunning { pid, error })?;
        self.follow(guest::wait(pid, self.left(began), Instant::now())?)
    }

    fn left(&self, began: Instant) -> Option<Duration> {
        self.timeout.map(|timeout| timeout.saturating_sub(began.elapsed()))
    }

    fn follow(&self, mut step: Step) -> Result<GuestOutput, GuestExecError> {
        loop {
            step = match step {
                Step::Execute(command, timeout, asked) => {
                    let outcome = self.with_timeout(timeout).run(command);
                    asked.answered(outcome, Instant::now())?
                }
                Step::Sleep(time, running) => {
                    self.sleep(time);
                    running.ask(Instant::now())?
                }
                Step::Done(output) => return Ok(output),
            }
        }
    }

    /// Sleeps so long, or up to the connection's end.
    fn sleep(&self, time: Duration) {
        self.closed_within(time);
    }
}
