//! Why there is no connection to a QMP server.

use std::convert::Infallible;
use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;
use std::{error, fmt, io};

use qmp_proto::{CloseReason, Dialect, Evidence, printable};

use crate::address::{Address, AddressError};
use crate::connect::SocketError;

/// Why connecting failed: which step was not reached.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is no address.
    Address(AddressError),
    /// There is no socket to talk over.
    NoSocket(SocketError),
    /// Something of the system failed: a socket, a thread, a file.
    Io(io::Error),
    /// The program was not started.
    NotStarted {
        /// Its name, as it was given.
        program: OsString,
        /// Why.
        error: io::Error,
    },
    /// The program ended before it was ready for commands.
    Exited {
        /// Its exit status.
        status: ExitStatus,
        /// The last 64 KiB that it wrote to its standard error, if
        /// [`Command::stderr`](std::process::Command::stderr) made that a pipe. Invalid UTF-8 is
        /// replaced.
        stderr: String,
    },
    /// No server that connected to where we listen was ready for commands until the deadline.
    NobodyCame {
        /// Where we listen.
        address: Address,
        /// For what.
        dialect: Dialect,
        /// How the last connection ended; `None` if nobody connected.
        reason: Option<CloseReason>,
        /// What came before that end in place of what was expected, if anything did.
        evidence: Option<Evidence>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Connected, and no greeting came until the deadline.
    NoGreeting {
        /// How long it was waited for, the time to connect included.
        waited: Duration,
        /// What came instead, if anything did.
        evidence: Option<Evidence>,
    },
    /// The server greeted and did not answer `qmp_capabilities` until the deadline.
    NoCapabilities {
        /// How long it was waited for, the time to connect included.
        waited: Duration,
        /// What came instead, if anything did.
        evidence: Option<Evidence>,
    },
    /// Connected, and no guest agent answered until the deadline.
    NoAgent {
        /// How long it was waited for, the time to connect included.
        waited: Duration,
        /// What came instead, if anything did: an agent may refuse what a session begins with.
        evidence: Option<Evidence>,
    },
    /// The connection ended before the server was ready for commands.
    Ended {
        /// How it ended.
        reason: CloseReason,
        /// What came before the end in place of what was expected, if anything did.
        evidence: Option<Evidence>,
    },
    /// Each connection to an address ended before the server was ready for commands, until the deadline.
    KeptEnding {
        /// Where the connections went.
        address: Address,
        /// How the last one ended.
        reason: CloseReason,
        /// What came before that end in place of what was expected, if anything did.
        evidence: Option<Evidence>,
        /// How many ended.
        times: u32,
        /// How long it was tried.
        waited: Duration,
    },
}

impl ConnectError {
    /// Whether the other end left before the server was ready for commands. A listener passes over
    /// whoever does that: somebody who looked whether the address is in use, or a QEMU that died.
    pub fn has_left(&self) -> bool {
        matches!(self, Self::Ended { reason, .. } if reason.is_by_server())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::NoSocket(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the connection could not be set up: {error}"),
            Self::NotStarted { program, error } => {
                write!(f, "{} was not started: {error}", std::path::Path::new(program).display())
            }
            Self::Exited { status, stderr } => {
                write!(f, "the program ended before it was ready for commands ({status})")?;
                match last_lines(stderr) {
                    lines if !lines.is_empty() => write!(f, ": {}", printable(&lines)),
                    _ if status.success() => f.write_str("; does it stay in the foreground?"),
                    _ => Ok(()),
                }
            }
            Self::NobodyCame { address, reason: Some(reason), evidence, waited, .. } => write!(
                f,
                "no server became ready in {waited:.1?}: the last connection to {address} ended: {reason}{}{}",
                Came("the server had sent", evidence),
                hint_at_end(evidence)
            ),
            Self::NobodyCame { address, dialect, reason: None, waited, .. } => {
                write!(f, "nobody connected in {waited:.1?}: is QEMU running with ")?;
                match dialect {
                    Dialect::GuestAgent => {
                        write!(f, "a -chardev socket,server=off for its guest agent, to {address}?")
                    }
                    _ => write!(f, "-qmp {address},server=off?"),
                }
            }
            Self::NoGreeting { waited, evidence } => write!(
                f,
                "connected, but no greeting came in {waited:.1?}{}: QEMU may still be starting, be \
                 stopped (SIGSTOP) or hang; or another client may hold this monitor (QEMU serves \
                 one at a time; the example share lets several use it); or this is a websocket \
                 (websocket=on), a TLS socket (tls-creds) or a guest agent, none of which speak \
                 first",
                Came("instead came", evidence)
            ),
            Self::NoCapabilities { waited, evidence } => write!(
                f,
                "the server greeted, but did not answer qmp_capabilities in {waited:.1?}{}: a \
                 command of another monitor may keep QEMU busy, QEMU may be stopped (SIGSTOP), or its \
                 main loop hangs (QEMU up to 10.0.2 can hang if a client connects during its start; \
                 wait=on or `spawn` avoid that)",
                Came("instead came", evidence)
            ),
            Self::NoAgent { waited, evidence } => write!(
                f,
                "connected, but no guest agent answered in {waited:.1?}{}: {}",
                Came("instead came", evidence),
                advice(evidence.as_ref())
            ),
            Self::Ended { reason, evidence } => write!(
                f,
                "the connection ended before the server was ready: {reason}{}",
                Came("the server had sent", evidence)
            ),
            Self::KeptEnding { address, reason, evidence, times, waited } => {
                let times = match times {
                    1 => "once".to_owned(),
                    times => format!("{times} times"),
                };
                write!(
                    f,
                    "the connection to {address} ended before the server was ready, {times} in \
                     {waited:.1?}: {reason}{}{}",
                    Came("the server had sent", evidence),
                    hint_at_end(evidence)
                )
            }
        }
    }
}

/// Unexpected input, after these words.
struct Came<'a>(&'static str, &'a Option<Evidence>);

impl fmt::Display for Came<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(words, evidence) = self;
        evidence.as_ref().map_or(Ok(()), |evidence| write!(f, "; {words} {evidence}"))
    }
}

/// The likely cause of an end, unless the server's error names it.
fn hint_at_end(evidence: &Option<Evidence>) -> &'static str {
    match evidence {
        Some(Evidence::Error(_)) => "",
        _ => "; is QEMU quitting, or failing at its start?",
    }
}

/// What may be done where no guest agent answers.
fn advice(evidence: Option<&Evidence>) -> &'static str {
    match evidence {
        Some(Evidence::Greeting) => "connect to it as to a monitor",
        Some(Evidence::Error(_)) => {
            "it must allow guest-sync-delimited, which is how a session begins"
        }
        Some(Evidence::Noise(_)) => "is this a console, and not the channel of a guest agent?",
        _ => {
            "is qemu-ga running in the guest? Or another client may hold its channel, which serves one \
             at a time, or it is older than guest-sync-delimited (QEMU 1.1), or the \
             address is a QMP monitor"
        }
    }
}

/// The end of what a program wrote to its standard error, in one line: it says why it ended.
fn last_lines(stderr: &str) -> String {
    const LINES: usize = 4;
    const CHARACTERS: usize = 300;
    let lines = stderr.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut last: Vec<_> = lines.rev().take(LINES).collect();
    last.reverse();
    let short = last.iter().map(|line| line.chars().take(CHARACTERS).collect::<String>());
    short.collect::<Vec<_>>().join("; ")
}

/// The text of an error holds the whole cause already; its source is for programs.
impl error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Address(error) => Some(error),
            Self::NoSocket(error) => Some(error),
            Self::Io(error) | Self::NotStarted { error, .. } => Some(error),
            Self::Ended { reason, .. }
            | Self::KeptEnding { reason, .. }
            | Self::NobodyCame { reason: Some(reason), .. } => Some(reason),
            Self::Exited { .. }
            | Self::NobodyCame { .. }
            | Self::NoGreeting { .. }
            | Self::NoCapabilities { .. }
            | Self::NoAgent { .. } => None,
        }
    }
}

impl From<AddressError> for ConnectError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

/// What is an address already cannot fail to become one.
impl From<Infallible> for ConnectError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<SocketError> for ConnectError {
    fn from(error: SocketError) -> Self {
        Self::NoSocket(error)
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
