//! The private parts of this crate that `qmp-server` uses. They are not a part of what this crate promises, and may change in
//! any version: `qmp-server` names an exact one.

pub use crate::codec::object::string;
pub use crate::codec::qemu::reader::{Fault, Item, MAX_BYTES, Object, Reader, Rules};
pub use crate::codec::scanner::Member;
pub use crate::codec::text::{Span, Text};
pub use crate::connection::outbound::send_buffer::SendBuffer;
pub use crate::trace::lines::{Line, Lines};

use crate::payload::raw::Raw;
use crate::trace::Trace;

/// Buffers keep up to this much room for the next message.
pub const KEPT_BUFFER: usize = crate::KEPT_BUFFER;

/// A part of a text as a payload.
pub fn keep(text: &Text<'_>, span: Span) -> Raw {
    Raw::keep(text, span)
}

/// The line of a trace's entry in the text, counted from 1.
pub fn line(trace: &Trace, index: usize) -> usize {
    trace.line(index)
}

/// The tokens of a JSON text.
pub mod tokens {
    pub use crate::trace::tokens::{Tokens, double, members, normalised, string};
}
