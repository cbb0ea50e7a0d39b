//! Programs in the guest.

use std::future::Future;
use std::time::Instant;

use crate::asynchronous::client::Client;
use crate::asynchronous::runtime::within;
use crate::guest::{self, GuestExecError, GuestOutput, GuestProgram, Step};

impl Client {
    /// Runs a program in the guest, through its agent, and waits for its end and its output.
    ///
    /// It is `guest-exec`, and then `guest-exec-status` again and again: soon at first, every half a
    /// second at last. In between, the connection is free for others. The timeout is for all of it.
    /// The future is a handle: until it has ended or is dropped, the connection lives.
    ///
    /// A program is never ended: whatever happens here, it goes on in the guest. If this future is
    /// dropped before, nothing tells by what the agent knows the program, and an answer on its way may
    /// be lost: to be able to wait again, use a timeout.
    ///
    /// # Errors
    ///
    /// A [`GuestExecError`] says whether the program runs, and whether it can still be waited for. A
    /// program that ended with an error of its own is no error here: see
    /// [`GuestOutput::status`].
    pub fn guest_exec(
        &self,
        program: &GuestProgram,
    ) -> impl Future<Output = Result<GuestOutput, GuestExecError>> + Send + use<> {
        let (client, command) = (self.clone(), program.prepare());
        async move { client.follow(guest::start(command, client.timeout, Instant::now())?).await }
    }

    /// Waits for the end of a program in the guest that [`guest_exec`](Self::guest_exec) has left
    /// running, or that `guest-exec` started. Of the agent's clients, one alone can wait for a program:
    /// its end is told once.
    ///
    /// # Errors
    ///
    /// As [`guest_exec`](Self::guest_exec).
    pub fn guest_wait(
        &self,
        pid: i64,
    ) -> impl Future<Output = Result<GuestOutput, GuestExecError>> + Send + use<> {
        let client = self.clone();
        async move { client.follow(guest::wait(pid, client.timeout, Instant::now())?).await }
    }

    async fn follow(&self, mut step: Step) -> Result<GuestOutput, GuestExecError> {
        loop {
            step = match step {
                Step::Execute(command, timeout, asked) => {
                    let outcome = self.with_timeout(timeout).run(Ok(command), Ok).await;
                    asked.answered(outcome, Instant::now())?
                }
                Step::Sleep(time, running) => {
                    let closed = self.io().wait(self.io().shared.closed());
                    within(self.handle.sleep, Some(time), closed).await;
                    running.ask(Instant::now())?
                }
                Step::Done(output) => return Ok(output),
            }
        }
    }
}
