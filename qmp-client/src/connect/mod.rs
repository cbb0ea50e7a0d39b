//! Opens a connection under a deadline.
//!
//! A server that has only just been started has no socket yet (`ENOENT`), or has one but does not
//! listen (`ECONNREFUSED`); and a QEMU that serves another client has a short queue for the next
//! ones, which may be full (`EAGAIN`). These three are tried again, after pauses that grow from 1 to
//! 50 ms, until the deadline; so is a reset by a server that is quitting (`ECONNRESET`,
//! `ECONNABORTED`). Anything else ends the attempt at once.
//!
//! A connection says nothing about its server: QEMU serves one client of a monitor at a time, and the
//! next one waits in the queue, connected and without a greeting. A server that quits ends those that
//! wait. So the same deadline covers the handshake, and [`Connecting`] tells when to connect again.
//!
//! ```
//! use std::os::unix::net::UnixListener;
//! use std::time::{Duration, Instant};
//! use qmp_client::connect::connect_unix;
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("qmp.sock");
//! let soon = Instant::now() + Duration::from_millis(20);
//! let error = connect_unix(&path, soon).unwrap_err();
//! assert!(error.to_string().contains("no such socket: is QEMU running with -qmp unix:"));
//!
//! let listener = UnixListener::bind(&path)?;
//! let stream = connect_unix(&path, Instant::now() + Duration::from_secs(10))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An adapter that may not sleep takes the parts: [`try_unix`] and [`try_abstract`] never block, and
//! [`Attempts`] says how long to pause between them.

// One attempt: `open` makes a stream for each kind of address, with `unix`, `tcp` and `streams`; `attempts` decides whether
// to try again, and `socket_error` has the reason. A connection that becomes ready: `connecting`, with `handshake` and
// `redial`; `error` has the reason why there is none. Other ways to a server: `listen`, `spawn`, and `bridge` for streams
// that are not sockets.
pub(crate) mod open;
mod unix;
pub(crate) mod tcp;
pub(crate) mod streams;
mod attempts;
mod socket_error;
mod connecting;
mod handshake;
mod redial;
pub(crate) mod error;
pub mod listen;
pub mod spawn;
pub mod bridge;
#[cfg(test)]
mod tests;

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Instant;

use crate::address::Address;

pub use attempts::Attempts;
pub use connecting::Connecting;
pub use handshake::Handshake;
pub use open::{Opened, open};
pub use socket_error::SocketError;
pub use unix::{try_abstract, try_unix};

/// Connects to the Unix socket at `path`.
///
/// At least one attempt is made, even if the deadline has passed. The stream is in blocking mode and
/// is closed on exec.
///
/// # Errors
///
/// When there was no connection by the deadline, or at once when waiting would not help: what is at
/// the path is not a stream socket, the path is too long for a socket, or there is no permission.
pub fn connect_unix(path: &Path, deadline: Instant) -> Result<UnixStream, SocketError> {
    repeat(Attempts::new(Address::from(path), deadline), || try_unix(path))
}

/// Connects to the Unix socket of an abstract name, which Linux alone has.
///
/// `name` is what [`Address::Abstract`] holds. All else is as for [`connect_unix`].
///
/// # Errors
///
/// As for [`connect_unix`], and `Unsupported` at once where there are no abstract names.
pub fn connect_abstract(name: &[u8], deadline: Instant) -> Result<UnixStream, SocketError> {
    let address = Address::Abstract(name.to_vec());
    repeat(Attempts::new(address, deadline), || try_abstract(name))
}

/// Connects to a TCP port, with `TCP_NODELAY`.
///
/// `host` is a name or an address, an IPv6 address without brackets; empty means this machine. Every
/// address of a name is tried in its order, each for its share of the time that is left. The stream
/// is in blocking mode and is closed on exec.
///
/// # Limits
///
/// To look up a name is the system's affair, and the deadline does not bound it. An address in
/// numbers is not looked up.
///
/// # Errors
///
/// When there was no connection by the deadline, or at once when waiting would not help: the name is
/// unknown, no network leads to the host, or the port is 0.
pub fn connect_tcp(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, SocketError> {
    let attempts = Attempts::new(Address::Tcp { host: host.to_owned(), port }, deadline);
    match tcp::resolve(host, port) {
        Ok(addresses) => repeat(attempts, || tcp::try_each(&addresses, deadline)),
        Err(error) => Err(attempts.unresolved(error)),
    }
}

/// Makes attempts until one succeeds or there shall be no more.
fn repeat<S>(
    mut attempts: Attempts,
    mut attempt: impl FnMut() -> io::Result<S>,
) -> Result<S, SocketError> {
    loop {
        match attempt() {
            Ok(stream) => return Ok(stream),
            Err(error) => thread::sleep(attempts.again(error)?),
        }
    }
}
