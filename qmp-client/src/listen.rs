//! Sockets at which others connect to us.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::address::Address;
use crate::connect::try_unix;

/// A socket that listens, and never blocks. Dropped, it removes its file if it made one.
///
/// ```
/// use qmp_client::{Address, listen::ListenSocket};
///
/// let socket = ListenSocket::bind(&"tcp:127.0.0.1:0".parse()?)?;
/// let Address::Tcp { port, .. } = socket.address() else { panic!() };
/// assert_ne!(*port, 0);
/// assert!(socket.try_accept()?.is_none(), "nobody has come yet");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ListenSocket {
    socket: OwnedFd,
    address: Address,
    file: Option<OwnFile>,
}

impl ListenSocket {
    /// Listens at a Unix socket, an abstract name or a TCP port, of which 0 is any free one and no
    /// host is this machine alone. A host's name is looked up, which blocks.
    ///
    /// A socket file at the path where nobody listens, as a killed process leaves it, is replaced.
    ///
    /// # Errors
    ///
    /// What the system says, with the address. `AddrInUse` where somebody listens, or where the
    /// file is no socket; `Unsupported` where nothing can listen at such an address.
    pub fn bind(address: &Address) -> io::Result<Self> {
        let bound = open(address).and_then(|socket| match address {
            Address::Unix(path) => {
                let file = OwnFile::at(path)?;
                Self::new(socket, address.clone(), Some(file))
            }
            Address::Tcp { host, .. } => {
                let port = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?.port();
                Self::new(socket, Address::Tcp { host: or_loopback(host).to_owned(), port }, None)
            }
            address => Self::new(socket, address.clone(), None),
        });
        bound.map_err(|error| {
            let text = match error.kind() {
                io::ErrorKind::AddrInUse if is_other_file(address) => "the file there is no socket",
                io::ErrorKind::AddrInUse => "another program listens there",
                _ => &error.to_string(),
            };
            io::Error::new(error.kind(), format!("cannot listen at {address}: {text}"))
        })
    }

    /// Takes a socket that listens already: a `UnixListener`, a `TcpListener`, or any descriptor of
    /// one. Its file, if it has one, stays.
    ///
    /// # Errors
    ///
    /// Where it is neither.
    pub fn from_socket(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        let address = address_of(&socket)?;
        Self::new(socket, address, None)
    }

    fn new(socket: OwnedFd, address: Address, file: Option<OwnFile>) -> io::Result<Self> {
        // Who leaves before being accepted shall not keep us waiting for another.
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, address, file })
    }

    /// Where it listens, with the port that was free.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next who has connected; `None` where there is nobody now. The stream is in blocking mode
    /// and is closed on exec, and TCP has no delay.
    ///
    /// # Errors
    ///
    /// What the system says, for instance that there are no descriptors left.
    pub fn try_accept(&self) -> io::Result<Option<OwnedFd>> {
        match accept(&self.socket) {
            Ok(stream) => {
                if matches!(self.address, Address::Tcp { .. }) {
                    rustix::net::sockopt::set_tcp_nodelay(&stream, true)?;
                }
                Ok(Some(stream))
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for ListenSocket {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

/// The file of a socket, told from another that may have taken its place.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl OwnFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }

    fn remove(&self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // It fails where somebody else has removed it since.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = path.symlink_metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

fn open(address: &Address) -> io::Result<OwnedFd> {
    match address {
        Address::Unix(path) => Ok(bind_unix(path)?.into()),
        Address::Abstract(name) => bind_abstract(name),
        Address::Tcp { host, port } => Ok(TcpListener::bind((or_loopback(host), *port))?.into()),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "only sockets have a listener")),
    }
}

fn or_loopback(host: &str) -> &str {
    if host.is_empty() { "127.0.0.1" } else { host }
}

fn is_other_file(address: &Address) -> bool {
    let Address::Unix(path) = address else { return false };
    path.metadata().is_ok_and(|metadata| !metadata.file_type().is_socket())
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
