//! Writing a connection's messages down.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qmp_proto::Config;
use qmp_proto::trace::{Recorder, Redaction};

use super::{Listener, Note, Tap, TapSource, lock, record, recorder};

/// Where a connection's messages are written down, as a [`Trace`](qmp_proto::trace::Trace) in text.
///
/// The writer is called by the threads that send and receive, each time with whole lines, and flushed
/// when the connection has ended. Meanwhile the connection waits, so it should be quick, and it must
/// not use the connection. What fails there, or panics, ends the recording and nothing else:
/// [`error`](Self::error) tells.
///
/// A connection's messages are written down when its last handle is dropped, if not before. Clones
/// write to the same place. Connections that are made one after the other write one trace after the
/// other; each begins with the line `# QMP trace, version 1`, and is to be cut out there before it is
/// parsed: two in a text are an error. So it is with a connection that is made again because the
/// server was not ready. One that ended without a byte writes nothing.
///
/// ```
/// use qmp_client::Recording;
/// use qmp_proto::trace::Redaction;
///
/// let everything = Recording::new(Vec::new());
/// let without_secrets = Recording::new(Vec::new()).redacted(Redaction::default().also("serial"));
/// assert!(without_secrets.error().is_none());
/// ```
#[derive(Clone)]
pub struct Recording {
    output: Arc<Mutex<Output>>,
    redaction: Option<Redaction>,
}

struct Output {
    writer: Box<dyn Write + Send>,
    error: Option<Arc<io::Error>>,
}

impl Recording {
    /// Writes down everything, secrets too.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        let output = Output { writer: Box::new(writer), error: None };
        Self { output: Arc::new(Mutex::new(output)), redaction: None }
    }

    /// Replaces secrets; the trace says so.
    #[must_use]
    pub fn redacted(mut self, redaction: Redaction) -> Self {
        self.redaction = Some(redaction);
        self
    }

    /// Why the recording ended before the connection, if it did.
    pub fn error(&self) -> Option<Arc<io::Error>> {
        lock(&self.output).error.clone()
    }
}

impl TapSource for Recording {
    fn tap(&self, config: &Config, start: Instant) -> Tap {
        let recorder = match &self.redaction {
            Some(redaction) => recorder(config).redacted(redaction.clone()),
            None => recorder(config),
        };
        let output = self.output.clone();
        Tap::new(start, Box::new(Scribe { recorder, output, begun: false, closed: false }))
    }
}

/// Any writer, as [`Recording::new`].
impl<W: Write + Send + 'static> From<W> for Recording {
    fn from(writer: W) -> Self {
        Self::new(writer)
    }
}

/// Writes down one connection.
struct Scribe {
    recorder: Recorder,
    output: Arc<Mutex<Output>>,
    begun: bool,
    closed: bool,
}

impl Listener for Scribe {
    fn hear(&mut self, notes: &[(Duration, Note)]) {
        let mut output = lock(&self.output);
        if output.error.is_some() {
            return;
        }
        let is_empty = !notes.iter().any(|(_, note)| matches!(note, Note::Bytes(..)));
        if !self.begun && is_empty && notes.iter().any(|(_, note)| matches!(note, Note::Closed(_)))
        {
            return;
        }
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            text += self.recorder.header();
        }
        for (at, note) in notes {
            self.closed |= matches!(note, Note::Closed(_));
            record(&mut self.recorder, *at, note);
            while let Some(entry) = self.recorder.poll_entry() {
                text += &format!("{entry}\n");
            }
        }
        if let Err(error) = output.write(&text, self.closed) {
            output.error = Some(Arc::new(error));
        }
    }

    fn panicked(&mut self) {
        let error = io::Error::other("the recording's writer panicked");
        lock(&self.output).error = Some(Arc::new(error));
    }
}

impl Output {
    fn write(&mut self, text: &str, flush: bool) -> io::Result<()> {
        if !text.is_empty() {
            self.writer.write_all(text.as_bytes())?;
        }
        if flush { self.writer.flush() } else { Ok(()) }
    }
}

/// Without the writer, which may hold secrets.
impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("redaction", &self.redaction).finish_non_exhaustive()
    }
}
