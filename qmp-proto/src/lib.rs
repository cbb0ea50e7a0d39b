//! The QEMU Machine Protocol (QMP) as a pure state machine: bytes in; greetings, replies and events
//! out. No sockets, no clock, no threads, no futures; `no_std` with `alloc`.
//!
//! Who wants a client that just works takes an adapter instead (`qmp-blocking`). Who has an event
//! loop of their own (epoll, mio, io_uring, a unikernel), or a fuzzer, starts here.
//!
//! # What it guarantees
//!
//! - **Any chunking** of the same bytes gives the same outputs. Messages are found by JSON
//!   structure: pretty-printed ones, several in a line, or none ended by a line end all work.
//! - **Linear time, bounded memory.** Each byte is looked at once to find where messages end.
//!   Memory is bounded by [`Config::max_message`], and given back after a large message. Nothing
//!   the peer sends panics, overflows the stack or allocates beyond that. A message has at most
//!   1,024 members at its top level, and a greeting's `QMP` 64 KiB. What decoding takes is bounded by
//!   [`Config::max_values`]: see [`guide::memory`].
//! - **What is unknown is data.** Unknown members, events, error classes and capabilities never
//!   fail a connection. A payload that does not decode fails the call that asked for it.
//! - **A command is never torn.** Once [`transmit`](Connection::transmit) lent it, it goes out
//!   whole or the connection ends; before, it can be withdrawn with its descriptor.
//! - **Every command ends exactly once**: with its reply, as
//!   [`NotSent`](ExecuteError::NotSent) (safe to try again) or as
//!   [`Unanswered`](ExecuteError::Unanswered) (may have run).
//! - **Nobody is given another's reply.** Ids are this connection's alone, a reply with an unknown
//!   id is a [`Stray`], and what QEMU would answer without an id is refused before it is sent. A guest
//!   agent that does not echo ids is the exception: see [`Dialect::GuestAgent`].
//! - **The order rules of real servers** are kept: how many commands may be in flight beside an
//!   out-of-band one, one descriptor at a time, not a byte behind `quit`.
//!
//! It speaks to QEMU's guest agent too: see [`Dialect`].
//!
//! # The loop
//!
//! An embedder does these things, in this order, again and again:
//!
//! 1. take the outputs from [`poll_output`](Connection::poll_output), until there are none. After [`Output::Closed`], drop
//!    the transport;
//! 2. send what [`transmit`](Connection::transmit) lends, until there is nothing or the transport is full, and tell
//!    [`advance`](Connection::advance) how much of it the transport took. This is the last step before the wait, since
//!    an output may have led to a new command;
//! 3. wait for the transport, until [`poll_timeout`](Connection::poll_timeout) at the latest;
//! 4. receive, and pass the bytes to [`handle_input`](Connection::handle_input)
//!    ([`handle_eof`](Connection::handle_eof), [`handle_failure`](Connection::handle_failure));
//! 5. call [`handle_timeout`](Connection::handle_timeout), if a command has a deadline or the peer is a guest agent.
//!
//! Here against a script in place of a socket:
//!
//! ```
//! use qmp_proto::{Config, Connection, Output, Request, commands::QueryStatus};
//!
//! /// What a server would say, once it has got what it waits for.
//! fn serve(sent: &[u8]) -> String {
//!     let id = |text: &str| text.rsplit(':').next().unwrap().trim_end_matches(['}', '\n']).to_owned();
//!     match std::str::from_utf8(sent).unwrap() {
//!         "" => r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7},
//!                   "package": ""}, "capabilities": ["oob"]}}"#.to_owned(),
//!         text if text.contains("qmp_capabilities") => {
//!             format!("{{\"return\": {{}}, \"id\": {}}}\r\n", id(text))
//!         }
//!         text => format!(
//!             "{{\"return\": {{\"status\": \"running\", \"running\": true}}, \"id\": {}}}\r\n",
//!             id(text)
//!         ),
//!     }
//! }
//!
//! let mut connection = <Connection>::new(Config::default(), 0x5eed_0000_0000_0000);
//! let query = connection.execute(Request::of(&QueryStatus), None)?;
//! let mut told = Vec::new();
//! loop {
//!     let mut sent = Vec::new();
//!     while let Some(transmit) = connection.transmit() {
//!         sent.extend_from_slice(transmit.bytes);     // a real transport may take fewer
//!         let taken = transmit.bytes.len();
//!         connection.advance(taken);
//!     }
//!     if connection.close_reason().is_some() {
//!         break;
//!     }
//!     connection.handle_input(serve(&sent).as_bytes());
//!     while let Some(output) = connection.poll_output() {
//!         match output {
//!             Output::Ready(greeting) => {
//!                 told.push(format!("{:?}", greeting.unwrap_or_default().capabilities));
//!             }
//!             Output::Reply(id, outcome) => {
//!                 assert_eq!(id, query);
//!                 let raw = outcome.expect("a return");
//!                 told.push(raw.as_str().expect("ASCII").to_owned());
//!                 connection.close();
//!             }
//!             Output::Closed(reason) => told.push(reason.to_string()),
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(told[0], r#"["oob"]"#);
//! assert_eq!(told[1], r#"{"status": "running", "running": true}"#);
//! assert_eq!(told[2], "closed on request");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`guide`] has the same over a socket that never blocks, with deadlines and descriptors, and shows how to fuzz what
//! is built on it.
//!
//! # The phases
//!
//! [`Connection::phase`] tells where a connection stands. Every transition there is:
//!
#![doc = include_str!("connection/phase.md")]
//!
//! # Features
//!
//! - `std`, on by default: commands are encoded straight into the outgoing buffer. Without it the
//!   crate needs `alloc` alone, and encoding makes one more copy.
//! - `deep` (needs `std`): [`Raw::parse`] decodes replies nested deeper than serde_json's limit of
//!   128 levels, up to [`Config::max_depth`], on any stack. A chain of 200 backing files gives one.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod connection;
mod codec;
mod payload;
pub mod commands;
pub mod events;
pub mod guest_commands;
pub mod trace;
pub mod guide;
#[doc(hidden)]
pub mod __server;

pub use codec::encode::Prepared;
pub use codec::message::{Greeting, Version, VersionTriple};
pub use connection::Connection;
pub use connection::close::{CloseReason, IoFailure, NotQmp, Violation};
pub use connection::config::{Config, Dialect};
pub use connection::evidence::Evidence;
pub use connection::outbound::send_buffer::Transmit;
pub use connection::output::{Cancelled, Output, Stray};
pub use connection::phase::Phase;
pub use connection::timers::Instant;
pub use payload::command::{Command, CommandId, Empty, Request};
pub use payload::decode::{DecodeError, DecodeErrorKind};
pub use payload::error::{CommandError, ErrorClass, ExecuteError, JsonFault, Refusal};
pub use payload::event::{Event, Timestamp, TypedEvent};
pub use payload::no_reply::NoReply;
pub use payload::printable::{Printable, printable};
pub use payload::raw::Raw;

/// What has to hold of the private parts, for the fuzz targets. No part of what this crate promises.
#[cfg(any(test, feature = "__fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::codec::framer::properties as framer;
    pub use crate::codec::message::properties as message;
}

/// Buffers keep up to this much room for the next message.
const KEPT_BUFFER: usize = 4096;
