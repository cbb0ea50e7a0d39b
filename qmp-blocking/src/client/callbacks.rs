//! A client's callbacks: of events, and of commands that nobody waits for.

use std::os::fd::OwnedFd;

use qmp_client::Error;
use qmp_proto::{Command, Event, Raw, Request};
use serde::Serialize;

use super::{Client, deadline};
use crate::callbacks::Registration;

/// # Callbacks
///
/// Callbacks run on a [`Pool`](crate::Pool), by default ten threads of this connection's. Each
/// callback of events is called in order and by one thread at a time; different callbacks, and those
/// of commands, run beside each other. They may use the client as any thread may, also where the
/// pool is a single thread: who waits for a reply reads it itself. Only
/// [`wait_idle`](Self::wait_idle) and the end of a [`scope`](crate::scope) are refused there.
///
/// What is submitted or registered does not keep the connection alive: only clients do, those that
/// a callback has captured included; [`downgrade`](Self::downgrade) gives a handle that does not.
/// When the last client is dropped, commands that were submitted end: each callback is called, with
/// [`Error::NotSent`] or [`Error::Unanswered`]. A process that ends does not wait for them, which is
/// what [`wait_idle`](Self::wait_idle) is for.
///
/// What a panic in a callback does is the builder's
/// [`on_callback_panic`](crate::Builder::on_callback_panic): by default the connection is closed.
impl Client {
    /// Calls a function with each event of this name from now on, until the [`Registration`] is
    /// dropped or the connection ends.
    ///
    /// To use the client inside, capture [`client.downgrade()`](Self::downgrade), not a clone: a
    /// captured clone keeps the connection open.
    ///
    /// # Panics
    ///
    /// Where the system refuses the pool's first thread, as [`std::thread::spawn`] does.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = qmp_blocking::from_stream(server())?;
    /// use std::sync::mpsc;
    ///
    /// let (sender, stops) = mpsc::channel();
    /// let registration = client.on_event("STOP", move |event| sender.send(event.timestamp()).unwrap());
    /// client.query("status")?;
    /// client.execute(&qmp_blocking::commands::Stop)?;
    /// println!("stopped at {:?}", stops.recv()?);
    /// drop(registration); // from now on nobody listens
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_event(
        &self,
        name: impl Into<String>,
        callback: impl FnMut(Event) + Send + 'static,
    ) -> Registration {
        self.register(Some(name.into()), callback)
    }

    /// As [`on_event`](Self::on_event), for all events.
    ///
    /// # Panics
    ///
    /// As [`on_event`](Self::on_event).
    pub fn on_any_event(&self, callback: impl FnMut(Event) + Send + 'static) -> Registration {
        self.register(None, callback)
    }

    fn register(
        &self,
        name: Option<String>,
        callback: impl FnMut(Event) + Send + 'static,
    ) -> Registration {
        let subscription = self.io().shared.subscribe_to(self.handle.limits, name);
        self.handle.callbacks.register(subscription, callback)
    }

    /// Executes a command and does not wait: the callback is called with what it returns, once.
    /// Who has no use for that passes [`drop`].
    ///
    /// The timeout is as for [`execute`](Self::execute), and what was refused is told here: then
    /// the callback is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]. As many commands may be unfinished as
    /// [`max_queued`](crate::Builder::max_queued) allows; one is finished when its callback has
    /// returned.
    ///
    /// # Panics
    ///
    /// As [`on_event`](Self::on_event).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = qmp_blocking::from_stream(server())?;
    /// use qmp_blocking::commands::{QueryName, Stop};
    ///
    /// client.submit(&QueryName, |outcome| match outcome {
    ///     Ok(info) => println!("the machine is {:?}", info.name),
    ///     Err(error) => eprintln!("{error}"),
    /// })?;
    /// client.submit(&Stop, drop)?;
    /// client.wait_idle(None)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit<C: Command>(
        &self,
        command: &C,
        callback: impl FnOnce(Result<C::Return, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let decode = |raw| Ok(C::decode(raw)?);
        self.submit_request(Request::of(command), move |outcome| callback(outcome.and_then(decode)))
    }

    /// As [`submit`](Self::submit), for a command without a type of its own. It may be out-of-band
    /// or carry a descriptor.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Panics
    ///
    /// As [`on_event`](Self::on_event).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = qmp_blocking::from_stream(server())?;
    /// use qmp_blocking::Request;
    ///
    /// let eject = Request::new("eject").arguments(serde_json::json!({"device": "ide1-cd0"}));
    /// client.submit_request(eject, |outcome| println!("ejected: {outcome:?}"))?;
    /// client.wait_idle(None)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit_request<A: Serialize>(
        &self,
        request: Request<A, OwnedFd>,
        callback: impl FnOnce(Result<Raw, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.check_offered(request.name())?;
        let deadline = deadline(self.timeout);
        self.handle.callbacks.submit(request.prepare()?, deadline, Box::new(callback))
    }

    /// As [`query`](Self::query), and does not wait: the callback is called with what it returns,
    /// once.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Panics
    ///
    /// As [`on_event`](Self::on_event).
    pub fn query_then(
        &self,
        name: &str,
        callback: impl FnOnce(Result<Raw, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.submit_request(Request::query(name), callback)
    }
}
