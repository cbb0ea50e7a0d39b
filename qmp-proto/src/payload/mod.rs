//! Commands, returns, events and errors, as programs see them.
//!
//! `command` has requests; `raw`, `event` and `no_reply` have the server's side of the exchange, and `error` has the ways
//! in which a command fails. A payload is decoded when a program asks for it: `bounded` limits the memory of that, and
//! `decode` reports a failure. No error repeats a payload's values (`quiet`), and a peer's text is made safe to print
//! (`printable`). `open_enum` makes enumerations that accept unknown values.

pub(crate) mod command;
pub(crate) mod raw;
pub(crate) mod event;
pub(crate) mod no_reply;
pub(crate) mod error;
pub(crate) mod decode;
pub(crate) mod bounded;
pub(crate) mod quiet;
pub(crate) mod printable;
pub(crate) mod open_enum;
