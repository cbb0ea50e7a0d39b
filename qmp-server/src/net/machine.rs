//! A machine behind a listener, or behind a single connection.

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use qmp_blocking::__server::lock;
use qmp_client::Address;
use qmp_proto::{CommandError, Event, Raw, Timestamp};

use super::listener::{Listener, Stopper};
use super::session::Session;
use crate::{Machine, Monitor, RespondError, Ticket};

/// A machine that serves the clients of a listener in a thread of its own, until `quit` or until it
/// is dropped.
///
/// It serves one client at a time, as QEMU does: the others are connected and hear nothing until
/// it is their turn. A client finds the machine as the one before has left it. Dropping the server
/// ends its client's connection; it waits for a command that runs, so a command's function must
/// come to an end.
///
/// ```
/// use qmp_blocking::commands::{QueryStatus, Quit};
/// use qmp_server::Machine;
/// use qmp_server::net::Server;
///
/// let folder = tempfile::tempdir()?;
/// let mut machine = Machine::new();
/// machine.on("query-name", |_, _| Ok(serde_json::json!({"name": "demo"})));
/// let server = Server::bind(folder.path().join("qmp.sock"), machine)?;
///
/// let client = qmp_blocking::connect(server.address())?;
/// assert_eq!(client.query("name")?.as_str()?, r#"{"name": "demo"}"#);
/// drop(client);
/// let client = qmp_blocking::connect(server.address())?;
/// client.execute(&Quit)?;
/// server.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it ends it"]
pub struct Server {
    address: Address,
    stopper: Stopper,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// Who needs both locks takes the machine's first. It is held while a command runs.
#[derive(Debug)]
struct Shared {
    machine: Mutex<Machine<OwnedFd>>,
    client: Mutex<Client>,
}

#[derive(Debug)]
enum Client {
    None,
    Served(Arc<Session>),
    /// Nobody is served any more.
    Stopped,
}

impl Server {
    /// Listens at an address as [`Listener::bind`] does, and serves who comes.
    ///
    /// # Errors
    ///
    /// As [`Listener::bind`].
    pub fn bind(
        address: impl TryInto<Address, Error: Into<Box<dyn Error + Send + Sync>>>,
        machine: Machine<OwnedFd>,
    ) -> io::Result<Self> {
        Self::new(Listener::bind(address)?, machine)
    }

    /// Serves the clients of a listener.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn new(listener: Listener, machine: Machine<OwnedFd>) -> io::Result<Self> {
        let (address, stopper) = (listener.address().clone(), listener.stopper());
        let client = Mutex::new(Client::None);
        let shared = Arc::new(Shared { machine: Mutex::new(machine), client });
        let its = shared.clone();
        let thread = start(move || its.serve(&listener))?;
        Ok(Self { address, stopper, shared, thread: Some(thread) })
    }

    /// Where it listens, with the port that was free.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends an event to the client that is served. Tells whether it goes out: as in QEMU, what
    /// happens while no client has negotiated is not told to anybody.
    ///
    /// It does not wait for a command that runs, and may be called from within its function: the
    /// event then goes out before the reply.
    pub fn event(&self, event: &Event) -> bool {
        let client = match &*lock(&self.shared.client) {
            Client::Served(session) => session.clone(),
            _ => return false,
        };
        client.event(event)
    }

    /// Looks at the machine, or changes it, between two commands: it waits for one that runs. So it
    /// must not be called from within a command's function, where it would wait for ever or panic; what
    /// may be done there is [`Vm`](crate::Vm)'s.
    pub fn with_machine<R>(&self, act: impl FnOnce(&mut Machine<OwnedFd>) -> R) -> R {
        act(&mut lock(&self.shared.machine))
    }

    /// Waits until the machine has ended by `quit`, and its client has read the reply or left.
    /// Nobody listens at the address then.
    ///
    /// # Errors
    ///
    /// What kept the server from serving: for instance that a command's function panicked. That there
    /// are no descriptors left for a client is none: it is dropped, or has to wait.
    pub fn wait(mut self) -> io::Result<()> {
        let panicked = || Err(io::Error::other("a command's function panicked"));
        let ended = self.thread.take().map(JoinHandle::join);
        ended.map_or(Ok(()), |ended| ended.unwrap_or_else(|_| panicked()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopper.stop();
        let client = std::mem::replace(&mut *lock(&self.shared.client), Client::Stopped);
        if let Client::Served(session) = client {
            session.abort();
        }
        // A panic of its has been told to standard error.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn serve(&self, listener: &Listener) -> io::Result<()> {
        while !lock(&self.machine).has_ended() {
            let Some(stream) = listener.accept()? else { break };
            let config = lock(&self.machine).config();
            // A client for whom no descriptors are left is dropped.
            let Ok(session) = Session::new(stream, config) else { continue };
            let Some(turn) = Turn::begin(self, session) else { break };
            while let Some(call) = turn.session.next_call() {
                lock(&self.machine).execute(&call, &mut Shown(&turn.session), now());
            }
        }
        Ok(())
    }
}

/// A session, as a command sees it: nobody waits for the session while the command runs.
struct Shown<'a>(&'a Session);

impl Monitor<OwnedFd> for Shown<'_> {
    fn respond(
        &mut self,
        ticket: Ticket,
        outcome: Result<Raw, CommandError>,
    ) -> Result<(), RespondError> {
        self.0.respond(ticket, outcome)
    }

    fn event(&mut self, event: &Event) -> bool {
        self.0.event(event)
    }

    fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.0.take_descriptor()
    }

    fn close(&mut self) {
        self.0.close();
    }
}

/// A client's turn. However it ends, a panic included, the session is closed with it.
struct Turn<'a> {
    shared: &'a Shared,
    session: Arc<Session>,
}

impl<'a> Turn<'a> {
    /// `None` where the server was stopped meanwhile.
    fn begin(shared: &'a Shared, session: Session) -> Option<Self> {
        let session = Arc::new(session);
        let mut client = lock(&shared.client);
        if let Client::Stopped = *client {
            return None;
        }
        *client = Client::Served(session.clone());
        Some(Self { shared, session })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut client = lock(&self.shared.client);
        if let Client::Served(_) = *client {
            *client = Client::None;
        }
    }
}

/// The client's end of a connection to a machine, which a thread of its own serves until the client
/// leaves or says `quit`.
///
/// # Errors
///
/// Where there are no descriptors left, or no thread can be started.
pub fn connect_machine(mut machine: Machine<OwnedFd>) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let session = Session::new(theirs, machine.config())?;
    start(move || {
        while let Some(call) = session.next_call() {
            machine.execute(&call, &mut Shown(&session), now());
        }
    })?;
    Ok(ours)
}

fn start<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name("qmp-machine".to_owned()).spawn(run)
}

/// By the system's clock; as QEMU says it where that clock is wrong.
fn now() -> Timestamp {
    let failed = Timestamp { seconds: -1, microseconds: -1 };
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(failed, |elapsed| Timestamp {
        seconds: elapsed.as_secs() as i64,
        microseconds: elapsed.subsec_micros().into(),
    })
}
