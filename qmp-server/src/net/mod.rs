//! Servers at sockets, for tests and examples: clients of a listener, and a machine behind it.
//!
//! - [`Server`] listens at an address and serves its clients with a [`Machine`](crate::Machine), one at a time, as
//!   QEMU does. It is what to test a program against that talks QMP.
//! - [`connect_machine`] gives the client's end of a connection to a machine, without any address.
//! - [`Session`] is one client's connection, for a program that answers the commands itself; its
//!   clients come from a [`Listener`].
//! - [`share`] lets many clients use one server at once, under the limits of [`ShareOptions`].
//! - [`relay`] stands between a client and a server, and sees what they say to each other.
//! - [`replay`] plays a recorded session to a client, and says where the client does otherwise.
//!
//! What the protocol asks of a server, and what commands do, is above this module: see [`Connection`](crate::Connection) and
//! [`Machine`](crate::Machine).
//!
//! ```
//! use qmp_blocking::commands::{Cont, QueryStatus, RunState};
//! use qmp_server::Machine;
//! use qmp_server::net;
//!
//! let client = qmp_blocking::from_stream(net::connect_machine(Machine::new())?)?;
//! client.execute(&Cont)?;
//! assert_eq!(client.execute(&QueryStatus)?.status, RunState::Running);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Where clients come from (`listener`), one client's connection (`session`, `receive`), and what may be behind it: a machine,
// another server (`relay`, `share`), a recording (`replay`).
mod listener;
mod session;
mod receive;
mod machine;
mod relay;
mod share;
mod replay;

pub use listener::{Listener, Stopper};
pub use machine::{Server, connect_machine};
pub use relay::relay;
pub use replay::{ReplayError, replay};
pub use session::Session;
pub use share::{ShareOptions, share};
