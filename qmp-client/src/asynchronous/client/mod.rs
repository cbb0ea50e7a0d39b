//! The types that programs hold: the handle, in this file, through which any number of tasks use one connection.
//!
//! `builder` makes it. `execute` has the future of a command, on top of `outstanding`; `events` is a
//! subscriber's stream, and `guest` runs programs in the guest.

pub(crate) mod builder;
pub(crate) mod execute;
pub(crate) mod outstanding;
pub(crate) mod events;
mod guest;

use std::os::fd::OwnedFd;
use std::task::{Poll, Waker};
use std::time::Duration;

use qmp_proto::{
    CloseReason, Command, DecodeError, Event, Greeting, Prepared, Raw, Refusal, Request,
};
use serde::Serialize;

use crate::asynchronous::client::events::Events;
use crate::asynchronous::client::execute::{Execute, ExecuteUntil};
use crate::asynchronous::client::outstanding::Outstanding;
use crate::asynchronous::io::task_io::{Came, TaskIo};
use crate::asynchronous::runtime::{Sleep, within};
use crate::error::Error;
use crate::options::Options;
use crate::shared::Manner;
use crate::shared::subscription::{EventLimits, Subscription};
use crate::shared::sync::Arc;

/// A connection to a QMP server. Clones share it, and any number of tasks may use it at once, on any
/// executor.
///
/// When the last clone and the last unfinished future of a command are dropped, the connection is
/// closed at once: QEMU serves one client of a monitor at a time. Event streams do not count.
///
/// # Cancellation
///
/// Every future here can be dropped at any time. A command's that is dropped is withdrawn, if nothing
/// of it was claimed for sending; if not, its late reply is dropped when it comes. Never is a command
/// torn, and every other gets its own reply.
///
/// # Timeouts
///
/// A command waits as long as it takes, unless the builder's `command_timeout` or
/// [`with_timeout`](Self::with_timeout) says otherwise. The time begins when the future is first
/// polled. After it the connection is as good as before.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { async_io::block_on(async {
/// use futures_lite::future::zip;
/// use qmp_proto::commands::{Cont, QueryStatus, RunState};
///
/// # let socket = server();
/// let client = from_stream(socket).await?;
/// let until_it_runs = client.execute_until(&Cont, |event| event.name() == "RESUME");
/// let (resumed, status) = zip(until_it_runs, client.execute(&QueryStatus)).await;
/// assert_eq!(resumed?.1.name(), "RESUME");
/// assert_eq!(status?.status, RunState::Running);
/// # Ok(())
/// # })}
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) handle: Arc<Handle>,
    pub(crate) timeout: Option<Duration>,
}

/// What the clones and their futures share. Its end is the connection's.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) io: Arc<TaskIo>,
    greeting: Greeting,
    limits: EventLimits,
    pub(crate) sleep: fn(Duration) -> Sleep,
}

impl Handle {
    /// Has a command accepted. If nothing else is outstanding it may be its caller's to send, and to
    /// receive the reply.
    pub(crate) fn begin<P: Outstanding>(&self, plan: P::Plan) -> Result<(P, Manner), Refusal> {
        let begun = P::begin(&self.io.shared, plan)?;
        let command = begun.command();
        let manner = match command.was_alone() {
            true => self.io.give_turn(command),
            false => Manner::Leaves,
        };
        Ok((begun, manner))
    }

    /// Sends a command or sees that it is sent.
    ///
    /// With others outstanding it is the driver's to send, with all that have come by then; but what is
    /// out-of-band passes them.
    pub(crate) fn send(&self, manner: Manner, passes: bool) {
        if passes || manner != Manner::Leaves {
            self.io.send();
        }
        if manner == Manner::Leaves {
            self.io.call_driver();
        }
    }

    /// Receives, if it is this command's turn, and tells how it ended if it has.
    pub(crate) fn receive<P: Outstanding>(
        &self,
        command: &mut P,
        waker: &Waker,
    ) -> Poll<Result<P::Output, Error>> {
        let came = self.io.receive_for(command.command());
        if came == Came::Nothing {
            return Poll::Pending;
        }
        let outcome = command.poll_outcome(waker);
        let waits = outcome.is_pending().then_some(waker);
        self.io.received(came, command.command().standing(), waits);
        outcome
    }

    /// A command is not waited for any more: those behind it may have their turn.
    pub(crate) fn withdrawn(&self) {
        self.io.call_driver();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.io.finish();
    }
}

impl Client {
    pub(crate) fn new(
        io: Arc<TaskIo>,
        greeting: Greeting,
        options: &Options,
        sleep: fn(Duration) -> Sleep,
    ) -> Self {
        let handle = Handle { io, greeting, limits: options.event_limits, sleep };
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
    pub fn execute<C: Command>(&self, command: &C) -> Execute<C::Return> {
        self.run(Request::of(command).prepare(), C::decode)
    }

    /// Executes a command out-of-band: it overtakes all others, in the queue and at the server.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute). It is refused unless the builder asked for out-of-band
    /// execution and the server offers it.
    pub fn execute_oob<C: Command>(&self, command: &C) -> Execute<C::Return> {
        self.run(Request::of(command).out_of_band().prepare(), C::decode)
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
    ) -> Execute<C::Return> {
        self.run(Request::of(command).descriptor(descriptor.into()).prepare(), C::decode)
    }

    /// Executes a command and waits for both its return and an event, in whichever order they come.
    ///
    /// The event cannot be missed, nor lost to a full queue: `matches` is shown every event from
    /// the command's first byte on; one that came before does not count. It is called by whichever
    /// task receives the event, so it should be quick, and it must not call this client. It owns what
    /// it looks for: `let id = id.to_owned();`, then `move |event| …`.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute): an error of the command's ends the wait. The timeout is for
    /// both: where the command was answered and the event did not come, it is [`Error::NoEvent`]. A panic in
    /// `matches` is [`Error::MatcherPanicked`].
    pub fn execute_until<C: Command>(
        &self,
        command: &C,
        matches: impl Fn(&Event) -> bool + Send + Sync + 'static,
    ) -> ExecuteUntil<C::Return> {
        let prepared = Request::of(command).prepare();
        let handle = self.handle.clone();
        ExecuteUntil::new(handle, self.timeout, prepared, Box::new(matches), C::decode)
    }

    /// Executes a command without a type of its own and waits for what it returns, as raw JSON.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub fn execute_request<A: Serialize>(&self, request: Request<A, OwnedFd>) -> Execute<Raw> {
        self.run(request.prepare(), Ok)
    }

    /// Executes a query by its name, with or without the prefix `query-`: `status` stands for
    /// `query-status`.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub fn query(&self, name: &str) -> Execute<Raw> {
        self.execute_request(Request::query(name))
    }

    /// All events from now on.
    pub fn events(&self) -> Events {
        self.events_with(self.handle.limits)
    }

    /// All events from now on, with a queue of another size.
    pub fn events_with(&self, limits: EventLimits) -> Events {
        self.to_events(self.io().shared.subscribe(limits))
    }

    /// Waits until no command waits for its turn and no reply is owed, those to commands that
    /// nobody waits for any more included; `None` waits as long as it takes.
    ///
    /// # Errors
    ///
    /// [`Error::StillBusy`] at the deadline. A connection that has ended is idle.
    pub async fn wait_idle(&self, timeout: impl Into<Option<Duration>>) -> Result<(), Error> {
        let idle = self.io().wait(self.io().shared.idle());
        within(self.handle.sleep, timeout.into(), idle).await.ok_or(Error::StillBusy)
    }

    /// What the server said first: its version and its capabilities. That of a guest agent, which says
    /// nothing first, is empty.
    pub fn greeting(&self) -> &Greeting {
        &self.handle.greeting
    }

    /// Waits until the connection has ended, and tells how.
    pub async fn closed(&self) -> CloseReason {
        self.io().wait(self.io().shared.closed()).await
    }

    /// How the connection ended; `None` while it lives.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.io().shared.inspect(|connection| connection.close_reason().cloned())
    }

    /// Closes the connection in an orderly way, for all clones: new commands are refused, those
    /// not sent end as [`Error::NotSent`], and the replies in flight are awaited for at most
    /// `timeout`.
    ///
    /// If its future is dropped before it has ended, closing goes on, without a deadline.
    ///
    /// # Errors
    ///
    /// [`Error::StillBusy`] where replies were still owed then. The connection is closed either way.
    pub async fn close(&self, timeout: Duration) -> Result<(), Error> {
        let io = self.io();
        io.shared.close();
        io.call_driver();
        let closed = io.wait(io.shared.closed());
        let closed = within(self.handle.sleep, Some(timeout), closed).await;
        io.finish();
        closed.map(|_| ()).ok_or(Error::StillBusy)
    }

    pub(crate) fn to_events(&self, subscription: Subscription) -> Events {
        Events::new(subscription, self.handle.sleep, self.io().bell())
    }

    pub(crate) fn run<T>(
        &self,
        prepared: Result<Prepared<OwnedFd>, Refusal>,
        decode: fn(Raw) -> Result<T, DecodeError>,
    ) -> Execute<T> {
        Execute::new(self.handle.clone(), self.timeout, prepared, decode)
    }

    pub(crate) fn io(&self) -> &TaskIo {
        &self.handle.io
    }
}
