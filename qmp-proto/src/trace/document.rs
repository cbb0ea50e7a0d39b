//! A whole trace, and its text.

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::str::FromStr;

use super::entry::Entry;
use super::redaction::Redaction;

const TITLE: &str = "# QMP trace, version 1";
/// A second session read as more of the first would never be replayed.
const ONE_TRACE: &str = "the end, as a second trace begins here: one session is one trace";
const REDACTED_LINE: &str = "# redacted";

/// The lines with which a trace begins.
pub(super) fn header(redacted: bool) -> &'static str {
    if redacted { "# QMP trace, version 1\n# redacted\n" } else { "# QMP trace, version 1\n" }
}

/// A recorded session. As text, it is what [the module](super) describes; comments are lost.
///
/// ```
/// use qmp_proto::trace::Trace;
///
/// let trace: Trace = "# QMP trace, version 1\n0.000001 -> {}\n".parse()?;
/// assert_eq!(trace.entries().len(), 1);
/// assert_eq!(trace.to_string(), "# QMP trace, version 1\n0.000001 -> {}\n");
///
/// let error = "# QMP trace, version 1\n0.000001 {}\n".parse::<Trace>().unwrap_err();
/// assert_eq!(error.to_string(), "line 2 of the trace: expected -> or <- behind the time");
/// # Ok::<(), qmp_proto::trace::TraceError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trace {
    redacted: bool,
    entries: Vec<Entry>,
    /// Where in its text each entry stands, counted from 1.
    lines: Vec<usize>,
}

impl Trace {
    /// A trace without entries yet, which says that values in it were replaced, or does not.
    pub fn new(redacted: bool) -> Self {
        Self { redacted, ..Self::default() }
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: Entry) {
        let line = self.line_after_the_last();
        self.push_line(line, entry);
    }

    /// The entries, in the order in which they came.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether it says that values in it were replaced.
    pub fn is_redacted(&self) -> bool {
        self.redacted
    }

    /// The same trace with its secrets replaced, which says so.
    #[must_use]
    pub fn redacted(self, redaction: &Redaction) -> Self {
        let mut redacted = Self::new(true);
        self.entries.into_iter().for_each(|entry| redacted.push(entry.redacted(redaction)));
        redacted
    }

    /// In which line of the text an entry stands; of the end, in which it would.
    pub(crate) fn line(&self, index: usize) -> usize {
        self.lines.get(index).copied().unwrap_or_else(|| self.line_after_the_last())
    }

    fn line_after_the_last(&self) -> usize {
        let last = self.lines.last().copied();
        1 + last.unwrap_or_else(|| header(self.redacted).lines().count())
    }

    fn push_line(&mut self, line: usize, entry: Entry) {
        self.lines.push(line);
        self.entries.push(entry);
    }
}

/// Where in a text the entries stand makes no difference.
impl PartialEq for Trace {
    fn eq(&self, other: &Self) -> bool {
        self.redacted == other.redacted && self.entries == other.entries
    }
}

impl Eq for Trace {}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(header(self.redacted))?;
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl FromStr for Trace {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let mut lines = (1..).zip(text.lines());
        let first = lines.next().map(|(_, line)| line.trim_end());
        if first != Some(TITLE) {
            return Err(TraceError { line: 1, expected: TITLE });
        }
        let mut trace = Self::default();
        for (number, line) in lines {
            if line.trim_end() == TITLE {
                return Err(TraceError { line: number, expected: ONE_TRACE });
            }
            if line.trim_end() == REDACTED_LINE {
                trace.redacted = true;
            } else if !line.starts_with('#') && !line.trim().is_empty() {
                let fault = |expected| TraceError { line: number, expected };
                trace.push_line(number, Entry::parse(line).map_err(fault)?);
            }
        }
        Ok(trace)
    }
}

/// Why a text is no trace. It does not repeat the text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceError {
    /// The line that is at fault, counted from 1.
    pub line: usize,
    /// What should have been there.
    pub expected: &'static str,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the trace: expected {}", self.line, self.expected)
    }
}

impl Error for TraceError {}
