//! The options of a connection, and the ways to get one.

mod callbacks;

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use qmp_client::connect::listen::ListenSocket;
use qmp_client::connect::{
    Connecting, Handshake, Opened, bridge, connect_tcp, connect_unix, open, spawn,
};
use qmp_client::{Address, ConnectError, Options};
use qmp_proto::{Dialect, Greeting};

use crate::callbacks::{CallbackOptions, Callbacks};
use crate::client::events::Events;
use crate::client::listener::Listener;
use crate::client::{Check, Client};
use crate::io::background;
use crate::io::{Progress, ThreadIo};

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
///
/// A connection can be [written down](Self::record), and replayed by `qmp-server`:
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
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it connects"]
pub struct Builder {
    options: Options,
    callbacks: CallbackOptions,
    refuse_unknown: Option<Check>,
}

impl Builder {
    /// All defaults.
    pub fn new() -> Self {
        Self::default()
    }

    qmp_client::option_setters!();

    /// Does not send commands that the server does not offer: they fail with
    /// [`Error::UnknownCommand`](crate::Error::UnknownCommand). Off by default: the server's own
    /// error comes soon enough.
    ///
    /// Which commands there are is asked with the first command, as by
    /// [`Client::supports`](crate::Client::supports); where that fails, the first command fails with
    /// it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use qmp_blocking::{Builder, Error, Request};
    ///
    /// # let socket = server();
    /// let client = Builder::new().refuse_unknown(true).from_stream(socket)?;
    /// let error = client.execute_request(Request::new("blockdev-ad")).unwrap_err();
    /// assert_eq!(error, Error::UnknownCommand("blockdev-ad".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn refuse_unknown(mut self, refuse: bool) -> Self {
        self.refuse_unknown = refuse.then_some(Client::refuse_unknown);
        self
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
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
        let address = address.try_into().map_err(Into::into)?;
        self.connect_by(address, open, |_| ()).map(|(client, ())| client)
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
        let address = address.try_into().map_err(Into::into)?;
        self.connect_by(address, open, |io| self.events(io))
    }

    /// As [`connect`](Self::connect). A program that connects by this alone is spared all other kinds
    /// of address.
    pub(crate) fn connect_unix(&self, path: &Path) -> Result<Client, ConnectError> {
        let open = |_: &Address, deadline| Ok(connect_unix(path, deadline)?.into());
        self.connect_by(path.into(), open, |_| ()).map(|(client, ())| client)
    }

    /// As [`connect_unix`](Self::connect_unix), for a TCP port.
    pub(crate) fn connect_tcp(&self, host: &str, port: u16) -> Result<Client, ConnectError> {
        let open = |_: &Address, deadline| Ok(connect_tcp(host, port, deadline)?.into());
        let address = Address::Tcp { host: host.to_owned(), port };
        self.connect_by(address, open, |_| ()).map(|(client, ())| client)
    }

    /// Opens connections to the address until one is ready; what `attach` makes of that one is there
    /// from its first byte on.
    fn connect_by<T>(
        &self,
        address: Address,
        open: impl Fn(&Address, Instant) -> Result<Opened, ConnectError>,
        attach: impl Fn(&Arc<ThreadIo>) -> T,
    ) -> Result<(Client, T), ConnectError> {
        let mut connecting = Connecting::to(address.clone(), &self.options, Instant::now());
        loop {
            let opened = connecting.opened(open(&address, connecting.deadline()))?;
            match self.begin(opened, &mut connecting, &attach) {
                Err(error) => thread::sleep(connecting.again(error)?),
                begun => return begun,
            }
        }
    }

    /// Connects to the guest agent behind an [`Address`], in its [`dialect`](Self::dialect).
    ///
    /// Set a [`command_timeout`](Self::command_timeout). A command ends some seconds after its agent was restarted. As
    /// long as no agent runs, only a timeout ends it, and every later command waits for it.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); [`ConnectError::NoAgent`] if none answers until the deadline. It names
    /// what came instead.
    pub fn connect_guest_agent(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<Client, ConnectError> {
        self.clone().dialect(Dialect::GuestAgent).connect(address)
    }

    /// Takes a connected stream socket: a `UnixStream`, a `TcpStream`, or any descriptor of one.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn from_stream(&self, stream: impl Into<OwnedFd>) -> Result<Client, ConnectError> {
        self.begin_once(direct(stream.into())?, Instant::now(), |_| ()).map(|(client, ())| client)
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
        self.begin_once(direct(stream.into())?, Instant::now(), |io| self.events(io))
    }

    /// Takes any pair of streams: pipes, a serial port, a program's standard streams.
    ///
    /// Two threads carry the bytes. Nothing wakes the one that reads: it ends, and drops `reader`, at
    /// the end of `reader` or with the next bytes that come from it after the connection's end, which
    /// are lost. The one that writes ends when `writer` has taken what was sent.
    ///
    /// `UnexpectedEof` (TLS without close_notify) is the end of the stream. Any other error of either
    /// stream ends the connection with [`CloseReason::Failed`](crate::CloseReason::Failed).
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn from_io(
        &self,
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
    ) -> Result<Client, ConnectError> {
        let opened = bridge::socket_for(reader, writer)?;
        self.begin_once(opened, Instant::now(), |_| ()).map(|(client, ())| client)
    }

    /// As [`from_io`](Self::from_io), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn from_io_with_events(
        &self,
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
    ) -> Result<(Client, Events), ConnectError> {
        let opened = bridge::socket_for(reader, writer)?;
        self.begin_once(opened, Instant::now(), |io| self.events(io))
    }

    /// Listens for QEMU, which connects to us: at a Unix socket, an abstract name or a TCP port, of
    /// which 0 is any free one and no host is this machine alone.
    ///
    /// A socket file at the path where nobody listens, as a killed process leaves it, is replaced.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Io`], with the address in its text: somebody listens there, or nothing can.
    pub fn listen(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<Listener, ConnectError> {
        let address = address.try_into().map_err(Into::into)?;
        Ok(Listener::new(ListenSocket::bind(&address)?, self.clone()))
    }

    /// Starts QEMU and connects to it over an inherited socket: there is no path to agree on, and
    /// no race.
    ///
    /// The arguments that make this socket a monitor are added to `command`; its standard input is
    /// taken for it, so no other option may use that (`stdio`, `-nographic`). Everything else is
    /// yours, the [`Child`] too: wait for it after `quit`. Dropping the client does not end QEMU, and
    /// dropping the [`Child`] does not either.
    ///
    /// A piped standard output or error is not read before this returns. On Linux such a pipe holds
    /// 1 MiB until then.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). The child is killed then.
    ///
    /// - [`ConnectError::NotStarted`]: there is no such program, or `-daemonize` is among its
    ///   arguments.
    /// - [`ConnectError::Exited`]: it ended by itself. If its standard error is a pipe, the error shows
    ///   the last lines of it.
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
        let mut connecting = Connecting::with_child(&self.options, start, child.id());
        match self.begin(Opened::direct(socket), &mut connecting, |io| self.events(io)) {
            Ok((client, events)) => {
                spawn::started(&child);
                Ok((client, events, child))
            }
            Err(error) => Err(spawn::reap(child, error)),
        }
    }

    /// Negotiates over a socket that cannot be made again.
    fn begin_once<T>(
        &self,
        opened: Opened,
        start: Instant,
        attach: impl Fn(&Arc<ThreadIo>) -> T,
    ) -> Result<(Client, T), ConnectError> {
        self.begin(opened, &mut Connecting::once(&self.options, start), attach)
    }

    /// Negotiates over a socket in blocking mode.
    fn begin<T>(
        &self,
        opened: Opened,
        connecting: &mut Connecting,
        attach: impl Fn(&Arc<ThreadIo>) -> T,
    ) -> Result<(Client, T), ConnectError> {
        let shared = self.options.shared(opened.descriptors, connecting.start());
        let io = Arc::new(ThreadIo::new(shared, opened)?);
        let attached = attach(&io);
        Ok((self.client(io, connecting)?, attached))
    }

    fn events(&self, io: &Arc<ThreadIo>) -> Events {
        Events::new(io.shared.subscribe(self.options.event_limits), io)
    }

    fn client(
        &self,
        io: Arc<ThreadIo>,
        connecting: &mut Connecting,
    ) -> Result<Client, ConnectError> {
        let ready = negotiate(&io, connecting.handshake(io.shared.clone()));
        let greeting = ready.inspect_err(|_| io.finish())?;
        background::start(io.clone()).inspect_err(|_| io.finish())?;
        let most = self.options.config.max_queued;
        let callbacks = Callbacks::new(io.clone(), &self.callbacks, most);
        Ok(Client::new(io, greeting, &self.options, callbacks, self.refuse_unknown))
    }
}

fn negotiate(io: &ThreadIo, mut handshake: Handshake<'_>) -> Result<Greeting, ConnectError> {
    // To a guest agent we speak first.
    io.flush();
    loop {
        let look_at = handshake.look_at();
        let polled = io.wait(Some(look_at), |waker| match handshake.poll(waker) {
            Poll::Ready(ready) => Progress::Done(Some(ready)),
            Poll::Pending if handshake.look_at() != look_at => Progress::Done(None),
            Poll::Pending => Progress::Reads,
        });
        if let Some(Some(ready)) = polled {
            return Ok(ready?.unwrap_or_default());
        }
    }
}

/// A socket that somebody else made, in blocking mode.
fn direct(stream: OwnedFd) -> io::Result<Opened> {
    rustix::io::ioctl_fionbio(&stream, false)?;
    Ok(Opened::direct(stream))
}
