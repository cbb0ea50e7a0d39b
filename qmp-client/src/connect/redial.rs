//! A second connection to where a connection leads.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, sockopt};

use super::unix::nonblocking;
use super::{try_abstract, try_unix};
use crate::address::Address;

/// Where to connect a second time.
#[derive(Debug)]
pub(super) enum Redial {
    Unix(PathBuf),
    Abstract(Vec<u8>),
    /// The peer, so that no name is looked up, and the first connection.
    Tcp(SocketAddr, OwnedFd),
}

impl Redial {
    /// None if the address has no listener: a fifo, a terminal, or what this process was started with.
    pub(super) fn of(address: &Address, socket: BorrowedFd<'_>) -> Option<Self> {
        match address {
            Address::Unix(path) => Some(Self::Unix(path.clone())),
            Address::Abstract(name) => Some(Self::Abstract(name.clone())),
            Address::Tcp { .. } => {
                let peer = SocketAddr::try_from(net::getpeername(socket).ok()??).ok()?;
                Some(Self::Tcp(peer, socket.try_clone_to_owned().ok()?))
            }
            _ => None,
        }
    }

    /// Connects, and does not wait. A TCP connection may need a moment to be made, so it must not be
    /// dropped at once.
    pub(super) fn connect(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(path) => try_unix(path).map(OwnedFd::from),
            Self::Abstract(name) => try_abstract(name).map(OwnedFd::from),
            Self::Tcp(peer, _) => connect_tcp(peer),
        }
    }

    /// Makes closing the first connection send a reset. QEMU does not read while it owes a reply: it would not
    /// notice an orderly end of a TCP connection, and would accept no other client.
    pub(super) fn end_by_reset(&self) {
        if let Self::Tcp(_, first) = self {
            // It fails if the connection has been reset already.
            let _ = sockopt::set_socket_linger(first.as_fd(), Some(Duration::ZERO));
        }
    }
}

fn connect_tcp(peer: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if peer.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = nonblocking(family)?;
    match net::connect(&socket, peer) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}
