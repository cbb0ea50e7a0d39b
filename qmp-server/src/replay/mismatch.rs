//! Where a client left the trace.

use alloc::string::String;
use core::error::Error;
use core::fmt;

use qmp_proto::printable;

/// Where a client did not do what the trace says, and what it did.
///
/// Unlike every other error here it repeats what was said: it is for those who have the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// The trace's line, counted from 1; where something came after its end, the next one.
    pub line: usize,
    /// What it says there: a payload as it stands in the trace, or the end in words.
    pub expected: String,
    /// What came, in the same form; where only its id is at fault, that is said behind it.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, expected, got } = self;
        let (expected, got) = (printable(expected), printable(got));
        write!(f, "line {line} of the trace: expected {expected}, got {got}")
    }
}

impl Error for Mismatch {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn c22_a_mismatch_does_nothing_to_a_terminal() {
        let mismatch = Mismatch { line: 1, expected: "{}".into(), got: "\u{1b}[2J\u{202e}".into() };
        let text = r"line 1 of the trace: expected {}, got \u001b[2J\u202e";
        assert_eq!(mismatch.to_string(), text);
    }
}
