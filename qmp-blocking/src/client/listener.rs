//! Where QEMU connects to us.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use qmp_client::connect::listen::ListenSocket;
use qmp_client::{Address, ConnectError};
use rustix::event::{PollFd, PollFlags};

use crate::client::builder::Builder;
use crate::client::events::Events;
use crate::client::{Client, deadline};
use crate::io::notifier::poll;

/// Listens for QEMU, which connects to us: `-qmp unix:/run/vm.sock,server=off`.
///
/// With `-chardev socket,…,server=off,reconnect-ms=1000` (`reconnect=1` before QEMU 9.2) it connects
/// again when it was closed, each time as a new connection: [`accept`](Self::accept) it again. Any
/// number of QEMUs may connect to one listener.
///
/// Dropped, it closes its socket, and removes its file if it made one; connections live on.
///
/// ```no_run
/// let listener = qmp_blocking::listen("unix:/run/vm.sock")?;
/// loop {
///     let client = listener.accept(None)?;
///     println!("{:?}", client.greeting().version);
///     client.closed();
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), qmp_blocking::ConnectError>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: ListenSocket,
    builder: Builder,
}

impl Listener {
    pub(crate) fn new(socket: ListenSocket, builder: Builder) -> Self {
        Self { socket, builder }
    }

    /// Where it listens, with the port that was free.
    pub fn address(&self) -> &Address {
        self.socket.address()
    }

    /// Waits for the next QEMU, so long at most (`None`: as long as it takes), and negotiates with it
    /// under the builder's own deadline. A connection that ends before that is done is passed over.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NobodyCame`], with the end of the last connection that was passed over. As
    /// [`connect`](crate::connect) if a peer connected that is not QEMU. The listener goes on: call this again.
    pub fn accept(&self, timeout: impl Into<Option<Duration>>) -> Result<Client, ConnectError> {
        Ok(self.accept_with_events(timeout)?.0)
    }

    /// As [`accept`](Self::accept), with all events from the connection's very first on.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn accept_with_events(
        &self,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<(Client, Events), ConnectError> {
        let start = Instant::now();
        let mut last = None;
        let deadline = deadline(timeout.into());
        while let Some(stream) = self.next(deadline)? {
            match self.builder.from_stream_with_events(stream) {
                Err(error) if error.has_left() => last = Some(error),
                outcome => return outcome,
            }
        }
        Err(self.builder.options().nobody_came(self.address(), last, start))
    }

    fn next(&self, deadline: Option<Instant>) -> io::Result<Option<OwnedFd>> {
        loop {
            if let Some(stream) = self.socket.try_accept()? {
                return Ok(Some(stream));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], left);
        }
    }
}
