//! What an embedder chooses before the connection begins.

use core::time::Duration;

use crate::codec::framer::MAX_DEPTH;

/// The defaults for a monitor, and for a guest agent.
const MAX_MESSAGE: usize = 128 << 20;
const MAX_MESSAGE_OF_AGENT: usize = 48 << 20;
pub(crate) const MAX_VALUES: usize = 1 << 20;
const MAX_VALUES_OF_AGENT: usize = 1 << 17;

/// Which of QEMU's two servers is spoken to.
///
/// ```
/// use qmp_proto::{Config, Connection, Dialect};
///
/// let mut config = Config::default();
/// config.dialect = Dialect::GuestAgent;
/// let mut connection = <Connection>::new(config, 0x5eed);
/// // To an agent we speak first.
/// let sent = connection.transmit().expect("there is something to send").bytes;
/// assert!(sent.starts_with(b"\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// QEMU's monitor, or that of its storage daemon.
    #[default]
    Qmp,
    /// `qemu-ga`, which runs inside the guest. It does not greet, has no events, and runs one command
    /// at a time. What it was told before by others is not forgotten when they leave, so a session
    /// begins with a `guest-sync-delimited`, and begins anew after a command that was given up.
    ///
    /// Commands have ids if the agent echoes that of the session's beginning, as QEMU's does from 4.0 on:
    /// then no reply is taken for another's. Of an older agent the next reply is taken for that of the one command
    /// in flight, so it must not send any unasked.
    GuestAgent,
}

/// The choices for a connection, each with a default that suits a QEMU on the same machine.
///
/// ```
/// let mut config = qmp_proto::Config::default();
/// config.oob = true;
/// config.max_message = Some(1 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Which of QEMU's servers is spoken to: the monitor, by default.
    pub dialect: Dialect,
    /// Negotiates out-of-band execution where the server offers it. Off by default: it makes QEMU
    /// run commands from a queue of eight, and only few commands allow it.
    pub oob: bool,
    /// Whether the transport passes descriptors: Unix sockets do. Off by default.
    pub descriptors: bool,
    /// How many in-band commands may be in flight. `None`, the default, is 64 without out-of-band
    /// execution and 7 with it. With it, anything beyond 8 is taken as 8. For a guest agent it is 1.
    pub window: Option<usize>,
    /// The largest message in bytes. `None`, the default, is 128 MiB, as real replies reach 76 MB, and
    /// 48 MiB for a guest agent, which is not trusted: that is enough for the two outputs of 16 MiB that
    /// `guest-exec-status` returns at most, and for 35 MiB of a file. A larger one ends the connection,
    /// or, with a guest agent, the command in flight. It bounds the memory that received bytes take.
    pub max_message: Option<usize>,
    /// How many values of a payload are decoded at most: elements of arrays and members of objects, at all
    /// depths. `None`, the default, is 1,048,576, and 131,072 for a guest agent. Beyond that
    /// [`Raw::parse`](crate::Raw::parse) fails. It bounds the memory that decoding takes:
    /// [the table](crate::guide::memory) has how much that is for each type.
    pub max_values: Option<usize>,
    /// The deepest message in levels, 1,024 by default and at most. A deeper one ends the
    /// connection.
    pub max_depth: usize,
    /// For a guest agent: how long it may be silent while a command is in flight. After that it is sent a question, and
    /// again each time so long. If it answers the question and not the command, it was restarted, and the command
    /// ends as [`Unanswered`](crate::ExecuteError::Unanswered). An agent that is only slow or stopped answers both, in
    /// order. 5 s by default; `None` never asks. It needs [`handle_timeout`](crate::Connection::handle_timeout).
    pub probe_after: Option<Duration>,
    /// How many commands may be outstanding: those that wait for their turn and those in flight.
    /// 16,384 by default.
    pub max_queued: usize,
    /// How many bytes of commands may be queued, without their ids: 128 MiB by default.
    pub max_queued_bytes: usize,
}

impl Config {
    /// The largest message in bytes, by [`max_message`](Self::max_message) or its default.
    pub fn largest_message(&self) -> usize {
        self.max_message.unwrap_or(match self.dialect {
            Dialect::Qmp => MAX_MESSAGE,
            Dialect::GuestAgent => MAX_MESSAGE_OF_AGENT,
        })
    }

    /// How many values of a payload are decoded, by [`max_values`](Self::max_values) or its default.
    pub fn most_values(&self) -> usize {
        self.max_values.unwrap_or(match self.dialect {
            Dialect::Qmp => MAX_VALUES,
            Dialect::GuestAgent => MAX_VALUES_OF_AGENT,
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dialect: Dialect::Qmp,
            oob: false,
            descriptors: false,
            window: None,
            max_message: None,
            max_values: None,
            max_depth: MAX_DEPTH,
            probe_after: Some(Duration::from_secs(5)),
            max_queued: 16_384,
            max_queued_bytes: 128 << 20,
        }
    }
}
