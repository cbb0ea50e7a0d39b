//! A stream socket for each kind of address.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::streams::{self, open_inherited};
use super::{connect_tcp, repeat, try_abstract, try_unix};
use crate::connect::Attempts;
use crate::connect::bridge::StreamError;
use crate::connect::error::ConnectError;
use crate::{Address, descriptors};

/// A connected stream socket, in blocking mode.
///
/// What is no socket, a pair of fifos or a terminal, has one in front, and two threads that carry
/// the bytes.
#[derive(Debug)]
pub struct Opened {
    /// The socket.
    pub socket: OwnedFd,
    /// Descriptors sent over it reach the server.
    pub descriptors: bool,
    /// The error of what is behind the socket, if that is not the server itself.
    pub error: StreamError,
}

impl Opened {
    /// A socket with the server itself at its other end.
    pub fn direct(socket: impl Into<OwnedFd>) -> Self {
        let socket = socket.into();
        let descriptors = descriptors::carries_descriptors(socket.as_fd());
        Self { socket, descriptors, error: StreamError::default() }
    }
}

/// Of a socket of a known kind nothing has to be asked.
impl From<UnixStream> for Opened {
    fn from(stream: UnixStream) -> Self {
        Self { socket: stream.into(), descriptors: true, error: StreamError::default() }
    }
}

impl From<TcpStream> for Opened {
    fn from(stream: TcpStream) -> Self {
        Self { socket: stream.into(), descriptors: false, error: StreamError::default() }
    }
}

/// Opens a stream socket to what is at `address`, and waits for a server that is starting.
///
/// # Errors
///
/// When there was none by the deadline, or at once when waiting would not help.
pub fn open(address: &Address, deadline: Instant) -> Result<Opened, ConnectError> {
    if let Address::Tcp { host, port } = address {
        return Ok(connect_tcp(host, *port, deadline)?.into());
    }
    if let Some(opened) = open_inherited(address) {
        return Ok(opened?);
    }
    Ok(repeat(Attempts::new(address.clone(), deadline), || try_open(address))?)
}

/// One attempt, which never blocks, at what has a path or a name in this system.
pub(crate) fn try_open(address: &Address) -> io::Result<Opened> {
    match address {
        Address::Unix(path) => try_unix(path).map(Opened::from),
        Address::Abstract(name) => try_abstract(name).map(Opened::from),
        address => streams::try_open(address),
    }
}
