//! A QMP client for `async-std`, which is discontinued: its authors name smol as the
//! successor, and `qmp-smol` has the same names. To move on takes two lines:
//!
//! ```text
//! qmp-smol = "0.1"                 # in Cargo.toml, for qmp-async-std
//! use qmp_smol as qmp_async_std;   // in the code
//! ```
//!
//! ```no_run
//! use qmp_async_std::commands::{Cont, QueryStatus, Quit};
//! use qmp_async_std::process::Command;
//!
//! async_std::task::block_on(async {
//!     let mut qemu = Command::new("qemu-system-x86_64");
//!     qemu.args(["-machine", "none", "-nodefaults", "-display", "none", "-S"]);
//!     let (client, mut child) = qmp_async_std::spawn(qemu).await?;
//!     println!("{:?}", client.execute(&QueryStatus).await?.status);
//!     client.execute(&Cont).await?;
//!     client.execute(&Quit).await?;
//!     child.status().await?;
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`connect`] takes what stands behind `-qmp` on QEMU's command line; [`spawn`] starts QEMU
//!   itself; [`listen`] waits for one that connects to us; [`Builder`] has the options.
//! - [`connect_guest_agent`] leads to QEMU's guest agent, with the same [`Client`], whose
//!   [`guest_exec`](Client::guest_exec) runs a program in the guest.
//! - [`Client`] is cloned into as many tasks as you like. Its futures can be dropped at any time.
//! - [`Events`] is a subscriber's stream. `connect_with_events` misses none.
//!
//! Each connection has a task of its own, its [`Driver`]. To run it elsewhere, take it from
//! [`Builder::connect_with_driver`](tasks::Builder::connect_with_driver).
//!
//! [`Client::with_timeout`] limits how long a command may take, [`Builder::record`](tasks::Builder::record)
//! writes a session down, and [`trace`] reads it. A server for tests, and a replay, are in `qmp-server`:
//! add it as a dev-dependency.
//!
//! [`tasks::guide`] shows what follows from futures that can be dropped: `select`, timeouts, running the driver yourself.
//! The `guide` of `qmp-blocking` (events without a race, descriptors, out-of-band commands, reconnecting, testing) holds here
//! as well, with `await`.
//!
//! The documentation's examples are those of `qmp-client`, which all adapters for tasks share: where they
//! name `qmp_proto` or `qmp_client`, a program names `qmp_async_std`.
//!
//! # Features
//!
//! Both are off by default:
//!
//! - `deep`: replies nested deeper than 128 levels are decoded, up to `max_depth`.
//! - `tracing`: connections are logged with the target `qmp`, their secrets replaced.

#![forbid(unsafe_code)]

use std::time::Duration;

pub use qmp_client::asynchronous::{
    self as tasks, Client, Driver, Events, Execute, ExecuteUntil, process,
};
use qmp_client::asynchronous::{Runtime, Sleep};
pub use qmp_client::names::*;

/// async-std's executor and its timers.
#[derive(Debug)]
pub enum AsyncStd {}

impl Runtime for AsyncStd {
    fn spawn(driver: Driver) {
        async_std::task::spawn(driver);
    }

    fn sleep(time: Duration) -> Sleep {
        Box::pin(async_std::task::sleep(time))
    }
}

qmp_client::adapter!(AsyncStd);
