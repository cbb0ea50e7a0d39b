//! The options of a connection, and the ways to get one.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use qmp_client::{Address, EventLimits, Hub, Recording};
use qmp_proto::{Config, Greeting, Phase};

use crate::client::Client;
use crate::error::ConnectError;
use crate::event_iterator::Events;
use crate::line::{Line, Progress};
use crate::open::{self, Opened};
use crate::{background, pump, spawn};

const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The options of a connection. [`connect`](crate::connect) and its kin take the defaults.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use qmp_blocking::Builder;
///
/// # let socket = server();
/// let client = Builder::new()
///     .deadline(Duration::from_secs(60)) // QEMU is being started, on a slow machine
///     .command_timeout(Duration::from_secs(5))
///     .oob(true)
///     .from_stream(socket)?;
/// assert_eq!(client.greeting().capabilities, ["oob"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct Builder {
    deadline: Duration,
    command_timeout: Option<Duration>,
    event_limits: EventLimits,
    config: Config,
    recording: Option<Recording>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// All defaults.
    pub fn new() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            command_timeout: None,
            event_limits: EventLimits::default(),
            config: Config::default(),
            recording: None,
        }
    }

    /// How long connecting may take, up to the server being ready for commands: 10 s by default.
    ///
    /// Within it, one connection is held: giving up and coming again would fill the server's
    /// backlog. A server that is not there yet is waited for.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a command may take; `None`, the default, for as long as it likes.
    pub fn command_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.command_timeout = timeout.into();
        self
    }

    /// How many in-band commands may be in flight: 64 by default, 7 with out-of-band execution,
    /// where 8 is the most.
    pub fn window(mut self, commands: usize) -> Self {
        self.config.window = Some(commands);
        self
    }

    /// Negotiates out-of-band execution where the server offers it. Off by default.
    pub fn oob(mut self, oob: bool) -> Self {
        self.config.oob = oob;
        self
    }

    /// The largest message from the server, in bytes: 128 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.config.max_message = bytes;
        self
    }

    /// The deepest message from the server, in levels: 1,024 by default and at most.
    pub fn max_depth(mut self, levels: usize) -> Self {
        self.config.max_depth = levels;
        self
    }

    /// How many commands may be outstanding, and how many bytes of them may wait for their turn;
    /// beyond that, commands are refused. 16,384 and 128 MiB by default.
    pub fn max_queued(mut self, commands: usize, bytes: usize) -> Self {
        self.config.max_queued = commands;
        self.config.max_queued_bytes = bytes;
        self
    }

    /// How much a subscriber's queue of events holds.
    pub fn event_limits(mut self, limits: EventLimits) -> Self {
        self.event_limits = limits;
        self
    }

    /// Writes each connection down as text, for a look at it or for a
    /// [replay](qmp_proto::trace::Replay): every message both ways, with the time since connecting
    /// began. Takes any writer, or a [`Recording`], which can do without the secrets.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::fs::{self, File};
    /// use qmp_blocking::{Builder, Recording, commands::QueryName, trace::{Redaction, Trace}};
    ///
    /// # let socket = server();
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("session.trace");
    /// let recording = Recording::new(File::create(&path)?).redacted(Redaction::default());
    /// let client = Builder::new().record(recording).from_stream(socket)?;
    /// client.execute(&QueryName)?;
    /// drop(client);
    ///
    /// let text = fs::read_to_string(&path)?;
    /// assert!(text.contains(" -> {\"execute\":\"query-name\",\"id\":"));
    /// let trace: Trace = text.parse()?;
    /// assert!(trace.is_redacted());
    /// # Ok(())
    /// # }
    /// ```
    pub fn record(mut self, recording: impl Into<Recording>) -> Self {
        self.recording = Some(recording.into());
        self
    }

    /// Connects to an [`Address`], to what one wrote for `-qmp` on QEMU's command line, or to the
    /// Unix socket at a path.
    ///
    /// # Errors
    ///
    /// A [`ConnectError`] says which step was not reached by the deadline.
    pub fn connect(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<Client, ConnectError> {
        Ok(self.connect_with_events(address)?.0)
    }

    /// As [`connect`](Self::connect), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_with_events(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<(Client, Events), ConnectError> {
        let start = Instant::now();
        let address = address.try_into().map_err(Into::into)?;
        // Where the clock does not reach so far: as good as never.
        let deadline = start.checked_add(self.deadline).unwrap_or(start + A_CENTURY);
        self.begin(open::open(&address, deadline)?, start)
    }

    /// Takes a connected stream socket: a `UnixStream`, a `TcpStream`, or any descriptor of one.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn from_stream(&self, stream: impl Into<OwnedFd>) -> Result<Client, ConnectError> {
        Ok(self.from_stream_with_events(stream)?.0)
    }

    /// As [`from_stream`](Self::from_stream), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn from_stream_with_events(
        &self,
        stream: impl Into<OwnedFd>,
    ) -> Result<(Client, Events), ConnectError> {
        let stream = stream.into();
        rustix::io::ioctl_fionbio(&stream, false).map_err(std::io::Error::from)?;
        self.begin(Opened::direct(stream), Instant::now())
    }

    /// Takes any pair of streams: pipes, a serial port, a program's standard streams.
    ///
    /// Two threads carry the bytes. Nothing wakes the one that reads: it ends, and drops `reader`, at
    /// the end of `reader` or with the next bytes that come from it after the connection's end, which
    /// are lost. An error of `reader` counts as the end of the stream.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn from_io(
        &self,
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
    ) -> Result<Client, ConnectError> {
        Ok(self.begin(pump::socket_for(reader, writer)?, Instant::now())?.0)
    }

    /// Starts QEMU and connects to it over an inherited socket: there is no path to agree on, and
    /// no race.
    ///
    /// The arguments that make this socket a monitor are added to `command`; its standard input is
    /// taken for it. Everything else is yours, the [`Child`] too: wait for it after `quit`. Dropping
    /// the client does not end QEMU, and dropping the [`Child`] does not either.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). The child is killed then.
    pub fn spawn(&self, command: Command) -> Result<(Client, Child), ConnectError> {
        let (client, _, child) = self.spawn_with_events(command)?;
        Ok((client, child))
    }

    /// As [`spawn`](Self::spawn), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub fn spawn_with_events(
        &self,
        command: Command,
    ) -> Result<(Client, Events, Child), ConnectError> {
        let start = Instant::now();
        let (socket, child) = spawn::spawn(command)?;
        match self.begin(Opened::direct(socket), start) {
            Ok((client, events)) => Ok((client, events, child)),
            Err(error) => Err(spawn::reap(child, error)),
        }
    }

    /// Negotiates over a socket in blocking mode.
    fn begin(&self, opened: Opened, start: Instant) -> Result<(Client, Events), ConnectError> {
        let Opened { socket, descriptors } = opened;
        let mut config = self.config.clone();
        config.descriptors = descriptors;
        let tap = self.recording.as_ref().map(|recording| recording.tap(&config, start));
        let hub = Hub::with_tap(config, tap);
        let subscription = hub.subscribe(self.event_limits);
        let line = Arc::new(Line::new(hub, socket)?);
        let ready = self.negotiate(&line, start);
        let greeting = ready.inspect_err(|_| line.finish())?;
        background::start(line.clone()).inspect_err(|_| line.finish())?;
        let events = Events::new(subscription, &line);
        Ok((Client::new(line, greeting, self.event_limits, self.command_timeout), events))
    }

    fn negotiate(&self, line: &Line, start: Instant) -> Result<Greeting, ConnectError> {
        let deadline = start.checked_add(self.deadline);
        match line.wait(deadline, |waker| Progress::by_socket(line.hub.poll_ready(waker))) {
            Some(ready) => ready.map_err(ConnectError::Ended),
            None => {
                let waited = start.elapsed();
                Err(match line.hub.inspect(|connection| connection.phase()) {
                    Phase::Greeting => ConnectError::NoGreeting { waited },
                    _ => ConnectError::NoCapabilities { waited },
                })
            }
        }
    }
}
