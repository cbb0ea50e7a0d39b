//! What every QMP adapter shares: the handle behind which callers meet, event queues, addresses,
//! descriptors. No runtime, and no protocol: that is `qmp-proto`.
//!
//! An adapter (`qmp-blocking`, `qmp-smol`, `qmp-async-std`) is what programs use; this crate is for those who write one. It has
//!
//! - [`SharedConnection`]: the protocol's state behind a lock, with a slot for each reply and wakers for those
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
//! All are off by default:
//!
//! - `async`: the async client, for any executor.
//! - `async-io`: sockets and child processes for it, at the reactor that smol and async-std share.
//! - `deep`: replies nested deeper than 128 levels are decoded, up to `max_depth`.
//! - `tracing`: connections are logged with the target `qmp`: each message, its secrets replaced, at
//!   the level TRACE; at DEBUG when one is ready for commands, and how it ended. A connection is
//!   logged at the levels that were enabled when it began.

#![forbid(unsafe_code)]

pub mod address;
pub mod connect;
mod shared;
mod recording;
pub mod descriptors;
pub mod guest;
#[cfg(feature = "async")]
pub mod asynchronous;
pub mod options;
mod error;

pub use address::Address;
pub use connect::error::ConnectError;
pub use error::Error;
pub use guest::{GuestExecError, GuestExitStatus, GuestOutput, GuestProgram};
pub use options::Options;
pub use recording::{Recording, Tap, TapSource};
pub use shared::event_waiter::Matcher;
pub use shared::pending::{Pending, PendingUntil};
pub use shared::subscription::{EventLimits, Lagged, Subscription};
pub use shared::waiting::Wait;
pub use shared::{Flushed, Received, SharedConnection};

/// What every adapter names as its own, beside its client.
pub mod names {
    pub use crate::Recording;
    pub use crate::address::AddressError;
    pub use crate::connect::SocketError;
    pub use crate::{Address, ConnectError, Error, EventLimits, Lagged};
    pub use crate::{GuestExecError, GuestExitStatus, GuestOutput, GuestProgram, guest::base64};
    pub use qmp_proto::trace;
    pub use qmp_proto::{
        CloseReason, Command, CommandError, DecodeError, DecodeErrorKind, Dialect, Empty,
        ErrorClass, Event, Evidence, Greeting, IoFailure, JsonFault, NoReply, NotQmp, Printable,
        Raw, Refusal, Request, Timestamp, TypedEvent, Version, VersionTriple, Violation, commands,
        events, guest_commands, printable,
    };
}
