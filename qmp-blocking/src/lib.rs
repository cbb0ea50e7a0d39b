//! A QMP client for threads: connect to QEMU, run commands, wait for events.
//!
//! ```no_run
//! use std::process::Command;
//! use qmp_blocking::{commands::{Cont, QueryStatus, Quit}, spawn};
//!
//! let mut qemu = Command::new("qemu-system-x86_64");
//! qemu.args(["-machine", "none", "-nodefaults", "-display", "none", "-S"]);
//! let (client, mut child) = spawn(qemu)?;
//! println!("{:?}", client.execute(&QueryStatus)?.status);
//! client.execute(&Cont)?;
//! client.execute(&Quit)?;
//! child.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`connect`] takes what stands behind `-qmp` on QEMU's command line; [`spawn`] starts QEMU
//!   itself; [`listen`] waits for one that connects to us; [`from_stream`] takes a socket that you
//!   have; [`Builder`] has the options.
//! - [`connect_guest_agent`] leads to QEMU's guest agent, with the same [`Client`], whose
//!   [`guest_exec`](Client::guest_exec) runs a program in the guest.
//! - [`Client`] is cloned into as many threads as you like. [`Client::start`] has many commands
//!   outstanding from a single one.
//! - [`Events`] is a subscriber's iterator. `connect_with_events` misses none.
//! - [`Client::on_event`] and [`Client::submit`] call back, on a [`Pool`] of threads; [`scope`] waits
//!   for that at its end. [`predecessor`] shows the same session in Ruby and here.
//! - [`Client::supports`] tells which commands the server offers.
//! - [`Builder::record`] writes a session down; [`trace`] reads it, and the crate
//!   `qmp-server` replays it.
//! - [`guide`] has a page for each thing that is easily done wrong: events, timeouts, descriptors, reconnecting, tests.
//! - [`commands`], [`guest_commands`] and [`events`] are typed; [`Command`] shows how to add one, and
//!   [`Client::execute_request`] does without a type.
//!
//! # Threads
//!
//! A thread that waits for a reply reads the socket itself while no other does, so a lone command
//! costs one write and one read and no switch of threads. Each connection has one background thread,
//! which reads when nobody has for a millisecond, so that events flow while no one calls, and at once
//! while a reply is owed to a callback. It ends with the connection. Callbacks run on threads of their
//! own, ten for a connection unless the builder says otherwise, which are started when there is work
//! for them.
//!
//! # Features
//!
//! Both are off by default:
//!
//! - `deep`: replies nested deeper than 128 levels are decoded, up to `max_depth`.
//! - `tracing`: connections are logged with the target `qmp`: each message, its secrets replaced, at
//!   the level TRACE; at DEBUG when one is ready for commands, and how it ended. A connection is
//!   logged at the levels that were enabled when it began.

#![forbid(unsafe_code)]

mod client;
mod io;
mod callbacks;
mod lock;
pub mod guide;
#[doc = include_str!("guide/from_qmp_client.md")]
pub mod predecessor {}
#[doc(hidden)]
pub mod __server;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command as Program};

pub use callbacks::{Job, OnPanic, Pool, Registration};
pub use client::builder::Builder;
pub use client::events::Events;
pub use client::listener::Listener;
pub use client::scope::scope;
pub use client::{Client, Pending, WeakClient};
pub use qmp_client::names::*;

use lock::lock;

/// Child processes: the standard library's.
pub mod process {
    pub use std::process::{Child, Command};
}

/// Connects to an [`Address`], to what one wrote for `-qmp` on QEMU's command line, or to the Unix
/// socket at a path.
///
/// # Errors
///
/// A [`ConnectError`] says which step was not reached within 10 s.
pub fn connect(
    address: impl TryInto<Address, Error: Into<ConnectError>>,
) -> Result<Client, ConnectError> {
    Builder::new().connect(address)
}

/// As [`connect`], with all events from the connection's very first on.
///
/// # Errors
///
/// As [`connect`].
pub fn connect_with_events(
    address: impl TryInto<Address, Error: Into<ConnectError>>,
) -> Result<(Client, Events), ConnectError> {
    Builder::new().connect_with_events(address)
}

/// Connects to the guest agent behind an [`Address`]: that of its channel's chardev on QEMU's command
/// line, or the Unix socket at a path.
///
/// Give each command a timeout: [`Client::with_timeout`]. A command ends some seconds after its agent was restarted. As long
/// as no agent runs, only a timeout ends it, and every later command waits for it.
///
/// ```no_run
/// use std::time::Duration;
/// use qmp_blocking::guest_commands::GuestPing;
///
/// // -chardev socket,id=ga,path=/tmp/ga.sock,server=on,wait=off -device virtio-serial
/// // -device virtserialport,chardev=ga,name=org.qemu.guest_agent.0
/// let guest = qmp_blocking::connect_guest_agent("unix:/tmp/ga.sock")?;
/// guest.with_timeout(Duration::from_secs(10)).execute(&GuestPing)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`connect`]; [`ConnectError::NoAgent`] if none answers within 10 s. It names what came instead.
pub fn connect_guest_agent(
    address: impl TryInto<Address, Error: Into<ConnectError>>,
) -> Result<Client, ConnectError> {
    Builder::new().connect_guest_agent(address)
}

/// Listens for QEMU, which connects to us: see [`Builder::listen`].
///
/// # Errors
///
/// As [`Builder::listen`].
pub fn listen(
    address: impl TryInto<Address, Error: Into<ConnectError>>,
) -> Result<Listener, ConnectError> {
    Builder::new().listen(address)
}

/// Connects to the Unix socket at `path`.
///
/// # Errors
///
/// As [`connect`].
pub fn connect_unix(path: impl AsRef<Path>) -> Result<Client, ConnectError> {
    Builder::new().connect_unix(path.as_ref())
}

/// Connects to a TCP port.
///
/// # Errors
///
/// As [`connect`].
pub fn connect_tcp(host: impl Into<String>, port: u16) -> Result<Client, ConnectError> {
    Builder::new().connect_tcp(&host.into(), port)
}

/// Takes a connected stream socket: a `UnixStream`, a `TcpStream`, or any descriptor of one.
///
/// # Errors
///
/// As [`connect`].
pub fn from_stream(stream: impl Into<OwnedFd>) -> Result<Client, ConnectError> {
    Builder::new().from_stream(stream)
}

/// Takes any pair of streams: pipes, a serial port, a program's standard streams.
///
/// # Errors
///
/// As [`connect`].
pub fn from_io(
    reader: impl Read + Send + 'static,
    writer: impl Write + Send + 'static,
) -> Result<Client, ConnectError> {
    Builder::new().from_io(reader, writer)
}

/// Starts QEMU and connects to it over an inherited socket: see [`Builder::spawn`].
///
/// # Errors
///
/// As [`connect`].
pub fn spawn(command: Program) -> Result<(Client, Child), ConnectError> {
    Builder::new().spawn(command)
}
