//! One attempt at a Unix socket, which never blocks.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType};

/// Tries once to connect to the Unix socket at `path`, and does not wait, not even when the backlog
/// of the listener is full.
///
/// The stream is in blocking mode and is closed on exec.
///
/// # Errors
///
/// What the kernel says; `WouldBlock` (`EAGAIN`) is a full backlog. `ENOTSOCK` is what this makes
/// of `ECONNREFUSED`, Linux's answer, when the file at the path is no socket. An empty path is
/// `InvalidInput`.
pub fn try_unix(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is empty"));
    }
    match open(&SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) if is_other_than_socket(path) => Err(Errno::NOTSOCK.into()),
        outcome => Ok(outcome?),
    }
}

/// Tries once to connect to the Unix socket of an abstract name, as [`try_unix`] does to a path.
///
/// # Errors
///
/// What the kernel says; `WouldBlock` (`EAGAIN`) is a full backlog. `Unsupported` where there are
/// no abstract names.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn try_abstract(name: &[u8]) -> io::Result<UnixStream> {
    Ok(open(&SocketAddrUnix::new_abstract_name(name)?)?)
}

/// There are no abstract names here.
///
/// # Errors
///
/// Always `Unsupported`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn try_abstract(_: &[u8]) -> io::Result<UnixStream> {
    let text = "Linux alone has abstract socket names";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

fn open(address: &SocketAddrUnix) -> rustix::io::Result<UnixStream> {
    let socket = nonblocking(AddressFamily::UNIX)?;
    retry_on_intr(|| net::connect(&socket, address))?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(UnixStream::from(socket))
}

/// A stream socket that never blocks and is closed on exec.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn nonblocking(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
    net::socket_with(family, SocketType::STREAM, flags, None)
}

/// A stream socket that never blocks and is closed on exec.
#[cfg(target_vendor = "apple")]
pub(super) fn nonblocking(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let socket = net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Where nothing can be seen, it may yet be a socket.
fn is_other_than_socket(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.file_type().is_socket())
}
