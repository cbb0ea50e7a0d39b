//! The server's side of the protocol, as a state machine of the same style as the client's.
//!
//! It is for testing what talks QMP without a QEMU, and for programs that offer QMP themselves.
//!
//! - [`Connection`] is the protocol with one client: it greets, negotiates, takes commands, answers
//!   them, sends events, and enforces what QEMU enforces.
//! - [`Machine`] is what the commands do: a machine without a guest, to which you add commands of
//!   your own, each a function.
//! - [`Replay`] is a server that says again what a recorded session says.
//! - The module `net`, with the feature `net`, serves all of them over sockets: `Server` is a machine at an address,
//!   `Session` takes an application's own answers, `share` lets many clients use one server, and `relay` stands between a client
//!   and a server.
//!
//! Without `net` they do no I/O, and the crate is `no_std` with `alloc`. Here a client and a server talk in memory:
//!
//! ```
//! use qmp_proto::{Config, Connection, Output, Raw, Request, Timestamp, commands::{Cont, QueryStatus}};
//! use qmp_server::Machine;
//!
//! let mut machine = Machine::new();
//! let mut server = <qmp_server::Connection>::new(machine.config());
//! let mut client = <Connection>::new(Config::default(), 0x5eed);
//! client.execute(Request::of(&Cont), None)?;
//! client.execute(Request::of(&QueryStatus), None)?;
//!
//! let mut told = Vec::new();
//! loop {
//!     if let Some(bytes) = server.transmit() {
//!         let sent = bytes.len();
//!         client.handle_input(bytes);
//!         server.advance(sent);
//!     } else if let Some(transmit) = client.transmit() {
//!         // A server with an F takes `transmit.descriptor` first.
//!         let sent = transmit.bytes.len();
//!         server.handle_input(transmit.bytes);
//!         client.advance(sent);
//!     } else if client.is_idle() {
//!         break;
//!     }
//!     while let Some(output) = server.poll_output() {
//!         if let qmp_server::Output::Call(call) = output {
//!             let now = Timestamp { seconds: 1267061043, microseconds: 0 };
//!             machine.execute(&call, &mut server, now);
//!         }
//!     }
//!     while let Some(output) = client.poll_output() {
//!         match output {
//!             Output::Event(event) => told.push(event.name().to_owned()),
//!             Output::Reply(_, Ok(raw)) => told.push(raw.as_str()?.to_owned()),
//!             _ => {}
//!         }
//!     }
//! }
//! let status = r#"{"status": "running", "singlestep": false, "running": true}"#;
//! assert_eq!(told, ["RESUME", "{}", status]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A server of your own
//!
//! Without a machine, the commands are yours to answer, when and in which order you like. The loop is
//! the client's, turned around; here over a socket, one client at a time:
//!
//! ```
//! # #[cfg(unix)] {
//! use std::io::{self, Read, Write};
//! use std::os::unix::net::UnixStream;
//! use qmp_server::{Config, Connection, Output};
//! use qmp_proto::{CommandError, ErrorClass};
//!
//! fn serve(mut client: UnixStream) -> io::Result<()> {
//!     let mut connection = <Connection>::new(Config::default());
//!     let mut buffer = [0; 4096];
//!     loop {
//!         while let Some(bytes) = connection.transmit() {
//!             let sent = client.write(bytes)?;
//!             connection.advance(sent);
//!         }
//!         match connection.poll_output() {
//!             Some(Output::Call(call)) => {
//!                 let outcome = match &*call.name {
//!                     "query-name" => Ok(serde_json::json!({"name": "mine"})),
//!                     _ => Err(CommandError::new(ErrorClass::CommandNotFound, "no such command")),
//!                 };
//!                 // It fails where the client has left, which the end tells.
//!                 let _ = connection.respond(call.ticket, outcome);
//!             }
//!             Some(Output::Closed(_)) => return Ok(()),
//!             Some(_) => {}
//!             None => match client.read(&mut buffer)? {
//!                 0 => connection.handle_eof(),
//!                 length => connection.handle_input(&buffer[..length]),
//!             },
//!         }
//!     }
//! }
//!
//! let (mut client, theirs) = UnixStream::pair()?;
//! let server = std::thread::spawn(move || serve(theirs));
//! client.write_all(br#"{"execute": "qmp_capabilities"} {"execute": "query-name", "id": 1}"#)?;
//! client.shutdown(std::net::Shutdown::Write)?;
//! let mut said = String::new();
//! client.read_to_string(&mut said)?;
//! assert_eq!(said.lines().last(), Some(r#"{"return": {"name": "mine"}, "id": 1}"#));
//! server.join().unwrap()?;
//! # }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What is enforced
//!
//! As QEMU does, so that a program that works here works there:
//!
//! - Before `qmp_capabilities` every other command is `CommandNotFound`, and no event is sent.
//! - What is no command is a `GenericError` with the command's id; what is no JSON is one without
//!   an id. Both wait for their turn, so answers are in order.
//! - Single-quoted strings are read, no line end is needed, and after a fault the reader finds back
//!   at a structural character, a control character or 0xFF. An object has at most 1,024 levels,
//!   2 Mi tokens and 64 MiB, or what [`Config::max_command`] allows.
//! - A version since 11.1 reports a fault where it finds it, and passes over the rest of the message. An earlier
//!   one reports it where the message ends. A limit ends the message there, so each further bracket is
//!   a fault of its own.
//! - An id is echoed by its value: `1.0` comes back as `1`, `"\u001f"` as `"\u001F"`. Object members keep their
//!   order here; QEMU has an order of its own.
//! - Without out-of-band execution nothing is read while a command runs. With it, eight commands
//!   wait beside the one that runs, and `exec-oob` passes them.
//! - A descriptor that came along stays until a command takes it, or another one comes.

#![cfg_attr(not(feature = "net"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

// The protocol with one client (`connection`), what its commands do (`mock`), and a recorded session as a server (`replay`). `net` has all of
// them at sockets.
mod connection;
mod mock;
mod replay;
#[cfg(feature = "net")]
pub mod net;

pub use connection::config::Config;
pub use connection::output::{Call, CloseReason, Output, RespondError, Ticket};
pub use connection::{Connection, Phase};
pub use mock::machine::Machine;
pub use mock::monitor::Monitor;
pub use mock::vm::Vm;
pub use replay::{Mismatch, Replay};
