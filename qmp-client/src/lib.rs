//! What every QMP adapter shares: the handle behind which callers meet, event queues, addresses,
//! descriptors. No runtime, and no protocol: that is `qmp-proto`.
//!
//! An adapter (`qmp-blocking`) is what programs use; this crate is for those who write one. It has
//!
//! - [`Hub`]: the protocol's state behind a lock, with a slot for each reply and wakers for those
//!   who wait;
//! - [`Subscription`]: one subscriber's bounded queue of events;
//! - [`Address`]: where a monitor listens, in QEMU's own words;
//! - [`connect`] and [`descriptors`]: opening sockets under a deadline, and sending descriptors.

#![forbid(unsafe_code)]

pub mod address;
pub mod connect;
pub mod descriptors;
mod error;
mod events;
mod hub;
mod pending;
#[cfg(test)]
mod testing;
mod watch;

pub use address::Address;
pub use error::Error;
pub use events::{EventLimits, Lagged, Subscription};
pub use hub::{Flushed, Hub, Received};
pub use pending::{Pending, PendingUntil};
pub use watch::Matcher;
