//! The types that programs hold: the handle, in this file, through which any number of threads use one connection.
//!
//! `builder`, `listener` and `scope` make it, and `weak` is a handle that does not count. `pending` has commands that are
//! started now and waited for later; `events` is a subscriber's iterator, and `offered` has the server's commands.
//! `callbacks` registers callbacks, and `guest` runs programs in the guest.

pub(crate) mod builder;
pub(crate) mod listener;
pub(crate) mod scope;
mod weak;
mod pending;
pub(crate) mod events;
mod offered;
mod callbacks;
mod guest;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use qmp_client::{Error, EventLimits, Options};
use qmp_proto::{CloseReason, Command, Event, Greeting, Prepared, Raw, Request};
use serde::Serialize;

pub(crate) use self::offered::Check;
use self::offered::Offered;
use crate::callbacks::{Callbacks, Idle};
use crate::client::events::Events;
use crate::io::{Progress, ThreadIo};

pub use self::pending::Pending;
pub use self::weak::WeakClient;

/// A connection to a QMP server. Clones share it, and any number of threads may use it at once.
///
/// When the last clone is dropped, the connection is closed at once: QEMU serves one client of a
/// monitor at a time. Event iterators do not count.
///
/// # Timeouts
///
/// A command waits as long as it takes, unless the builder's
/// [`command_timeout`](crate::Builder::command_timeout) or [`with_timeout`](Self::with_timeout)
/// says otherwise. After a timeout the connection is as good as before: the late reply is dropped
/// when it comes, and every other command gets its own.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use qmp_blocking::commands::{QueryName, QueryStatus, RunState};
///
/// # let socket = server();
/// let client = qmp_blocking::from_stream(socket)?;
/// let other = client.clone();
/// let name = std::thread::spawn(move || other.execute(&QueryName));
/// assert_eq!(client.execute(&QueryStatus)?.status, RunState::Running);
/// assert_eq!(name.join().unwrap()?.name.as_deref(), Some("demo"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
    timeout: Option<Duration>,
}

/// What the clones share. Its end is the connection's.
#[derive(Debug)]
struct Handle {
    io: Arc<ThreadIo>,
    greeting: Greeting,
    limits: EventLimits,
    callbacks: Arc<Callbacks>,
    offered: Offered,
    /// What refuses commands that the server does not offer, where they are not sent.
    refuse_unknown: Option<Check>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // What was accepted before goes out as if it had been sent at once.
        self.io.send_put_off();
        self.io.shared.abort();
        self.io.finish();
    }
}

impl Client {
    pub(crate) fn new(
        io: Arc<ThreadIo>,
        greeting: Greeting,
        options: &Options,
        callbacks: Arc<Callbacks>,
        refuse_unknown: Option<Check>,
    ) -> Self {
        let (limits, offered) = (options.event_limits, Offered::default());
        let handle = Handle { io, greeting, limits, callbacks, offered, refuse_unknown };
        Self { handle: Arc::new(handle), timeout: options.command_timeout }
    }

    /// This connection with another timeout for the commands of this handle; `None` for none.
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        Self { handle: self.handle.clone(), timeout: timeout.into() }
    }

    /// Executes a command and waits for what it returns.
    ///
    /// # Errors
    ///
    /// An [`Error`] tells the server's error, a refusal of ours, a connection that ended (and
    /// whether the command may have run) and the timeout apart.
    pub fn execute<C: Command>(&self, command: &C) -> Result<C::Return, Error> {
        Ok(C::decode(self.execute_request(Request::of(command))?)?)
    }

    /// Executes a command out-of-band: it overtakes all others, in the queue and at the server.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute). It is refused unless the builder asked for out-of-band
    /// execution and the server offers it.
    pub fn execute_oob<C: Command>(&self, command: &C) -> Result<C::Return, Error> {
        Ok(C::decode(self.execute_request(Request::of(command).out_of_band())?)?)
    }

    /// Executes a command with a descriptor, for `getfd` and `add-fd`. The descriptor is closed
    /// here once it is sent, or cannot be.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute). It is refused where the transport is no Unix socket.
    pub fn execute_with_fd<C: Command>(
        &self,
        command: &C,
        descriptor: impl Into<OwnedFd>,
    ) -> Result<C::Return, Error> {
        let request = Request::of(command).descriptor(descriptor.into());
        Ok(C::decode(self.execute_request(request)?)?)
    }

    /// Executes a command and waits for both its return and an event, in whichever order they come.
    ///
    /// The event cannot be missed, nor lost to a full queue: `matches` is shown every event from
    /// the command's first byte on; one that came before does not count. It is called by whichever
    /// thread receives the event, so it should be quick, and it must not call this client. It owns
    /// what it looks for: `let id = id.to_owned();`, then `move |event| …`.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute): an error of the command's ends the wait. The timeout is for
    /// both: where the command was answered and the event did not come, it is [`Error::NoEvent`]. A panic in
    /// `matches` is [`Error::MatcherPanicked`].
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = qmp_blocking::from_stream(server())?;
    /// use qmp_blocking::{commands::DeviceDel, events::DeviceDeleted};
    ///
    /// let gone = |event: &qmp_blocking::Event| match event.parse_as::<DeviceDeleted>() {
    ///     Some(Ok(deleted)) => deleted.device.as_deref() == Some("net0"),
    ///     _ => false,
    /// };
    /// let (_, event) = client.execute_until(&DeviceDel { id: "net0" }, gone)?;
    /// assert_eq!(event.name(), "DEVICE_DELETED");
    /// # Ok(())
    /// # }
    /// ```
    pub fn execute_until<C: Command>(
        &self,
        command: &C,
        matches: impl Fn(&Event) -> bool + Send + Sync + 'static,
    ) -> Result<(C::Return, Event), Error> {
        self.check_offered(C::NAME)?;
        let prepared = Request::of(command).prepare()?;
        let deadline = deadline(self.timeout);
        let mut pending = self.io().shared.execute_until(prepared, Box::new(matches))?;
        self.io().flush();
        match self.io().wait(deadline, |waker| {
            let poll = pending.poll(waker);
            Progress::new(poll, pending.has_begun())
        }) {
            Some(outcome) => {
                let (raw, event) = outcome?;
                Ok((C::decode(raw)?, event))
            }
            None => {
                let error = pending.give_up();
                self.io().flush();
                Err(error)
            }
        }
    }

    /// Executes a command without a type of its own and waits for what it returns, as raw JSON.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = qmp_blocking::from_stream(server())?;
    /// use qmp_blocking::Request;
    ///
    /// let arguments = serde_json::json!({"device": "ide1-cd0"});
    /// client.execute_request(Request::new("eject").arguments(arguments))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn execute_request<A: Serialize>(
        &self,
        request: Request<A, OwnedFd>,
    ) -> Result<Raw, Error> {
        self.check_offered(request.name())?;
        self.run(request.prepare()?)
    }

    /// Executes a query by its name, with or without the prefix `query-`: `status` stands for
    /// `query-status`.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub fn query(&self, name: &str) -> Result<Raw, Error> {
        self.execute_request(Request::query(name))
    }

    /// All events from now on.
    pub fn events(&self) -> Events {
        self.events_with(self.handle.limits)
    }

    /// All events from now on, with a queue of another size.
    pub fn events_with(&self, limits: EventLimits) -> Events {
        Events::new(self.io().shared.subscribe(limits), self.io())
    }

    /// Waits until no command waits for its turn and no reply is owed, those to commands that
    /// nobody waits for any more included, and until callbacks have returned: those of all commands
    /// that were submitted, and those of the events that came before the last reply. `None` waits
    /// as long as it takes.
    ///
    /// # Errors
    ///
    /// [`Error::StillBusy`] at the deadline. A connection that has ended is idle when its callbacks
    /// have returned. [`Error::InsideCallback`] from inside any client's callback: it would wait
    /// for itself, or for one that waits for it.
    pub fn wait_idle(&self, timeout: impl Into<Option<Duration>>) -> Result<(), Error> {
        let mut idle = Idle::new(&self.handle.callbacks)?;
        // Another thread that gives up a command may make it idle.
        let poll = |waker: &Waker| Progress::new(idle.poll(waker), false);
        self.io().wait(deadline(timeout.into()), poll).ok_or(Error::StillBusy)
    }

    /// What the server said first: its version and its capabilities. That of a guest agent, which says
    /// nothing first, is empty.
    pub fn greeting(&self) -> &Greeting {
        &self.handle.greeting
    }

    /// Waits until the connection has ended, and tells how.
    pub fn closed(&self) -> CloseReason {
        self.wait_closed(None).unwrap_or(CloseReason::Requested)
    }

    /// As [`closed`](Self::closed), for so long at most: `None` where the connection lives on. A server
    /// may answer `quit` and hang before it ends.
    pub fn closed_within(&self, timeout: Duration) -> Option<CloseReason> {
        self.wait_closed(deadline(Some(timeout)))
    }

    /// How the connection ended; `None` while it lives.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.io().shared.inspect(|connection| connection.close_reason().cloned())
    }

    /// Closes the connection in an orderly way, for all clones: new commands are refused, those
    /// not sent end as [`Error::NotSent`], and the replies in flight are awaited for at most
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::StillBusy`] where replies were still owed then. The connection is closed either way.
    pub fn close(&self, timeout: Duration) -> Result<(), Error> {
        let io = self.io();
        io.send_put_off();
        io.shared.close();
        let closed = self.wait_closed(deadline(Some(timeout)));
        io.shared.abort();
        io.finish();
        closed.map(|_| ()).ok_or(Error::StillBusy)
    }

    fn wait_closed(&self, deadline: Option<Instant>) -> Option<CloseReason> {
        let mut closed = self.io().shared.closed();
        let poll = |waker: &Waker| Progress::by_socket(closed.poll(waker));
        self.io().wait(deadline, poll)
    }

    fn run(&self, prepared: Prepared<OwnedFd>) -> Result<Raw, Error> {
        let deadline = deadline(self.timeout);
        let pending = self.io().shared.execute(prepared, None)?;
        self.io().flush();
        self.io().wait_for(pending, deadline)
    }

    /// How much a subscriber's queue holds.
    pub(crate) fn event_limits(&self) -> EventLimits {
        self.handle.limits
    }

    /// How long a command may take.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn io(&self) -> &Arc<ThreadIo> {
        &self.handle.io
    }
}

/// A timeout too long for the clock is none.
pub fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}
