//! What can go wrong with one command.
//!
//! A [`Refusal`] is ours: the request was never accepted and nothing was sent. An [`ExecuteError`]
//! is how an accepted command ended, when not with its `return`. What ends the whole connection is
//! in `close`.
//!
//! No text here repeats a value of a request or a reply: a value may be a secret. Only what the
//! server itself wrote as an error's description ([`CommandError::desc`]) is passed on.

use alloc::string::String;
use alloc::sync::Arc;
use core::{error::Error, fmt};

use crate::codec::object;
use crate::connection::close::CloseReason;
use crate::payload::decode::DecodeError;
use crate::payload::printable::{cut, printable};

/// Why a request was not accepted. Nothing was sent, and the connection is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The request asks for out-of-band execution, which was not negotiated on this connection.
    OobNotNegotiated,
    /// The request carries a descriptor, which this transport cannot pass.
    NoDescriptors,
    /// An out-of-band request carries a descriptor: QEMU would attach it to some other command.
    DescriptorOutOfBand,
    /// The request is out-of-band or carries a descriptor, which a guest agent knows nothing of.
    NotForGuestAgent,
    /// More than 64 MiB or 2 Mi JSON tokens: QEMU would answer without an id.
    TooLarge,
    /// Nested deeper than 1,024 levels, the command itself included: as above.
    TooDeep,
    /// The arguments are no JSON that QEMU reads.
    InvalidJson(JsonFault),
    /// What is to run in a guest holds a NUL, which ends a string there.
    Nul,
    /// As many commands, or bytes of them, wait for their turn as [`Config`](crate::Config) allows.
    QueueFull,
    /// [`close`](crate::Connection::close) was called.
    Closing,
    /// The connection has ended, for this reason.
    Closed(CloseReason),
}

/// What is wrong with the JSON of a request. Offsets are bytes from the start of the encoded
/// command, or of the text given to [`raw_arguments`](crate::Request::raw_arguments).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonFault {
    /// The text is no JSON from here on.
    Syntax {
        /// Where.
        offset: usize,
    },
    /// `arguments` must be a JSON object.
    NotAnObject,
    /// The arguments' `Serialize` failed (a map whose keys are no strings, for instance).
    NotSerializable,
    /// A member's name stands twice in one object, which ends here.
    DuplicateMember {
        /// Where.
        offset: usize,
    },
    /// Half of a surrogate pair.
    LoneSurrogate {
        /// Where.
        offset: usize,
    },
    /// A number that QEMU does not read: an exponent right behind a lone zero, as in `0e1`.
    Number {
        /// Where it ends.
        offset: usize,
    },
    /// A Unicode noncharacter, such as U+FFFF.
    Noncharacter {
        /// Where.
        offset: usize,
    },
}

/// How one command ended, when not with the server's `return`. There is no fifth way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecuteError {
    /// The server's answer is an error.
    Command(CommandError),
    /// The transport took no byte of it: safe to try again on another connection.
    NotSent(CloseReason),
    /// Its deadline passed.
    TimedOut {
        /// It was committed: all of it was sent, or will be, so it may have run or may yet run.
        sent: bool,
    },
    /// The transport took at least a part of it, and no reply came: it may have run. The connection has
    /// ended, unless it is a guest agent's and the reason is a [`Violation`](CloseReason::Violation): what came
    /// in place of the reply could not be read, and is dropped.
    Unanswered(CloseReason),
}

/// The server's `error`: a class for programs and a description for people.
///
/// Its `Display` is one line without control characters.
///
/// QMP specification, section "Commands Responses", "error".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandError {
    /// The error's class.
    pub class: ErrorClass,
    /// A text for people, in English. It may change between versions.
    ///
    /// It is the unfiltered text of the server or the guest, cut off after 1 MiB: show it through [`printable`], as this
    /// error's `Display` does.
    pub desc: Arc<str>,
}

/// More of a text is not kept.
const LONGEST: usize = 1 << 20;
const SHORT: usize = 256;

/// The class of a [`CommandError`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Most errors: what went wrong is told by the description alone.
    #[default]
    GenericError,
    /// The command is unknown, or not available now.
    CommandNotFound,
    /// A device's guest part has not been activated.
    DeviceNotActive,
    /// No such device.
    DeviceNotFound,
    /// KVM lacks what is needed.
    KvmMissingCap,
    /// Any other class, as the server wrote it.
    Other(Arc<str>),
}

impl CommandError {
    /// An error as a server answers with it; `desc` is for people.
    pub fn new(class: ErrorClass, desc: impl Into<Arc<str>>) -> Self {
        Self { class, desc: desc.into() }
    }

    /// An error of the class that most have.
    pub fn generic(desc: impl Into<Arc<str>>) -> Self {
        Self::new(ErrorClass::GenericError, desc)
    }

    /// The same error, as a short text.
    pub(crate) fn shortened(&self) -> Self {
        let class = match &self.class {
            ErrorClass::Other(name) => ErrorClass::Other(cut(name, SHORT).into()),
            class => class.clone(),
        };
        let desc = match cut(&self.desc, SHORT) {
            desc if desc.len() == self.desc.len() => self.desc.clone(),
            desc => [desc, "…"].concat().into(),
        };
        Self { class, desc }
    }

    /// Reads the value of a reply's `error`, if it is an object. A text in it that cannot be decoded
    /// is taken as it stands: the reply is an error all the same.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        if let Some(desc) = usual_desc(json) {
            return Some(Self::generic(cut(desc, LONGEST)));
        }
        let mut error = Self::default();
        object::for_each_member(json, &mut |name, value| {
            let undecoded = || String::from_utf8_lossy(&value[..value.len().min(LONGEST)]);
            let text = || object::string(value).unwrap_or_else(undecoded);
            match name {
                b"class" => error.class = ErrorClass::from(cut(&text(), LONGEST)),
                b"desc" => error.desc = cut(&text(), LONGEST).into(),
                _ => {}
            }
        })?;
        Some(error)
    }
}

/// What an error says, where it is written as QEMU writes most of them.
fn usual_desc(json: &[u8]) -> Option<&str> {
    let desc = json.strip_prefix(br#"{"class": "GenericError", "desc": "#)?.strip_suffix(b"}")?;
    core::str::from_utf8(object::plain_string(desc)?).ok()
}

/// What a server's command answers to arguments that do not fit. The client is not told the name of
/// a type of the server's program.
impl From<DecodeError> for CommandError {
    fn from(error: DecodeError) -> Self {
        Self::generic(error.for_peer())
    }
}

impl From<&str> for ErrorClass {
    fn from(name: &str) -> Self {
        match name {
            "GenericError" => Self::GenericError,
            "CommandNotFound" => Self::CommandNotFound,
            "DeviceNotActive" => Self::DeviceNotActive,
            "DeviceNotFound" => Self::DeviceNotFound,
            "KVMMissingCap" => Self::KvmMissingCap,
            other => Self::Other(other.into()),
        }
    }
}

impl ErrorClass {
    /// The class as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::GenericError => "GenericError",
            Self::CommandNotFound => "CommandNotFound",
            Self::DeviceNotActive => "DeviceNotActive",
            Self::DeviceNotFound => "DeviceNotFound",
            Self::KvmMissingCap => "KVMMissingCap",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OobNotNegotiated => f.write_str(
                "out-of-band execution was not negotiated: it has to be asked for (`oob`)",
            ),
            Self::NoDescriptors => f.write_str("this transport cannot pass a file descriptor"),
            Self::DescriptorOutOfBand => {
                f.write_str("an out-of-band command cannot carry a file descriptor")
            }
            Self::NotForGuestAgent => f.write_str(
                "a guest agent knows neither out-of-band execution nor file descriptors",
            ),
            Self::TooLarge => {
                f.write_str("the command is larger than QEMU reads (64 MiB, 2 Mi tokens)")
            }
            Self::TooDeep => {
                f.write_str("the command is nested deeper than QEMU reads (1,024 levels)")
            }
            Self::InvalidJson(fault) => write!(f, "the arguments cannot be sent: {fault}"),
            Self::Nul => f.write_str("a program's path, argument or variable holds a NUL"),
            Self::QueueFull => f.write_str("too many commands wait for their turn"),
            Self::Closing => f.write_str("the connection is closing"),
            Self::Closed(reason) => write!(f, "the connection is closed: {reason}"),
        }
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { offset } => write!(f, "no JSON at byte {offset}"),
            Self::NotAnObject => f.write_str("they must be a JSON object"),
            Self::NotSerializable => f.write_str("they cannot be written as JSON"),
            Self::DuplicateMember { offset } => {
                write!(f, "a member stands twice in the object that ends at byte {offset}")
            }
            Self::LoneSurrogate { offset } => {
                write!(f, "half a surrogate pair at byte {offset}")
            }
            Self::Number { offset } => {
                write!(f, "a zero with an exponent, which QEMU does not read, before byte {offset}")
            }
            Self::Noncharacter { offset } => {
                write!(f, "a Unicode noncharacter at byte {offset}")
            }
        }
    }
}

impl fmt::Display for ExecuteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(error) => error.fmt(f),
            Self::NotSent(reason) => write!(f, "the command was not sent: {reason}"),
            Self::TimedOut { sent: true } => {
                f.write_str("the deadline passed; the command was sent, so it may have run")
            }
            Self::TimedOut { sent: false } => f.write_str("the deadline passed; nothing was sent"),
            Self::Unanswered(reason) => {
                write!(f, "the command was sent, at least in part, and not answered: {reason}")
            }
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", printable(self.class.as_str()), printable(&*self.desc))
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidJson(fault) => Some(fault),
            Self::Closed(reason) => Some(reason),
            _ => None,
        }
    }
}

impl Error for ExecuteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Command(error) => Some(error),
            Self::TimedOut { .. } => None,
            Self::NotSent(reason) | Self::Unanswered(reason) => Some(reason),
        }
    }
}
impl Error for JsonFault {}
impl Error for CommandError {}
