//! The options of a connection, and the ways to get one.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use async_process::{Child, Command};
use futures_lite::io::{AsyncRead, AsyncWrite};
use qmp_proto::{Dialect, Greeting};

use crate::address::Address;
use crate::asynchronous::client::Client;
use crate::asynchronous::client::events::Events;
use crate::asynchronous::client::listener::Listener;
use crate::asynchronous::io::driver::Driver;
use crate::asynchronous::io::link::Link;
use crate::asynchronous::io::socket::Socket;
use crate::asynchronous::io::streams::Streams;
use crate::asynchronous::io::transport::Transport;
use crate::asynchronous::open::open;
use crate::asynchronous::runtime::{Runtime, within};
use crate::asynchronous::spawn::{self, Starting};
use crate::connect::error::ConnectError;
use crate::connect::listen::ListenSocket;
use crate::connect::{Connecting, Handshake, Opened};
use crate::options::Options;

/// The options of a connection. An adapter's `connect` and its kin take the defaults.
///
/// Every future here holds what it has opened so far: dropped, it closes that.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { async_io::block_on(async {
/// use std::time::Duration;
///
/// # let socket = server();
/// let client = Builder::new()
///     .deadline(Duration::from_secs(60)) // QEMU is being started, on a slow machine
///     .command_timeout(Duration::from_secs(5))
///     .oob(true)
///     .from_stream(socket)
///     .await?;
/// assert_eq!(client.greeting().capabilities, ["oob"]);
/// # Ok(())
/// # })}
/// ```
#[must_use = "a builder does nothing until it connects"]
pub struct Builder<R> {
    options: Options,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Builder<R> {
    /// All defaults.
    pub fn new() -> Self {
        Self { options: Options::default(), runtime: PhantomData }
    }

    crate::option_setters!();

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Connects to an [`Address`], to what one wrote for `-qmp` on QEMU's command line, or to the
    /// Unix socket at a path.
    ///
    /// # Errors
    ///
    /// A [`ConnectError`] says which step was not reached by the deadline.
    pub async fn connect(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<Client, ConnectError> {
        Ok(self.connect_with_events(address).await?.0)
    }

    /// As [`connect`](Self::connect), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with_events(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<(Client, Events), ConnectError> {
        Ok(start::<R>(self.connect_with_driver(address).await?))
    }

    /// As [`connect_with_events`](Self::connect_with_events), with a driver to be run by yourself.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with_driver(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        let address = address.try_into().map_err(Into::into)?;
        let mut connecting = Connecting::to(address.clone(), &self.options, Instant::now());
        loop {
            let opened = open::<R>(&address, connecting.deadline()).await;
            let opened = connecting.opened(opened)?;
            match self.begin(Socket::new(opened)?, &mut connecting).await {
                Err(error) => R::sleep(connecting.again(error)?).await,
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
    pub async fn connect_guest_agent(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<Client, ConnectError> {
        self.clone().dialect(Dialect::GuestAgent).connect(address).await
    }

    /// Takes a connected stream socket: a `UnixStream` or `TcpStream` of the standard library, or any
    /// descriptor of one. Its mode does not matter.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_stream(&self, stream: impl Into<OwnedFd>) -> Result<Client, ConnectError> {
        Ok(self.from_stream_with_events(stream).await?.0)
    }

    /// As [`from_stream`](Self::from_stream), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_stream_with_events(
        &self,
        stream: impl Into<OwnedFd>,
    ) -> Result<(Client, Events), ConnectError> {
        Ok(start::<R>(self.from_stream_with_driver(stream).await?))
    }

    /// As [`from_stream_with_events`](Self::from_stream_with_events), with a driver to be run by
    /// yourself.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_stream_with_driver(
        &self,
        stream: impl Into<OwnedFd>,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        self.begin_once(Socket::new(Opened::direct(stream))?, Instant::now()).await
    }

    /// Takes any pair of streams: TLS, pipes, a serial port, another runtime's sockets.
    ///
    /// The driver alone reads and writes them, and drops them at the connection's end. A command
    /// counts as sent once up to 64 KiB of commands wait for the writer.
    ///
    /// `UnexpectedEof` (TLS without close_notify) is the end of the stream. Any other error of either
    /// stream ends the connection with [`CloseReason::Failed`](qmp_proto::CloseReason::Failed).
    ///
    /// What is dropped should not wait: async-std's `File` waits there for a read that is under way
    /// in its thread. For a terminal or a fifo there are [addresses](crate::Address) instead.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_io(
        &self,
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Client, ConnectError> {
        Ok(self.from_io_with_events(reader, writer).await?.0)
    }

    /// As [`from_io`](Self::from_io), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_io_with_events(
        &self,
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(Client, Events), ConnectError> {
        Ok(start::<R>(self.from_io_with_driver(reader, writer).await?))
    }

    /// As [`from_io_with_events`](Self::from_io_with_events), with a driver to be run by yourself.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_io_with_driver(
        &self,
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        self.begin_once(Streams::new(reader, writer), Instant::now()).await
    }

    /// Takes a transport of your own, and gives all events from the very first on, and a driver to be
    /// run by yourself.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_transport_with_driver(
        &self,
        transport: impl Transport,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        self.begin_once(transport, Instant::now()).await
    }

    /// Listens for QEMU, which connects to us: at a Unix socket, an abstract name or a TCP port, of
    /// which 0 is any free one and no host is this machine alone.
    ///
    /// A socket file at the path where nobody listens, as a killed process leaves it, is replaced.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Io`], with the address in its text: somebody listens there, or nothing can.
    pub async fn listen(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
    ) -> Result<Listener<R>, ConnectError> {
        let address = address.try_into().map_err(Into::into)?;
        // A host's name is looked up.
        let socket = blocking::unblock(move || ListenSocket::bind(&address)).await?;
        Ok(Listener::new(socket, self.clone())?)
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
    /// As [`connect`](Self::connect). The child is killed then, as it is when this future is dropped.
    ///
    /// - [`ConnectError::NotStarted`]: there is no such program, or `-daemonize` is among its
    ///   arguments.
    /// - [`ConnectError::Exited`]: it ended by itself. If its standard error is a pipe, the error shows
    ///   the last lines of it.
    pub async fn spawn(&self, command: Command) -> Result<(Client, Child), ConnectError> {
        let (client, _, child) = self.spawn_with_events(command).await?;
        Ok((client, child))
    }

    /// As [`spawn`](Self::spawn), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    pub async fn spawn_with_events(
        &self,
        command: Command,
    ) -> Result<(Client, Events, Child), ConnectError> {
        let began = Instant::now();
        let (socket, mut child) = spawn::spawn(command)?;
        let starting = Starting::new(&mut child);
        let begun = match Socket::new(Opened::direct(socket)) {
            Ok(socket) => {
                let connecting = Connecting::with_child(&self.options, began, starting.id());
                self.begin(socket, &mut { connecting }).await
            }
            Err(error) => Err(error.into()),
        };
        match begun {
            Ok(begun) => {
                starting.started();
                let (client, events) = start::<R>(begun);
                Ok((client, events, child))
            }
            Err(error) => Err(starting.reap::<R>(error).await),
        }
    }

    /// Negotiates over a transport that cannot be made again.
    async fn begin_once(
        &self,
        transport: impl Transport,
        start: Instant,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        self.begin(transport, &mut Connecting::once(&self.options, start)).await
    }

    async fn begin(
        &self,
        transport: impl Transport,
        connecting: &mut Connecting,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        let hub = self.options.hub(transport.carries_descriptors(), connecting.start());
        let subscription = hub.subscribe(self.options.event_limits);
        let link = Link::new(hub.clone(), Box::new(transport));
        let mut driver = Driver::new(link.clone(), R::sleep);
        let greeting = negotiate::<R>(&mut driver, connecting.handshake(hub)).await?;
        let client = Client::new(link, greeting, &self.options, R::sleep);
        let events = client.to_events(subscription);
        Ok((client, events, driver))
    }
}

/// Has the runtime run the driver.
fn start<R: Runtime>((client, events, driver): (Client, Events, Driver)) -> (Client, Events) {
    R::spawn(driver);
    (client, events)
}

/// Waits until the connection is ready, and polls the driver meanwhile.
async fn negotiate<R: Runtime>(
    driver: &mut Driver,
    mut handshake: Handshake<'_>,
) -> Result<Greeting, ConnectError> {
    loop {
        let look_at = handshake.look_at();
        let polled = poll_fn(|context| {
            // When it has ended, so has what is waited for.
            let _ = Pin::new(&mut *driver).poll(context);
            match handshake.poll(context.waker()) {
                Poll::Ready(ready) => Poll::Ready(Some(ready)),
                Poll::Pending if handshake.look_at() != look_at => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        let left = look_at.saturating_duration_since(Instant::now());
        if let Some(Some(ready)) = within(R::sleep, Some(left), polled).await {
            return Ok(ready?.unwrap_or_default());
        }
    }
}

impl<R: Runtime> Default for Builder<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Clone for Builder<R> {
    fn clone(&self) -> Self {
        Self { options: self.options.clone(), runtime: PhantomData }
    }
}

impl<R> fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish()
    }
}
