//! One server for many clients.
//!
//! `options` has the limits. `served` is one client and the thread that serves it, and `presence` is a client as others
//! see it.

mod options;
mod served;
mod presence;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use qmp_blocking::__server::{Upstream, lock};
use qmp_blocking::Client;
use qmp_client::descriptors;
use qmp_proto::{CloseReason, CommandError};

use crate::{Config, Connection};

pub use self::options::ShareOptions;
use self::presence::Presence;
use self::served::Served;
use super::Listener;
use super::receive::linger;

/// How long a client that is turned away may go on writing. Meanwhile no other client is accepted.
const TURNED_AWAY: Duration = Duration::from_millis(20);

/// Lets many clients use one server at once, until the server ends, and returns how it did. QEMU itself
/// serves one client of a monitor after the other. [`ShareOptions`] has the limits; this takes the defaults.
///
/// Each client that comes to `listener` negotiates for itself. It executes commands next to those of the other clients,
/// out-of-band and with file descriptors too if `client` can. It gets all events from its own negotiation on,
/// as by a subscription of its own. An event may overtake a reply, or be overtaken.
///
/// These limits hold for each client:
///
/// - A command beyond [`max_command`](ShareOptions::max_command) is refused and does not reach the server. A smaller
///   command delays the other clients for as long as the server takes for it; see there how long that may be.
/// - Beyond [`max_unread`](ShareOptions::max_unread) bytes that a client does not read, it misses events, and
///   its commands wait. Of a flood that is faster than its thread, it misses what its own queue loses
///   ([`event_limits`](qmp_blocking::Builder::event_limits)). If it reads nothing for the [`read_timeout`](ShareOptions::read_timeout), it is dropped.
/// - Commands that a client had asked for are dropped when it leaves, unless the server has them already: at
///   most one, and one out-of-band.
/// - A client that does not negotiate in the [`negotiation_timeout`](ShareOptions::negotiation_timeout) is
///   dropped.
/// - At most [`max_clients`](ShareOptions::max_clients) are served. If one more comes, the client that has waited longest without
///   negotiating is dropped. If all have negotiated, the new client gets a greeting and an error that names the limit, and its
///   connection is closed. A client that has negotiated is never dropped for being silent, since a client may be idle for
///   hours. So that many silent clients keep new clients out until one of them leaves: let only trusted users reach the
///   socket.
///
/// A `quit` of any client ends the server for all. They have 10 s to read what was sent to them.
///
/// `turned_away` is called for each client that could not be served, with the reason: there are too many, or no thread or
/// file descriptor is left. The client itself gets an error only for the limit and for a lack of descriptors. A client that
/// cannot even be accepted waits. Stopping the listener keeps further clients out.
///
/// ```
/// use qmp_blocking::Builder;
/// use qmp_blocking::commands::{Cont, Quit};
/// use qmp_server::Machine;
/// use qmp_server::net::Listener;
/// use qmp_server::net;
///
/// let machine = net::connect_machine(Machine::new())?;
/// let monitor = Builder::new().oob(true).from_stream(machine)?;
/// let listener = Listener::bind("tcp:127.0.0.1:0")?;
/// let address = listener.address().clone();
/// let sharing = std::thread::spawn(move || {
///     net::share(monitor, &listener, |error| eprintln!("turned away: {error}"))
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
/// If no thread can be started for the server, or the listener fails. In the latter case the connection to
/// the server is closed.
pub fn share(
    client: Client,
    listener: &Listener,
    turned_away: impl FnMut(io::Error),
) -> io::Result<CloseReason> {
    ShareOptions::new().share(client, listener, turned_away)
}

/// What all clients of a server share.
#[derive(Debug)]
struct Share {
    upstream: Client,
    options: ShareOptions,
    /// The protocol with each client.
    config: Config,
    /// In the order in which they came.
    clients: Mutex<Vec<Arc<Presence>>>,
}

fn run(
    upstream: Client,
    options: ShareOptions,
    listener: &Listener,
    turned_away: impl FnMut(io::Error),
) -> io::Result<CloseReason> {
    let config = config(&upstream, &options);
    let share = Arc::new(Share { upstream, options, config, clients: Mutex::default() });
    let (upstream, stopper) = (share.upstream.clone(), listener.stopper());
    // This thread reads from the server for all.
    let reading = thread::Builder::new().name("qmp-share".to_owned()).spawn(move || {
        let reason = upstream.closed();
        stopper.stop();
        reason
    })?;
    let mut threads = Vec::new();
    let served = share.serve_all(listener, turned_away, &mut threads);
    if served.is_err() {
        let _ = share.upstream.close(Duration::ZERO);
    }
    let reason = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    // Each ends by itself, as the server has.
    threads.into_iter().for_each(|thread| drop(thread.join()));
    served.map(|()| reason)
}

fn config(upstream: &Client, options: &ShareOptions) -> Config {
    let mut config = Config::default();
    config.version = upstream.greeting().version.clone().unwrap_or(config.version);
    // A capability that the server offers and `upstream` has not enabled cannot be passed on.
    let out_of_band = upstream.shared().inspect(|it| it.oob_enabled());
    config.capabilities.retain(|capability| capability != "oob" || out_of_band);
    config.max_command = options.max_command;
    config.max_output = options.max_unread;
    config
}

impl Share {
    fn serve_all(
        self: &Arc<Self>,
        listener: &Listener,
        mut turned_away: impl FnMut(io::Error),
        threads: &mut Vec<JoinHandle<()>>,
    ) -> io::Result<()> {
        while let Some(stream) = listener.accept()? {
            threads.retain(|thread| !thread.is_finished());
            match self.serve(stream) {
                Ok(thread) => threads.push(thread),
                Err(error) => turned_away(error),
            }
        }
        Ok(())
    }

    fn serve(self: &Arc<Self>, stream: OwnedFd) -> io::Result<JoinHandle<()>> {
        let presence = self.admit().inspect_err(|error| self.turn_away(&stream, error))?;
        let served = Served::new(self.clone(), stream, presence.clone());
        let thread = thread::Builder::new().name("qmp-share".to_owned()).spawn(|| served.run());
        if thread.is_err() {
            self.forget(&presence);
        }
        thread
    }

    /// Sends the greeting, and an error with the reason. A socket with too little room gets a part of it.
    fn turn_away(&self, stream: &OwnedFd, reason: &io::Error) {
        let mut connection = <Connection>::new(self.config.clone());
        connection.turn_away(&CommandError::generic(reason.to_string()));
        let _ = connection.transmit().map(|bytes| descriptors::send(stream.as_fd(), bytes, None));
        linger(stream, TURNED_AWAY, &mut [0; 4096]);
    }

    /// Makes room for one more client.
    fn admit(&self) -> io::Result<Arc<Presence>> {
        let presence = Arc::new(Presence::new()?);
        let mut clients = lock(&self.clients);
        if clients.len() >= self.options.max_clients {
            let waiting = clients.iter().position(|client| !client.has_negotiated());
            let waiting = waiting.ok_or_else(|| {
                let most = self.options.max_clients;
                io::Error::other(format!("the number of clients has reached its limit, {most}"))
            })?;
            clients.remove(waiting).send_away();
        }
        clients.push(presence.clone());
        Ok(presence)
    }

    /// Its client is not served any more.
    fn forget(&self, presence: &Arc<Presence>) {
        lock(&self.clients).retain(|other| !Arc::ptr_eq(other, presence));
    }
}
