//! Where QEMU connects to us.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use async_io::Async;

use crate::address::Address;
use crate::asynchronous::client::Client;
use crate::asynchronous::client::builder::Builder;
use crate::asynchronous::client::events::Events;
use crate::asynchronous::runtime::{Runtime, within};
use crate::connect::error::ConnectError;
use crate::connect::listen::ListenSocket;

/// Listens for QEMU, which connects to us: `-qmp unix:/run/vm.sock,server=off`.
///
/// With `-chardev socket,…,server=off,reconnect-ms=1000` (`reconnect=1` before QEMU 9.2) it connects
/// again when it was closed, each time as a new connection: [`accept`](Self::accept) it again. Any
/// number of QEMUs may connect to one listener.
///
/// Dropped, it closes its socket, and removes its file if it made one; connections live on.
///
/// ```no_run
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { async_io::block_on(async {
/// let listener = listen("unix:/run/vm.sock").await?;
/// loop {
///     let client = listener.accept(None).await?;
///     println!("{:?}", client.greeting().version);
///     client.closed().await;
/// }
/// # #[allow(unreachable_code)]
/// # Ok(())
/// # })}
/// ```
#[derive(Debug)]
pub struct Listener<R> {
    socket: Async<ListenSocket>,
    builder: Builder<R>,
}

impl<R: Runtime> Listener<R> {
    pub(crate) fn new(socket: ListenSocket, builder: Builder<R>) -> io::Result<Self> {
        Ok(Self { socket: Async::new_nonblocking(socket)?, builder })
    }

    /// Where it listens, with the port that was free.
    pub fn address(&self) -> &Address {
        self.socket.get_ref().address()
    }

    /// Waits for the next QEMU, so long at most (`None`: as long as it takes), and negotiates with it
    /// under the builder's own deadline. A connection that ends before that is done is passed over. Its
    /// future can be dropped at any time.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NobodyCame`], with the end of the last connection that was passed over. As
    /// [`Builder::connect`] if a peer connected that is not QEMU. The listener goes on: call this again.
    pub async fn accept(
        &self,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Client, ConnectError> {
        Ok(self.accept_with_events(timeout).await?.0)
    }

    /// As [`accept`](Self::accept), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub async fn accept_with_events(
        &self,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<(Client, Events), ConnectError> {
        let start = Instant::now();
        let mut last = None;
        let timeout = timeout.into();
        loop {
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            let Some(stream) = within(R::sleep, left, self.next()).await else { break };
            match self.builder.from_stream_with_events(stream?).await {
                Err(error) if error.has_left() => last = Some(error),
                outcome => return outcome,
            }
        }
        Err(self.builder.options.nobody_came(self.address(), last, start))
    }

    async fn next(&self) -> io::Result<OwnedFd> {
        loop {
            if let Some(stream) = self.socket.get_ref().try_accept()? {
                return Ok(stream);
            }
            self.socket.readable().await?;
        }
    }
}
