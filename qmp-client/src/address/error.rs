//! What is wrong with the text of an address.

use std::error::Error;
use std::fmt;

/// A text is no [`Address`](super::Address).
///
/// It says what was expected and where, and never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressError {
    offset: usize,
    problem: AddressProblem,
}

/// What is wrong, in an [`AddressError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressProblem {
    /// The text does not begin as any address does.
    Kind,
    /// A path or name is missing or empty.
    Path,
    /// `tcp:` is not followed by `HOST:PORT`.
    HostAndPort,
    /// A port is missing, or is no number that a port can have.
    Port,
    /// A descriptor is no number that a descriptor can have.
    Descriptor,
    /// There is none of `path=`, `host=` and `fd=`, or more than one.
    Target,
    /// This option, which may be on or off, is neither.
    Switch(&'static str),
    /// This option or prefix puts another protocol around QMP.
    NotPlain(&'static str),
}

impl AddressError {
    pub(super) fn new(offset: usize, problem: AddressProblem) -> Self {
        AddressError { offset, problem }
    }

    /// The byte of the text at which the expectation failed.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong there.
    pub fn problem(&self) -> AddressProblem {
        self.problem
    }
}

impl Error for AddressError {}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no address of a monitor: at byte {}, {}", self.offset, self.problem)
    }
}

impl fmt::Display for AddressProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressProblem::Kind => {
                "expected unix:PATH, tcp:HOST:PORT, pipe:PATH, pty:PATH, fd:N, stdio, the options \
                 of a chardev (socket,path=PATH), or a path that begins with '/'"
            }
            AddressProblem::Path => "expected a path",
            AddressProblem::HostAndPort => {
                "expected HOST:PORT, an IPv6 address in brackets: [::1]:4444"
            }
            AddressProblem::Port => "expected the number of a port, 0 to 65535",
            AddressProblem::Descriptor => "expected the number of a descriptor, 0 to 2147483647",
            AddressProblem::Target => "expected exactly one of path=, host= and fd=",
            AddressProblem::Switch(option) => {
                return write!(f, "expected {option} to be on or off");
            }
            AddressProblem::NotPlain(layer) => {
                let protocol = protocol_of(layer);
                return write!(
                    f,
                    "{layer} puts {protocol} around QMP, which must be plain here: leave it out on \
                     both sides"
                );
            }
        })
    }
}

/// The protocol that an option brings in.
fn protocol_of(layer: &str) -> &'static str {
    match layer {
        "websocket" => "WebSocket frames",
        "tls-creds" => "TLS",
        _ => "telnet's control bytes",
    }
}
