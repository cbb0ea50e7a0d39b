//! How a connection ends: as it should, by a failure of the transport, or by the peer's fault.
//!
//! A [`Violation`] or [`NotQmp`] is the peer's fault, never ours, and its bytes are not trusted
//! any further. No text here repeats a value from the wire: a value may be a secret. Only the first
//! words of a peer that does not speak QMP are shown.

use alloc::sync::Arc;
use core::{error::Error, fmt};

use crate::payload::error::CommandError;
use crate::payload::printable::printable;

/// How a connection ended. The first reason stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`close`](crate::Connection::close) was asked for, and every reply owed has come.
    Requested,
    /// The stream ended after `quit`, as it should.
    Quit,
    /// The server closed the stream.
    Eof {
        /// It did so in the middle of a message, which is lost.
        mid_message: bool,
    },
    /// The transport failed.
    Failed(IoFailure),
    /// What speaks at the other end is no QMP server.
    NotQmp(NotQmp),
    /// The server broke the protocol, or a limit of ours.
    Violation(Violation),
    /// The server refused `qmp_capabilities`.
    NegotiationRefused(CommandError),
    /// A callback of the program's panicked, and this client was to end with it. The text is what
    /// the program panicked with.
    CallbackPanicked(Arc<str>),
}

/// How a transport failed, as the adapter reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoFailure {
    /// The peer reset the connection (`ECONNRESET`, `EPIPE`): after `quit` this is its normal end.
    Reset,
    /// The stream ended, and its library reports that as an error: TLS without close_notify.
    /// [`handle_failure`](crate::Connection::handle_failure) takes it for an end of the stream.
    Eof,
    /// Nobody moves the bytes any more: what drove the connection was dropped, or panicked.
    DriverGone,
    /// Any other error of the operating system, by its number.
    Os(i32),
    /// An error without an OS error number, such as a TLS error: its kind and its text.
    Other(Arc<str>),
}

/// What talks first at an address and is no QMP server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotQmp {
    /// QEMU's human monitor: its `-monitor`, or a chardev without `mode=control`.
    HumanMonitor,
    /// A telnet negotiation: the socket was opened with `telnet=on`.
    Telnet,
    /// An SSH server.
    Ssh,
    /// An HTTP server.
    Http,
    /// A VNC server.
    Vnc,
    /// A JSON object that is none of QMP's messages.
    OtherJson,
    /// Something else.
    Unknown {
        /// Its first words in one line of ASCII: at most 128 bytes, as far as they had come, up to a
        /// line end or a quotation mark. Other bytes are written `\xNN`.
        said: Arc<str>,
    },
}

/// A fault of the peer's, after which its bytes can no longer be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A message did not end within `max_message` bytes.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A message is nested deeper than `max_depth`.
    TooDeep {
        /// The limit, in levels.
        limit: usize,
        /// Where in the message.
        offset: usize,
    },
    /// A message has more members at its top level than any server writes.
    TooManyMembers {
        /// The limit.
        limit: usize,
    },
    /// A bracket closes one of the other kind.
    MismatchedBracket {
        /// Where in the message.
        offset: usize,
    },
    /// Between two messages stands what is neither white space nor 0xFF.
    Garbage {
        /// The first such byte.
        byte: u8,
    },
    /// A message is neither greeting, reply nor event.
    Envelope {
        /// The member at fault, or the empty string where it is the message itself.
        member: &'static str,
        /// What should have been there.
        expected: &'static str,
    },
    /// A greeting after [`Output::Ready`](crate::Output::Ready): the server restarted behind this
    /// stream, and every reply owed is lost.
    SecondGreeting,
    /// More greetings came before [`Output::Ready`](crate::Output::Ready) than any server sends.
    TooManyGreetings {
        /// The limit.
        limit: usize,
    },
    /// An error without an id came, which may be that of any of several commands in flight, or, from a guest
    /// agent that echoes ids, of anything that it could not read: to guess would be worse.
    UnattributableError(CommandError),
    /// A guest agent answered a later question and not the command in flight: it was restarted.
    AgentRestarted,
}

impl CloseReason {
    /// Whether the server closed the stream. On the wire this is an end of the stream or a reset: a
    /// server that closes a socket with unread bytes resets the connection.
    pub fn is_by_server(&self) -> bool {
        matches!(
            self,
            Self::Quit | Self::Eof { .. } | Self::Failed(IoFailure::Reset | IoFailure::Eof)
        )
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("closed on request"),
            Self::Quit => f.write_str("closed after quit"),
            Self::Eof { mid_message: false } => f.write_str("the server closed the connection"),
            Self::Eof { mid_message: true } => {
                f.write_str("the server closed the connection in the middle of a message")
            }
            Self::Failed(failure) => failure.fmt(f),
            Self::NotQmp(speaker) => speaker.fmt(f),
            Self::Violation(violation) => violation.fmt(f),
            Self::NegotiationRefused(error) => {
                write!(f, "the server refused qmp_capabilities: {error}")
            }
            Self::CallbackPanicked(text) => {
                write!(f, "a callback panicked: {}", printable(&**text))
            }
        }
    }
}

impl fmt::Display for IoFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("the server reset the connection"),
            Self::Eof => f.write_str("the server closed the connection"),
            Self::DriverGone => f.write_str(
                "nobody drives the connection any more: its driver was dropped or panicked",
            ),
            Self::Os(code) => write!(f, "the transport failed (OS error {code})"),
            Self::Other(text) => write!(f, "the transport failed: {}", printable(&**text)),
        }
    }
}

impl fmt::Display for NotQmp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no QMP server: ")?;
        match self {
            Self::HumanMonitor => {
                f.write_str("this is QEMU's human monitor; use -qmp, or mode=control with -mon")
            }
            Self::Telnet => f.write_str("this is telnet; leave out telnet=on"),
            Self::Ssh => f.write_str("this is an SSH server"),
            Self::Http => f.write_str("this is an HTTP server"),
            Self::Vnc => f.write_str("this is a VNC server"),
            Self::OtherJson => f.write_str("a JSON object came that is not a QMP message"),
            Self::Unknown { said } if said.is_empty() => {
                f.write_str("expected a JSON object, found a string")
            }
            Self::Unknown { said } => {
                write!(f, "expected a JSON object, found \"{said}\"")
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => {
                write!(f, "a message is larger than max_message ({limit} bytes)")
            }
            Self::TooDeep { limit, offset } => write!(
                f,
                "a message is nested deeper than max_depth ({limit} levels) at byte {offset}"
            ),
            Self::TooManyMembers { limit } => {
                write!(f, "a message has more than {limit} members")
            }
            Self::MismatchedBracket { offset } => {
                write!(f, "mismatched bracket at byte {offset} of a message")
            }
            Self::Garbage { byte } => {
                write!(f, "expected a JSON object, found the byte 0x{byte:02x}")
            }
            Self::Envelope { member: "", expected } => {
                write!(f, "unreadable message: expected {expected}")
            }
            Self::Envelope { member, expected } => {
                write!(f, "unreadable message: expected {expected} in \"{member}\"")
            }
            Self::SecondGreeting => f.write_str("a second greeting: the server has restarted"),
            Self::TooManyGreetings { limit } => {
                write!(f, "more than {limit} greetings came, and no reply to qmp_capabilities")
            }
            Self::AgentRestarted => f.write_str(
                "the guest agent answered a later question and not this command: it was restarted",
            ),
            Self::UnattributableError(error) => {
                write!(f, "an error without an id, which any command may have caused: {error}")
            }
        }
    }
}

impl Error for CloseReason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::NotQmp(speaker) => Some(speaker),
            Self::Violation(violation) => Some(violation),
            Self::NegotiationRefused(error) => Some(error),
            _ => None,
        }
    }
}

/// How much of the text of an error is kept, in characters.
#[cfg(feature = "std")]
const KEPT: usize = 256;

/// Converts an error of the operating system, or of any other stream.
///
/// `UnexpectedEof` is an end of the stream: [`IoFailure::Eof`].
#[cfg(feature = "std")]
impl From<&std::io::Error> for IoFailure {
    fn from(error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match (error.kind(), error.raw_os_error()) {
            (ConnectionReset | BrokenPipe | ConnectionAborted, _) => Self::Reset,
            (UnexpectedEof, _) => Self::Eof,
            (_, Some(code)) => Self::Os(code),
            (kind, None) => {
                let text = match error.get_ref() {
                    Some(inner) => std::format!("{kind}: {inner}"),
                    None => std::format!("{kind}"),
                };
                Self::Other(text.chars().take(KEPT).collect::<std::string::String>().into())
            }
        }
    }
}

impl Error for IoFailure {}
impl Error for NotQmp {}
impl Error for Violation {}
