//! What every QMP adapter shares: the handle behind which callers meet, event queues, addresses,
//! descriptors. No runtime, and no protocol: that is `qmp-proto`.
//!
//! An adapter (`qmp-blocking`, `qmp-smol`, `qmp-async-std`) is what programs use; this crate is for those who write one. It has
//!
//! - [`Hub`]: the protocol's state behind a lock, with a slot for each reply and wakers for those
//!   who wait;
//! - [`Subscription`]: one subscriber's bounded queue of events;
//! - [`Address`]: where a monitor listens, in QEMU's own words;
//! - [`Recording`]: the messages of a connection, written down as they go by;
//! - [`connect`], [`listen`], [`spawn`] and [`descriptors`]: opening sockets under a deadline, or
//!   waiting for others to connect, starting QEMU, and sending descriptors;
//! - [`guest`]: a program in the guest, from its start to its output, and [`base64`];
//! - `tasks` (with the feature `async`): the client for tasks, whatever runs them.
//!
//! # Features
//!
//! - `async`: the client for tasks.
//! - `deep`: replies nested deeper than 128 levels are decoded, up to `max_depth`.
//! - `tracing`: connections are logged with the target `qmp`: each message, its secrets replaced, at
//!   the level TRACE; at DEBUG when one is ready for commands, and how it ended. A connection is
//!   logged at the levels that were enabled when it began.

#![forbid(unsafe_code)]

pub mod address;
pub mod base64;
pub mod connect;
mod connect_error;
pub mod descriptors;
mod error;
mod events;
pub mod guest;
mod hub;
pub mod listen;
pub mod options;
mod pending;
pub mod pump;
pub mod spawn;
mod sync;
mod tap;
#[cfg(feature = "async")]
pub mod tasks;
#[cfg(test)]
mod testing;
mod waiting;
mod watch;

pub use address::Address;
pub use connect_error::ConnectError;
pub use error::Error;
pub use events::{EventLimits, Lagged, Subscription};
pub use guest::{GuestExecError, GuestExitStatus, GuestOutput, GuestProgram};
pub use hub::{Flushed, Hub, Received};
pub use options::Options;
pub use pending::{Pending, PendingUntil};
pub use tap::{Recording, Tap};
pub use waiting::Wait;
pub use watch::Matcher;

/// What every adapter names as its own, beside its client.
pub mod names {
    pub use crate::address::AddressError;
    pub use crate::connect::SocketError;
    pub use crate::{
        Address, ConnectError, Error, EventLimits, GuestExecError, GuestExitStatus, GuestOutput,
        GuestProgram, Lagged, Recording, base64,
    };
    pub use qmp_proto::{
        CloseReason, Command, CommandError, DecodeError, DecodeErrorKind, Dialect, Empty,
        ErrorClass, Event, Greeting, IoFailure, JsonFault, NoReply, NotQmp, Raw, Refusal, Request,
        Timestamp, TypedEvent, Version, VersionTriple, Violation, commands, events, guest_commands,
        trace,
    };
}
