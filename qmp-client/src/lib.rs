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
//! - [`connect`], [`listen`](connect::listen), [`spawn`](connect::spawn) and [`descriptors`]: opening sockets under a deadline, or
//!   waiting for others to connect, starting QEMU, and sending descriptors;
//! - [`guest`]: a program in the guest, from its start to its output, and [`base64`](guest::base64);
//! - `asynchronous` (with the feature `async`): the client for tasks, whatever runs them.
//!
//! # Features
//!
//! On by default, so that who builds a small program can do without:
//!
//! - `streams`: the addresses `pipe:`, `pty:`, `fd:` and `stdio`. Without it, no connection is opened to
//!   them.
//! - `trace`: recordings, and `qmp_proto::trace`.
//! - `guest-exec`: [`guest`] and [`base64`](guest::base64).
//!
//! Off by default:
//!
//! - `async`: the client for tasks.
//! - `deep`: replies nested deeper than 128 levels are decoded, up to `max_depth`.
//! - `tracing`: connections are logged with the target `qmp`: each message, its secrets replaced, at
//!   the level TRACE; at DEBUG when one is ready for commands, and how it ended. A connection is
//!   logged at the levels that were enabled when it began.

#![forbid(unsafe_code)]

pub mod address;
pub mod connect;
mod shared;
#[cfg(feature = "trace")]
mod recording;
#[cfg(not(feature = "trace"))]
mod no_recording;
pub mod descriptors;
#[cfg(feature = "guest-exec")]
pub mod guest;
#[cfg(feature = "async")]
pub mod asynchronous;
pub mod options;
mod error;

#[cfg(not(feature = "trace"))]
use no_recording as recording;

pub use address::Address;
pub use connect::error::ConnectError;
pub use error::Error;
#[cfg(feature = "guest-exec")]
pub use guest::{GuestExecError, GuestExitStatus, GuestOutput, GuestProgram};
pub use options::Options;
pub use recording::{Recording, Tap};
pub use shared::event_waiter::Matcher;
pub use shared::pending::{Pending, PendingUntil};
pub use shared::subscription::{EventLimits, Lagged, Subscription};
pub use shared::waiting::Wait;
pub use shared::{Flushed, Hub, Received};

/// What every adapter names as its own, beside its client.
pub mod names {
    #[cfg(feature = "trace")]
    pub use crate::Recording;
    pub use crate::address::AddressError;
    pub use crate::connect::SocketError;
    pub use crate::{Address, ConnectError, Error, EventLimits, Lagged};
    #[cfg(feature = "guest-exec")]
    pub use crate::{GuestExecError, GuestExitStatus, GuestOutput, GuestProgram, guest::base64};
    #[cfg(feature = "trace")]
    pub use qmp_proto::trace;
    pub use qmp_proto::{
        CloseReason, Command, CommandError, DecodeError, DecodeErrorKind, Dialect, Empty,
        ErrorClass, Event, Evidence, Greeting, IoFailure, JsonFault, NoReply, NotQmp, Printable,
        Raw, Refusal, Request, Timestamp, TypedEvent, Version, VersionTriple, Violation, commands,
        events, guest_commands, printable,
    };
}
