//! The client for tasks: futures that run on any executor.
//!
//! Programs use it through the adapter of their runtime, `qmp-smol` or `qmp-async-std`. This module is
//! for those who write one, or run a connection on an executor of their own. It takes a [`Runtime`],
//! which says how to start a task and how to sleep. With the feature `async-io`, sockets are opened at the reactor of that
//! crate, and [`adapter!`](crate::adapter) makes the rest of an adapter. Without it, the runtime's own streams connect
//! ([`Builder::from_io`]), or a [`Transport`].
//!
//! ```
//! use std::os::unix::net::UnixStream;
//! use std::time::Duration;
//! use qmp_client::asynchronous::{Driver, Runtime, Sleep};
//!
//! /// Timers and tasks as one happens to have them.
//! pub enum Threads {}
//!
//! impl Runtime for Threads {
//!     fn spawn(driver: Driver) {
//!         std::thread::spawn(|| async_io::block_on(driver));
//!     }
//!
//!     fn sleep(time: Duration) -> Sleep {
//!         Box::pin(async move {
//!             async_io::Timer::after(time).await;
//!         })
//!     }
//! }
//!
//! qmp_client::adapter!(Threads);
//!
//! # fn main() {
//! # let (_held, stream) = UnixStream::pair().unwrap();
//! let impatient = Builder::new().deadline(Duration::from_millis(20));
//! let error = async_io::block_on(impatient.from_stream(stream)).unwrap_err();
//! assert!(error.to_string().starts_with("connected, but no greeting came"));
//! # }
//! ```
//!
//! # Who does what
//!
//! - A caller's task encodes its command and, if nothing else is outstanding, writes it itself where
//!   the socket takes it, and reads its reply itself. With others outstanding it leaves that to the
//!   driver, so that what many tasks execute at once goes out in one write. Out-of-band commands never
//!   wait for that.
//! - The [`Driver`] reads everything else, and wakes each reply's caller; it writes what found no room. A
//!   caller that is not polled keeps nothing back for longer than a moment: the driver reads then.
//! - While a task waits for an event, or for the connection to be idle or closed, the driver reads
//!   everything, so that nothing awaited is received late. A lone command takes a little longer then.
//! - No future holds a lock while it waits. Whatever is dropped, and whenever, leaves the connection
//!   as good as before.
//!
//! [`guide`] shows what follows from that for programs.

// The clients that programs hold (`client`), the driver and the transports (`io`), what a runtime provides (`runtime`), and
// sockets and child processes at async-io's reactor (`reactor`).
pub(crate) mod client;
pub(crate) mod io;
mod runtime;
#[cfg(feature = "async-io")]
mod reactor;
#[doc = include_str!("guide.md")]
pub mod guide {}

pub use client::Client;
pub use client::builder::Builder;
pub use client::events::Events;
pub use client::execute::{Execute, ExecuteUntil};
pub use futures_lite::io::{AsyncRead, AsyncWrite};
pub use io::driver::Driver;
pub use io::transport::Transport;
#[cfg(feature = "async-io")]
pub use reactor::listener::Listener;
pub use runtime::{Runtime, Sleep};

/// Child processes: those of async-process, which smol has too.
#[cfg(feature = "async-io")]
pub mod process {
    pub use async_process::{Child, Command};
}
