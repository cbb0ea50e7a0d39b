//! QEMU's own JSON parser: it accepts the same texts, and reports the same faults.
//!
//! `lexer` turns bytes into tokens, `reader` collects the tokens of an object, and `grammar` finds an object's faults.

pub(crate) mod lexer;
pub(crate) mod reader;
mod grammar;
