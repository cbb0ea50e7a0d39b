//! Why there is no connection, with a hint in words.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use rustix::io::Errno;

use crate::address::Address;

/// No connection to an address.
///
/// Its text says where to, how long it was tried, and what may be the cause. Its
/// [source](Error::source) is the error of the last attempt.
#[derive(Debug)]
pub struct SocketError {
    address: Address,
    step: Step,
    tried: Duration,
    source: io::Error,
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Resolve,
    Connect,
}

impl SocketError {
    pub(super) fn new(address: Address, step: Step, tried: Duration, source: io::Error) -> Self {
        SocketError { address, step, tried, source }
    }

    /// Where the connection was to go.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How long it was tried.
    pub fn tried(&self) -> Duration {
        self.tried
    }

    /// The error of the last attempt.
    pub fn last(&self) -> &io::Error {
        &self.source
    }

    fn write_hint(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.step == Step::Resolve {
            return f.write_str("the host's name was not resolved");
        }
        match Errno::from_io_error(&self.source) {
            Some(Errno::NOENT) => write!(f, "no such socket: {}", IsItRunning(&self.address)),
            Some(Errno::CONNREFUSED) => self.write_refused(f),
            Some(Errno::AGAIN) => {
                f.write_str("another client is connected, and the backlog of the socket is full")
            }
            Some(Errno::NOTSOCK) => f.write_str("the file there is no socket"),
            Some(Errno::PROTOTYPE) => f.write_str("the socket there is no stream socket"),
            Some(Errno::NAMETOOLONG) => self.write_too_long(f),
            _ => self.write_kind(f),
        }
    }

    fn write_refused(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody listens there: ")?;
        if matches!(self.address, Address::Unix(_)) {
            f.write_str("the socket is new, or a process that has ended left it behind; ")?;
        }
        write!(f, "{}", IsItRunning(&self.address))
    }

    fn write_too_long(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.address {
            Address::Unix(path) => path.as_os_str().len(),
            Address::Abstract(name) => name.len(),
            _ => return self.write_kind(f),
        };
        write!(
            f,
            "{bytes} bytes are too long for a socket's path or name, which has about a hundred: \
             use a shorter one, or a relative path"
        )
    }

    fn write_kind(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source.kind() {
            ErrorKind::TimedOut => f.write_str("no answer in this time"),
            ErrorKind::PermissionDenied => {
                f.write_str("no permission to write to the socket, or to enter its directory")
            }
            kind => write!(f, "{kind}"),
        }
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection to {} in {:.1?}: ", self.address, self.tried)?;
        self.write_hint(f)
    }
}

impl Error for SocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The question that helps most often, with what QEMU's command line would have to say.
struct IsItRunning<'a>(&'a Address);

impl fmt::Display for IsItRunning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is QEMU running with -qmp {},server=on,wait=off?", self.0)
    }
}
