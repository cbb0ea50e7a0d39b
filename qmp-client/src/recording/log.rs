//! Connections in a log. Its secrets are always replaced.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qmp_proto::trace::{Recorder, Redaction};
use qmp_proto::{Config, printable};
use tracing::Level;

use super::{Listener, Note, record, recorder};

/// Tells connections apart.
static COUNT: AtomicU64 = AtomicU64::new(1);

/// Logs one connection.
struct Log {
    connection: u64,
    /// Where messages are logged too.
    messages: Option<Recorder>,
}

/// What logs a new connection, where somebody wants that now.
pub(super) fn listener(config: &Config) -> Option<Box<dyn Listener>> {
    if !tracing::enabled!(target: "qmp", Level::DEBUG) {
        return None;
    }
    let messages = tracing::enabled!(target: "qmp", Level::TRACE)
        .then(|| recorder(config).redacted(Redaction::default()));
    Some(Box::new(Log { connection: COUNT.fetch_add(1, Ordering::Relaxed), messages }))
}

impl Listener for Log {
    fn hear(&mut self, notes: &[(Duration, Note)]) {
        notes.iter().for_each(|(at, note)| self.log(*at, note));
    }
}

impl Log {
    fn log(&mut self, at: Duration, note: &Note) {
        let connection = self.connection;
        if let Some(recorder) = &mut self.messages {
            record(recorder, at, note);
            while let Some(entry) = recorder.poll_entry() {
                let (direction, payload) = (entry.direction(), entry.payload().to_string());
                let payload = printable(&payload);
                tracing::trace!(target: "qmp", connection, "{direction} {payload}");
            }
        }
        match note {
            Note::Ready => tracing::debug!(target: "qmp", connection, "ready for commands"),
            Note::Closed(reason) => tracing::debug!(target: "qmp", connection, "ended: {reason}"),
            Note::Bytes(..) | Note::End(_) => {}
        }
    }
}
