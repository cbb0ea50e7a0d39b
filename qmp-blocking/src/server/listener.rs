//! Where clients come from.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qmp_client::Address;
use qmp_client::connect::try_unix;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

/// Listens at an address. Dropped, it closes the socket, and removes its file if it made one.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: Address,
    /// What is to be removed.
    file: Option<PathBuf>,
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
    /// A socket file at the path where nobody listens, as a killed server leaves it, is replaced.
    ///
    /// # Errors
    ///
    /// What the system says, with the address. `AddrInUse` where somebody listens, or where the
    /// file is no socket; `Unsupported` where nothing can listen at such an address.
    pub fn bind(
        address: impl TryInto<Address, Error: Into<Box<dyn Error + Send + Sync>>>,
    ) -> io::Result<Self> {
        let address = address.try_into();
        let address =
            address.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let socket = open(&address).map_err(|error| {
            let text = format!("cannot listen at {address}: {error}");
            io::Error::new(error.kind(), text)
        })?;
        match address {
            Address::Unix(path) => Self::new(socket, Address::Unix(path.clone()), Some(path)),
            Address::Tcp { host, .. } => {
                let port = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?.port();
                Self::new(socket, Address::Tcp { host, port }, None)
            }
            address => Self::new(socket, address, None),
        }
    }

    /// Takes a socket that listens already: a `UnixListener`, a `TcpListener`, or any descriptor of
    /// one. Its file, if it has one, stays.
    ///
    /// # Errors
    ///
    /// Where it is neither, or there are no descriptors left.
    pub fn from_socket(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        let address = address_of(&socket)?;
        Self::new(socket, address, None)
    }

    fn new(socket: OwnedFd, address: Address, file: Option<PathBuf>) -> io::Result<Self> {
        // A client that leaves before it is accepted shall not keep us waiting for another.
        rustix::io::ioctl_fionbio(&socket, true)?;
        let (stop, stopped) = UnixStream::pair()?;
        stop.set_nonblocking(true)?;
        let stopper = Stopper(Arc::new(stop));
        Ok(Self { socket, address, file, stopper, stopped })
    }

    /// Where it listens, with the port that was free.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What stops it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits for the next client; `None` once it is stopped.
    ///
    /// # Errors
    ///
    /// What the system says, for instance that there are no descriptors left.
    pub fn accept(&self) -> io::Result<Option<OwnedFd>> {
        loop {
            let mut polled = [
                PollFd::new(&self.stopped, PollFlags::IN),
                PollFd::new(&self.socket, PollFlags::IN),
            ];
            match rustix::event::poll(&mut polled, None) {
                Err(Errno::INTR) => continue,
                outcome => outcome?,
            };
            if !polled[0].revents().is_empty() {
                return Ok(None);
            }
            match accept(&self.socket) {
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
                outcome => return Ok(Some(outcome?)),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // It fails where somebody else has removed it.
            let _ = fs::remove_file(file);
        }
    }
}

fn open(address: &Address) -> io::Result<OwnedFd> {
    match address {
        Address::Unix(path) => Ok(bind_unix(path)?.into()),
        Address::Abstract(name) => bind_abstract(name),
        Address::Tcp { host, port } => {
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            Ok(TcpListener::bind((host, *port))?.into())
        }
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "only sockets have a listener")),
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        outcome => outcome,
    }
}

/// Whether there is a socket at which nobody listens any more.
fn is_left_behind(path: &Path) -> bool {
    try_unix(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_abstract(name: &[u8]) -> io::Result<OwnedFd> {
    use std::os::unix::net::SocketAddr;

    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;

    Ok(UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_abstract(_: &[u8]) -> io::Result<OwnedFd> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "Linux alone has abstract socket names"))
}

/// Where a socket listens, whatever its kind.
fn address_of(socket: &OwnedFd) -> io::Result<Address> {
    let name = rustix::net::getsockname(socket)?;
    if let Ok(name) = SocketAddr::try_from(name.clone()) {
        return Ok(Address::Tcp { host: name.ip().to_string(), port: name.port() });
    }
    let name = SocketAddrUnix::try_from(name)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = name.abstract_name() {
        return Ok(Address::Abstract(name.to_vec()));
    }
    let path = name.path().ok_or(Errno::INVAL)?;
    Ok(Address::Unix(OsStr::from_bytes(path.to_bytes()).into()))
}

#[cfg(not(target_vendor = "apple"))]
fn accept(socket: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    rustix::net::accept_with(socket, rustix::net::SocketFlags::CLOEXEC)
}

#[cfg(target_vendor = "apple")]
fn accept(socket: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let stream = rustix::net::accept(socket)?;
    rustix::io::fcntl_setfd(&stream, rustix::io::FdFlags::CLOEXEC)?;
    Ok(stream)
}
