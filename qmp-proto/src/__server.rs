//! The private parts of this crate that `qmp-server` uses. They are not a part of what this crate promises, and may change in
//! any version: `qmp-server` names an exact one.

pub use crate::codec::object::string;
pub use crate::codec::qemu::reader::{Fault, Item, MAX_BYTES, Object, Reader, Rules};
pub use crate::codec::scanner::Member;
pub use crate::codec::text::{Span, Text};
pub use crate::trace::lines::{Line, Lines};

use alloc::vec::Vec;
use core::convert::Infallible;

use crate::connection::outbound::send_buffer::SendBuffer as Bytes;
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

/// Bytes to send, without file descriptors.
#[derive(Debug)]
pub struct SendBuffer(Bytes<Infallible>);

impl SendBuffer {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "nothing needs the default")]
    pub fn new() -> Self {
        Self(Bytes::new())
    }

    /// How many bytes are not sent yet.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all is sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, to append to.
    pub fn text(&mut self) -> &mut Vec<u8> {
        self.0.text()
    }

    /// The bytes to send now.
    pub fn lend(&self) -> Option<&[u8]> {
        self.0.lend().map(|transmit| transmit.bytes)
    }

    /// Notes that the transport took so many bytes.
    pub fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }

    /// Drops what is not sent.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The tokens of a JSON text.
pub mod tokens {
    pub use crate::trace::tokens::{Tokens, double, members, normalised, string};
}
