//! Where clients come from.

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use qmp_client::Address;
use qmp_client::connect::listen::ListenSocket;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// How long nobody is accepted after somebody could not be.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Listens at an address. Dropped, it closes the socket, and removes its file if it made one.
#[derive(Debug)]
pub struct Listener {
    socket: ListenSocket,
    stopper: Stopper,
    stopped: UnixStream,
}

/// Stops a [`Listener`] from any thread. Clones stop the same one.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<UnixStream>);

impl Stopper {
    /// Wakes whoever waits in [`Listener::accept`], and nobody is accepted any more.
    pub fn stop(&self) {
        // It fails where the listener is gone, or was told often enough.
        let _ = (&*self.0).write(&[0]);
    }
}

impl Listener {
    /// Listens at an [`Address`], or at what one writes for `-qmp`: a Unix socket, an abstract name
    /// or a TCP port, of which 0 is any free one and no host is this machine alone.
    ///
    /// A socket file at the path where nobody listens, as a killed server leaves it, is replaced. If several
    /// servers are started at the same path at once, one of them listens: see [`ListenSocket::bind`].
    ///
    /// # Errors
    ///
    /// What the system says, with the address. `AddrInUse` if another program listens there, or if the
    /// file is not a socket; `Unsupported` if nothing can listen at such an address.
    pub fn bind(
        address: impl TryInto<Address, Error: Into<Box<dyn Error + Send + Sync>>>,
    ) -> io::Result<Self> {
        let address = address.try_into();
        let address =
            address.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Self::new(ListenSocket::bind(&address)?)
    }

    /// Takes a socket that listens already: a `UnixListener`, a `TcpListener`, or any descriptor of
    /// one. Its file, if it has one, stays.
    ///
    /// # Errors
    ///
    /// Where it is neither, or there are no descriptors left.
    pub fn from_socket(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        Self::new(ListenSocket::from_socket(socket)?)
    }

    fn new(socket: ListenSocket) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        stop.set_nonblocking(true)?;
        Ok(Self { socket, stopper: Stopper(Arc::new(stop)), stopped })
    }

    /// Where it listens, with the port that was free.
    pub fn address(&self) -> &Address {
        self.socket.address()
    }

    /// What stops it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits for the next client; `None` once it is stopped.
    ///
    /// What concerns one client, or passes, is no error: where no descriptors or memory are left,
    /// clients wait until there are again, which is looked for ten times a second.
    ///
    /// # Errors
    ///
    /// Where the socket is none that listens.
    pub fn accept(&self) -> io::Result<Option<OwnedFd>> {
        loop {
            if self.is_stopped(Some(&self.socket), None)? {
                return Ok(None);
            }
            match self.socket.try_accept() {
                Ok(None) => {}
                Ok(client) => return Ok(client),
                Err(error) if is_for_ever(&error) => return Err(error),
                Err(_) => {
                    if self.is_stopped(None, Some(PAUSE))? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits until it is stopped, or until somebody comes to the socket, or so long.
    fn is_stopped(
        &self,
        socket: Option<&ListenSocket>,
        timeout: Option<Timespec>,
    ) -> io::Result<bool> {
        let stopped = PollFd::new(&self.stopped, PollFlags::IN);
        let socket = socket.map(|socket| PollFd::new(socket, PollFlags::IN));
        let mut polled: Vec<_> = [stopped].into_iter().chain(socket).collect();
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) => Ok(!polled[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the next attempt would fail likewise, whatever comes.
fn is_for_ever(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, None | Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP))
}
