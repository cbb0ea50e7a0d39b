//! The options of a connection, and the ways to get one.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use futures_lite::io::{AsyncRead, AsyncWrite};
use qmp_proto::Greeting;

use crate::asynchronous::client::Client;
use crate::asynchronous::client::events::Events;
use crate::asynchronous::io::driver::Driver;
use crate::asynchronous::io::streams::Streams;
use crate::asynchronous::io::task_io::TaskIo;
use crate::asynchronous::io::transport::Transport;
use crate::asynchronous::runtime::{Runtime, within};
use crate::connect::error::ConnectError;
use crate::connect::{Connecting, Handshake};
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
    pub(crate) options: Options,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Builder<R> {
    /// All defaults.
    pub fn new() -> Self {
        Self { options: Options::default(), runtime: PhantomData }
    }

    crate::option_setters!();

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
    /// A [`ConnectError`] says which step was not reached by the deadline.
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
    /// As [`from_io`](Self::from_io).
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
    /// As [`from_io`](Self::from_io).
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
    /// As [`from_io`](Self::from_io).
    pub async fn from_transport_with_driver(
        &self,
        transport: impl Transport,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        self.begin_once(transport, Instant::now()).await
    }

    /// Negotiates over a transport that cannot be made again.
    pub(crate) async fn begin_once(
        &self,
        transport: impl Transport,
        start: Instant,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        self.begin(transport, &mut Connecting::once(&self.options, start)).await
    }

    pub(crate) async fn begin(
        &self,
        transport: impl Transport,
        connecting: &mut Connecting,
    ) -> Result<(Client, Events, Driver), ConnectError> {
        let shared = self.options.shared(transport.carries_descriptors(), connecting.start());
        let subscription = shared.subscribe(self.options.event_limits);
        let io = TaskIo::new(shared.clone(), Box::new(transport));
        let mut driver = Driver::new(io.clone(), R::sleep);
        let greeting = negotiate::<R>(&mut driver, connecting.handshake(shared)).await?;
        let client = Client::new(io, greeting, &self.options, R::sleep);
        let events = client.to_events(subscription);
        Ok((client, events, driver))
    }
}

/// Has the runtime run the driver.
pub(crate) fn start<R: Runtime>(
    (client, events, driver): (Client, Events, Driver),
) -> (Client, Events) {
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
