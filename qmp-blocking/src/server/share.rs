//! One server for many clients.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use qmp_client::Error;
use qmp_proto::server::{Call, Config};
use qmp_proto::{CloseReason, CommandError, Raw, Request};

use super::{Listener, Session};
use crate::lock;
use crate::{Client, Events};

/// How long clients may take to read what is left, when the server has ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets any number of clients use one server at once, until that ends, and tells how it did: QEMU itself
/// serves one client of a monitor after the other.
///
/// Each who comes to `listener` negotiates for itself, executes commands beside the others', out-of-band
/// and with descriptors too where `client` can, and gets all of `events`, which may overtake replies or be
/// overtaken. Take both from one [`connect_with_events`](crate::Builder::connect_with_events). A client that
/// is slow or gone harms itself alone: of what it does not read, 1 MiB is kept, and beyond that it misses
/// events. Of a flood that is faster than they can be passed on, all miss what `events` loses
/// ([`event_limits`](crate::Builder::event_limits)). A `quit` of any of them ends the server for all; they
/// have 10 s to read what was sent to them.
///
/// Where descriptors or threads run out, clients wait, or are turned away, which `turned_away` is told; so
/// the others stay. Stopping the listener keeps further clients out.
///
/// ```
/// use qmp_blocking::Builder;
/// use qmp_blocking::commands::{Cont, Quit};
/// use qmp_blocking::server::{self, Listener, Machine};
///
/// let machine = server::connect_machine(Machine::new())?;
/// let (monitor, events) = Builder::new().oob(true).from_stream_with_events(machine)?;
/// let listener = Listener::bind("tcp:127.0.0.1:0")?;
/// let address = listener.address().clone();
/// let sharing = std::thread::spawn(move || {
///     server::share(monitor, events, &listener, |error| eprintln!("turned away: {error}"))
/// });
///
/// let first = qmp_blocking::connect(address.clone())?;
/// let (second, mut events) = qmp_blocking::connect_with_events(address)?;
/// first.execute(&Cont)?;
/// assert_eq!(events.next().unwrap()?.name(), "RESUME");
/// second.execute(&Quit)?;
/// assert_eq!(sharing.join().unwrap()?, qmp_blocking::CloseReason::Quit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Where no thread can be started, or the listener fails. In the latter case the connection to the server
/// is closed.
pub fn share(
    client: Client,
    events: Events,
    listener: &Listener,
    turned_away: impl FnMut(io::Error),
) -> io::Result<CloseReason> {
    let share = Arc::new(Share::new(client));
    let (forwarder, stopper) = (share.clone(), listener.stopper());
    let forwarding = thread::Builder::new().spawn(move || {
        forwarder.forward(events);
        stopper.stop();
    })?;
    let served = share.serve_all(listener, turned_away);
    if served.is_err() {
        let _ = share.upstream.close(Duration::ZERO);
    }
    forwarding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    share.wait_for_readers();
    served.map(|()| share.upstream.closed())
}

struct Share {
    upstream: Client,
    /// What each client is offered.
    config: Config,
    sessions: Mutex<Vec<Arc<Session>>>,
    /// One of these has gone.
    gone: Condvar,
    /// Held for reading while a command is executed, so that it is answered before the end.
    executing: RwLock<()>,
}

impl Share {
    fn new(upstream: Client) -> Self {
        let mut config = Config::default();
        config.version = upstream.greeting().version.clone().unwrap_or(config.version);
        // What the server offers, this client has to have enabled.
        let out_of_band = upstream.line().hub.inspect(|it| it.oob_enabled());
        config.capabilities.retain(|capability| capability != "oob" || out_of_band);
        let (sessions, gone, executing) = (Mutex::default(), Condvar::new(), RwLock::default());
        Self { upstream, config, sessions, gone, executing }
    }

    /// Gives the events to everyone, which never waits for a client. With the server, all end.
    fn forward(&self, events: Events) {
        for event in events.flatten() {
            for session in lock(&self.sessions).iter() {
                session.event(&event);
            }
        }
        let _answered = self.executing.write();
        lock(&self.sessions).iter().for_each(|session| session.close());
    }

    fn serve_all(
        self: &Arc<Self>,
        listener: &Listener,
        mut turned_away: impl FnMut(io::Error),
    ) -> io::Result<()> {
        while let Some(stream) = listener.accept()? {
            self.serve(stream).unwrap_or_else(&mut turned_away);
        }
        Ok(())
    }

    fn serve(self: &Arc<Self>, stream: OwnedFd) -> io::Result<()> {
        let session = Arc::new(Session::new(stream, self.config.clone())?);
        lock(&self.sessions).push(session.clone());
        // While one runs a command, the other is there for those that are out-of-band.
        let started = (0..2).try_for_each(|_| {
            let (share, session) = (self.clone(), session.clone());
            thread::Builder::new().spawn(move || share.answer(&session)).map(drop)
        });
        if started.is_err() {
            session.abort();
            self.forget(&session);
        }
        started
    }

    fn answer(&self, session: &Arc<Session>) {
        while let Some(call) = session.next_call() {
            let _executing = self.executing.read();
            let outcome = self.execute(&call, session).map_err(|error| match error {
                Error::Command(error) => error,
                error => CommandError::generic(error.to_string()),
            });
            // A client that is gone needs no answer.
            let _ = session.respond(call.ticket, outcome);
        }
        self.forget(session);
    }

    fn execute(&self, call: &Call, session: &Session) -> Result<Raw, Error> {
        let mut request = Request::new(call.name.clone()).arguments(&call.arguments);
        if call.out_of_band {
            request = request.out_of_band();
        }
        if matches!(&*call.name, "getfd" | "add-fd") {
            request = session.take_descriptor().into_iter().fold(request, Request::descriptor);
        }
        self.upstream.execute_request(request)
    }

    /// Its client has gone, or was sent everything.
    fn forget(&self, session: &Arc<Session>) {
        lock(&self.sessions).retain(|other| !Arc::ptr_eq(other, session));
        self.gone.notify_all();
    }

    fn wait_for_readers(&self) {
        // Somebody may have come since all were told.
        lock(&self.sessions).iter().for_each(|session| session.close());
        let left = |sessions: &mut Vec<_>| !sessions.is_empty();
        let waited = self.gone.wait_timeout_while(lock(&self.sessions), PATIENCE, left);
        // Nobody waits for those any more: their threads end, and their sockets are closed.
        let (late, _) = waited.unwrap_or_else(PoisonError::into_inner);
        late.iter().for_each(|session| session.abort());
    }
}
