//! Bytes to messages, and commands to bytes.
//!
//! `framer` cuts received bytes into JSON objects, with `scanner` and `quote`. `text` holds an object's bytes, and
//! `message` reads them as a greeting, a reply or an event. `encode` writes a command, and `check` refuses a command that
//! QEMU would answer without an id. `object` reads a small object inside a message or a command.
//!
//! `qemu` parses exactly as QEMU does; the server's side and the recordings need that.

pub(crate) mod framer;
#[allow(missing_docs, reason = "public for qmp-server only")]
pub(crate) mod scanner;
pub(crate) mod quote;
#[allow(missing_docs, reason = "public for qmp-server only")]
pub(crate) mod text;
pub(crate) mod message;
pub(crate) mod object;
pub(crate) mod encode;
pub(crate) mod check;
#[allow(missing_docs, reason = "public for qmp-server only")]
pub(crate) mod qemu;
