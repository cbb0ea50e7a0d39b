//! Why there is no connection, with a hint in words.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use qmp_proto::Dialect;

use crate::address::Address;
use crate::connect::error::ConnectError;

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
    dialect: Dialect,
    earlier: Option<Box<ConnectError>>,
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Resolve,
    Connect,
}

impl SocketError {
    pub(super) fn new(address: Address, step: Step, tried: Duration, source: io::Error) -> Self {
        SocketError { address, step, tried, source, dialect: Dialect::Qmp, earlier: None }
    }

    /// For the hint: whose socket was looked for.
    #[must_use]
    pub fn looking_for(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Counts the time of earlier attempts in.
    #[must_use]
    pub(crate) fn tried_since(mut self, start: Instant) -> Self {
        self.tried = start.elapsed();
        self
    }

    /// Mentions the outcome of an earlier connection.
    #[must_use]
    pub(super) fn after(mut self, earlier: Option<ConnectError>) -> Self {
        self.earlier = earlier.map(Box::new);
        self
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
            Some(Errno::NOENT) => self.write_missing(f),
            Some(Errno::CONNREFUSED) => self.write_refused(f),
            Some(Errno::AGAIN) => {
                f.write_str("another client is connected, and the backlog of the socket is full")
            }
            Some(Errno::NOTSOCK) => self.write_no_socket(f),
            Some(Errno::PROTOTYPE) => f.write_str("the socket is not a stream socket"),
            Some(Errno::NAMETOOLONG) => self.write_too_long(f),
            Some(Errno::NOTTY) => f.write_str("the file is not a terminal"),
            _ => self.write_kind(f),
        }
    }

    fn write_missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Pipe(path) => {
                let path = path.display();
                write!(f, "no such fifo: make both with mkfifo {path}.in {path}.out; ")?;
            }
            Address::Terminal(_) => f.write_str("no such terminal: ")?,
            _ => f.write_str("no such socket: ")?,
        }
        write!(f, "{}", IsItRunning(&self.address, self.dialect))
    }

    fn write_refused(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.address {
            Address::Pipe(_) => "nobody reads the fifo: ",
            Address::Unix(_) => {
                "nobody listens there: \
                 the socket is new, or a process that has ended left it behind; "
            }
            _ => "nobody listens there: ",
        })?;
        write!(f, "{}", IsItRunning(&self.address, self.dialect))
    }

    fn write_no_socket(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file is not a socket")?;
        match &self.address {
            Address::Unix(path)
                if path.metadata().is_ok_and(|it| it.file_type().is_char_device()) =>
            {
                write!(
                    f,
                    "; if it is a terminal, its address is {}",
                    Address::Terminal(path.clone())
                )
            }
            _ => Ok(()),
        }
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
            ErrorKind::PermissionDenied => f.write_str(match self.address {
                Address::Pipe(_) => "no permission for the fifos, or to enter their directory",
                Address::Terminal(_) => "no permission for the terminal",
                _ => "no permission to write to the socket, or to enter its directory",
            }),
            kind => match self.source.get_ref() {
                Some(reason) => write!(f, "{reason}"),
                None => write!(f, "{kind}"),
            },
        }
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection to {} in {:.1?}: ", self.address, self.tried)?;
        self.write_hint(f)?;
        match &self.earlier {
            Some(earlier) => write!(f, "; before that: {earlier}"),
            None => Ok(()),
        }
    }
}

impl Error for SocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The question that helps most often, with what QEMU's command line would have to say.
struct IsItRunning<'a>(&'a Address, Dialect);

impl fmt::Display for IsItRunning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1 == Dialect::GuestAgent {
            return f.write_str("is QEMU running, with a -chardev for its guest agent there?");
        }
        let options = match self.0 {
            Address::Unix(_) | Address::Abstract(_) | Address::Tcp { .. } => ",server=on,wait=off",
            Address::Pipe(_) => "",
            Address::Terminal(_) => return f.write_str("is QEMU running with -qmp pty?"),
            Address::Fd(_) | Address::Stdio => return f.write_str("is QEMU at its other end?"),
        };
        write!(f, "is QEMU running with -qmp {}{options}?", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_hint(address: Address, errno: Errno, hint: &str) {
        let error = SocketError::new(address, Step::Connect, Duration::ZERO, errno.into());
        let text = error.to_string();
        let (_, found) = text.split_once(" in 0.0ns: ").unwrap();
        assert_eq!(found, hint);
    }

    #[test]
    fn c23_the_hint_is_about_what_was_looked_for() {
        let address = Address::Unix("/run/ga".into());
        let error = SocketError::new(address, Step::Connect, Duration::ZERO, Errno::NOENT.into());
        let text = error.looking_for(Dialect::GuestAgent).to_string();
        let hint = "no such socket: is QEMU running, with a -chardev for its guest agent there?";
        assert!(text.ends_with(hint), "{text}");
    }

    #[test]
    fn c20_the_hint_is_that_of_the_kind_of_address() {
        let pipe = || Address::Pipe("/run/q".into());
        let missing = "no such fifo: make both with mkfifo /run/q.in /run/q.out; \
                       is QEMU running with -qmp pipe:/run/q?";
        assert_hint(pipe(), Errno::NOENT, missing);
        let refused = "nobody reads the fifo: is QEMU running with -qmp pipe:/run/q?";
        assert_hint(pipe(), Errno::CONNREFUSED, refused);
        let denied = "no permission for the fifos, or to enter their directory";
        assert_hint(pipe(), Errno::ACCESS, denied);
        let tcp = Address::Tcp { host: "h".into(), port: 1 };
        let refused = "nobody listens there: is QEMU running with -qmp tcp:h:1,server=on,wait=off?";
        assert_hint(tcp, Errno::CONNREFUSED, refused);
        let refused = "nobody listens there: \
                       is QEMU running with -qmp unix:a,abstract=on,server=on,wait=off?";
        assert_hint(Address::Abstract(b"a".to_vec()), Errno::CONNREFUSED, refused);
        let refused = "nobody listens there: is QEMU at its other end?";
        assert_hint(Address::Stdio, Errno::CONNREFUSED, refused);
    }
}
