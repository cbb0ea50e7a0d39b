//! Readers that do less than the core has to, for a measure of what is possible.

mod envelope;
mod framing;
mod guess;
mod lines;
mod spans;

pub use envelope::Envelope;
pub use framing::Framing;
pub use guess::Guess;
pub use spans::Spans;
