//! A stream socket for each kind of address.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use qmp_client::connect::{connect_abstract, connect_tcp, connect_unix};
use qmp_client::{Address, descriptors};

use crate::error::ConnectError;
use crate::{fifo, pump};

/// A stream socket in blocking mode.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) socket: OwnedFd,
    /// Descriptors sent over it reach the server.
    pub(crate) descriptors: bool,
}

impl Opened {
    /// A socket with the server itself at its other end.
    pub(crate) fn direct(socket: impl Into<OwnedFd>) -> Self {
        let socket = socket.into();
        let descriptors = descriptors::carries_descriptors(socket.as_fd());
        Self { socket, descriptors }
    }
}

/// Opens a stream socket to what is at `address`.
pub(crate) fn open(address: &Address, deadline: Instant) -> Result<Opened, ConnectError> {
    Ok(match address {
        Address::Unix(path) => Opened::direct(connect_unix(path, deadline)?),
        Address::Abstract(name) => Opened::direct(connect_abstract(name, deadline)?),
        Address::Tcp { host, port } => Opened::direct(connect_tcp(host, *port, deadline)?),
        Address::Fd(number) => Opened::direct(descriptors::duplicate_inherited(*number)?),
        Address::Pipe(path) => {
            let (reader, writer) = fifo::open(path, deadline)?;
            pump::socket_for_file(reader, writer)?
        }
        Address::Stdio => {
            // Not `Stdin` itself: poll does not see what its buffer holds.
            let reader = io::stdin().as_fd().try_clone_to_owned()?;
            pump::socket_for_file(reader.into(), io::stdout())?
        }
        _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
    })
}
