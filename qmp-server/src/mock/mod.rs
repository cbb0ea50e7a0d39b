//! A mock VM: commands by name, each a function, on top of a connection.
//!
//! `machine` finds and executes commands, `vm` has those built in and what a command may do, and `monitor` is the connection
//! as a command sees it.

pub(crate) mod machine;
pub(crate) mod vm;
pub(crate) mod monitor;
