//! Sockets at which others connect to us. `lock` keeps a path's socket for one listener.

mod lock;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use self::lock::FolderLock;
use crate::address::Address;
use crate::connect::try_unix;

/// How long to wait for other programs that make or replace socket files in the same folder.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket that listens, and never blocks. Dropped, it removes its file if it made one.
///
/// ```
/// use qmp_client::{Address, connect::listen::ListenSocket};
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
    /// A socket file at the path where nobody listens, as a killed process leaves it, is replaced. If several
    /// programs with this library listen at the same path at once, one of them succeeds: for that time each
    /// locks the folder (`flock`). There is no lock if the folder may not be read, or if its file system has none.
    ///
    /// # Errors
    ///
    /// What the system says, with the address. `AddrInUse` if another program listens there, or if the
    /// file is not a socket; `Unsupported` if nothing can listen at such an address.
    pub fn bind(address: &Address) -> io::Result<Self> {
        let bound = match address {
            Address::Unix(path) => bind_unix(path)
                .and_then(|(socket, file)| Self::new(socket.into(), address.clone(), Some(file))),
            Address::Abstract(name) => {
                bind_abstract(name).and_then(|socket| Self::new(socket, address.clone(), None))
            }
            Address::Tcp { host, port } => Self::bind_tcp(or_loopback(host), *port),
            _ => {
                let text = "only sockets have a listener";
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
        };
        bound.map_err(|error| {
            let text = format!("cannot listen at {address}: {error}");
            io::Error::new(error.kind(), text)
        })
    }

    fn bind_tcp(host: &str, port: u16) -> io::Result<Self> {
        let socket = TcpListener::bind((host, port)).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => listened_at(),
            _ => error,
        })?;
        let port = socket.local_addr()?.port();
        Self::new(socket.into(), Address::Tcp { host: host.to_owned(), port }, None)
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
                    // Some systems refuse it if the peer has reset the connection already. The first
                    // read reports that.
                    let _ = rustix::net::sockopt::set_tcp_nodelay(&stream, true);
                }
                Ok(Some(stream))
            }
            // With the last two, a peer has left before it was accepted.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => Ok(None),
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

    /// It takes no lock, and so never blocks: as long as the socket listens, no program with this library replaces
    /// its file.
    fn remove(&self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // It fails if a program without this library has removed it since.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = path.symlink_metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

fn or_loopback(host: &str) -> &str {
    if host.is_empty() { "127.0.0.1" } else { host }
}

fn listened_at() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")
}

/// Under the lock, no other program sees a socket that is bound and does not listen yet.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, OwnFile)> {
    let _lock = FolderLock::acquire(path, PATIENCE)?;
    let socket = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_left_behind(path)?;
            UnixListener::bind(path)?
        }
        outcome => outcome?,
    };
    Ok((socket, OwnFile::at(path)?))
}

/// Removes a socket at which no program listens any more.
fn remove_left_behind(path: &Path) -> io::Result<()> {
    match try_unix(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            unless_gone(fs::remove_file(path))
        }
        // Its listener has removed it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(()),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTSOCK) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "the file is not a socket"))
        }
        _ => Err(listened_at()),
    }
}

/// A file that its listener has removed meanwhile is removed.
fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// As on some systems after a reset of the peer's: here it is no TCP.
    #[test]
    fn c20_a_client_at_whose_socket_nothing_can_be_set_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("back.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let address = Address::Tcp { host: String::new(), port: 1 };
        let socket = ListenSocket::new(listener.into(), address, None).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let accepted = socket.try_accept().unwrap().unwrap();
        assert!(rustix::net::sockopt::set_tcp_nodelay(&accepted, true).is_err());
        assert!(socket.try_accept().unwrap().is_none());
    }
}
