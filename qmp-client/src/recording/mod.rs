//! Seeing whole messages, both ways: for a recording, and for a log.
//!
//! What goes by is noted under the lock of the shared connection, so in the right order, and told afterwards without
//! it, as a writer and a log are not our code. Who sends or receives tells what it noted before it
//! goes on. So no more is ever noted than what threads sent or received in one go.
//!
//! This file notes the messages; `writer` writes them to a recording, and `log` to the log.

mod writer;
#[cfg(feature = "tracing")]
mod log;
#[cfg(test)]
mod tests;

use std::fmt;
use std::mem;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qmp_proto::trace::{Direction, Recorder};
use qmp_proto::{CloseReason, Config, Connection, Phase};

use crate::shared::Received;

pub use writer::Recording;

/// Makes a tap for each connection. Options hold it as a trait object, so a program without a recording does not link
/// the recorder.
pub trait TapSource: fmt::Debug + Send + Sync {
    /// A tap for one connection, whose times count from `start`.
    fn tap(&self, config: &Config, start: Instant) -> Tap;
}

/// Sees the messages of one connection. A [`TapSource`] makes it.
pub struct Tap {
    start: Instant,
    noted: Mutex<Noted>,
    /// Locked while notes are taken and told, so that they are told in order.
    listeners: Mutex<Vec<Box<dyn Listener>>>,
}

/// Who is told what was noted.
trait Listener: Send {
    /// Takes in what has happened, each with the time since the connection's start.
    fn hear(&mut self, notes: &[(Duration, Note)]);

    /// It panicked while it did so, and will hear nothing any more.
    fn panicked(&mut self) {}
}

/// One thing that happened.
enum Note {
    Bytes(Direction, Vec<u8>),
    End(Direction),
    Ready,
    #[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "the log alone tells why"))]
    Closed(CloseReason),
}

#[derive(Default)]
struct Noted {
    notes: Vec<(Duration, Note)>,
    ready: bool,
    eof: bool,
    closed: bool,
}

impl Tap {
    fn new(start: Instant, listener: Box<dyn Listener>) -> Self {
        Self { start, noted: Mutex::default(), listeners: Mutex::new(vec![listener]) }
    }

    /// Lets the log hear too, where it wants to.
    #[cfg(feature = "tracing")]
    pub(crate) fn with_log(tap: Option<Self>, config: &Config) -> Option<Self> {
        let Some(log) = log::listener(config) else { return tap };
        let Some(tap) = tap else { return Some(Self::new(Instant::now(), log)) };
        lock(&tap.listeners).push(log);
        Some(tap)
    }

    #[cfg(not(feature = "tracing"))]
    pub(crate) fn with_log(tap: Option<Self>, _: &Config) -> Option<Self> {
        tap
    }

    /// Notes bytes that the transport took. Under the lock of the shared connection, as everything that notes.
    pub(crate) fn sent(&self, bytes: &[u8]) {
        self.note(&mut lock(&self.noted), Note::Bytes(Direction::ToServer, bytes.to_owned()));
    }

    /// Notes what came from the transport.
    pub(crate) fn received(&self, received: &Received<'_>) {
        let mut noted = lock(&self.noted);
        match received {
            Received::Bytes(bytes) => {
                self.note(&mut noted, Note::Bytes(Direction::ToClient, bytes.to_vec()));
            }
            Received::Eof | Received::Failed(_) if !mem::replace(&mut noted.eof, true) => {
                self.note(&mut noted, Note::End(Direction::ToClient));
            }
            Received::Eof | Received::Failed(_) => {}
        }
    }

    /// Notes how the connection stands now, if that is new.
    pub(crate) fn look_at(&self, connection: &Connection<OwnedFd>) {
        let mut noted = lock(&self.noted);
        if connection.phase() == Phase::Ready && !mem::replace(&mut noted.ready, true) {
            self.note(&mut noted, Note::Ready);
        }
        let Some(reason) = connection.close_reason() else { return };
        if !mem::replace(&mut noted.closed, true) {
            self.note(&mut noted, Note::End(Direction::ToServer));
            self.note(&mut noted, Note::Closed(reason.clone()));
        }
    }

    /// Tells what was noted. Without the lock of the shared connection.
    pub(crate) fn tell(&self) {
        let mut listeners = lock(&self.listeners);
        let notes = mem::take(&mut lock(&self.noted).notes);
        if notes.is_empty() {
            return;
        }
        listeners.retain_mut(|listener| {
            let heard = catch_unwind(AssertUnwindSafe(|| listener.hear(&notes)));
            if heard.is_err() {
                listener.panicked();
            }
            heard.is_ok()
        });
    }

    fn note(&self, noted: &mut Noted, note: Note) {
        noted.notes.push((self.start.elapsed(), note));
    }
}

/// QEMU reads no larger command than 64 MiB, so none is sent.
const LARGEST_COMMAND: usize = 65 << 20;

/// A recorder for whole messages of both directions: ours may be larger than the server's.
fn recorder(config: &Config) -> Recorder {
    let max_message = config.largest_message().max(LARGEST_COMMAND);
    Recorder::new(max_message).dialect(config.dialect)
}

/// Lets a recorder take in what was noted of the streams.
fn record(recorder: &mut Recorder, at: Duration, note: &Note) {
    match note {
        Note::Bytes(direction, bytes) => recorder.record(*direction, bytes, at),
        Note::End(direction) => recorder.end(*direction, at),
        Note::Ready | Note::Closed(_) => {}
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without what went by: it may hold secrets.
impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("start", &self.start).finish_non_exhaustive()
    }
}
