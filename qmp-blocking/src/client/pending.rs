//! Commands that are started now and waited for later.

use std::fmt;
use std::os::fd::OwnedFd;
use std::task::{Poll, Waker};
use std::time::Instant;

use qmp_client::Error;
use qmp_proto::{Command, DecodeError, Raw, Request};
use serde::Serialize;

use super::{Client, deadline};

/// A command that was started: see [`Client::start`].
///
/// As a client it keeps the connection open. Dropped before its end, it gives the command up: one that
/// was not sent is withdrawn, and the reply to one that was is dropped when it comes.
#[must_use = "dropping this gives the command up; `wait` waits for it"]
pub struct Pending<T> {
    command: Started,
    deadline: Option<Instant>,
    decode: fn(Raw) -> Result<T, DecodeError>,
    /// Dropped behind the command.
    client: Sending,
}

enum Started {
    Outstanding(qmp_client::Pending),
    Finished(Result<Raw, Error>),
}

/// Behind a command that was given up others may have their turn: they are sent when this is dropped.
struct Sending(Client);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.io().flush();
    }
}

impl Client {
    /// Starts a command, and leaves it to the caller when to wait for what it returns. So one thread has
    /// many commands outstanding: it starts them all, and then waits for each, in any order.
    ///
    /// The first is sent at once. Those that are started while others are outstanding are sent
    /// together, when somebody waits for any of them or when a reply comes, and otherwise in a
    /// millisecond or two. The timeout, which counts from here, is as for [`execute`](Self::execute).
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]: nothing is sent. All else is told by [`Pending::wait`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = qmp_blocking::from_stream(server())?;
    /// use qmp_blocking::commands::{QueryName, QueryStatus};
    ///
    /// let name = client.start(&QueryName)?;
    /// let status = client.start(&QueryStatus)?;
    /// println!("{:?} is {:?}", name.wait()?.name, status.wait()?.status);
    /// # Ok(())
    /// # }
    /// ```
    pub fn start<C: Command>(&self, command: &C) -> Result<Pending<C::Return>, Error> {
        self.begin(Request::of(command), C::decode)
    }

    /// As [`start`](Self::start), for a command without a type of its own. It may be out-of-band, and
    /// is sent at once then, or carry a descriptor.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = qmp_blocking::from_stream(server())?;
    /// use qmp_blocking::Request;
    ///
    /// let queries = ["query-name", "query-status"].map(|name| client.start_request(Request::new(name)));
    /// for query in queries {
    ///     println!("{:?}", query?.wait()?.as_str());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_request<A: Serialize>(
        &self,
        request: Request<A, OwnedFd>,
    ) -> Result<Pending<Raw>, Error> {
        self.begin(request, Ok)
    }

    fn begin<A: Serialize, T>(
        &self,
        request: Request<A, OwnedFd>,
        decode: fn(Raw) -> Result<T, DecodeError>,
    ) -> Result<Pending<T>, Error> {
        self.check_offered(request.name())?;
        let deadline = deadline(self.timeout);
        let command = Started::Outstanding(self.io().begin(request.prepare()?, None)?);
        Ok(Pending { command, deadline, decode, client: Sending(self.clone()) })
    }
}

impl<T> Pending<T> {
    /// Waits for what the command returns.
    ///
    /// # Errors
    ///
    /// As [`Client::execute`].
    pub fn wait(self) -> Result<T, Error> {
        let io = self.client.0.io();
        io.send_put_off();
        let outcome = match self.command {
            Started::Outstanding(pending) => io.wait_for(pending, self.deadline),
            Started::Finished(outcome) => outcome,
        };
        Ok((self.decode)(outcome?)?)
    }

    /// Whether [`wait`](Self::wait) would return at once.
    pub fn is_finished(&mut self) -> bool {
        self.client.0.io().send_put_off();
        let Started::Outstanding(pending) = &mut self.command else { return true };
        match pending.poll(Waker::noop()) {
            Poll::Ready(outcome) => {
                self.command = Started::Finished(outcome);
                true
            }
            Poll::Pending => self.deadline.is_some_and(|deadline| deadline <= Instant::now()),
        }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
