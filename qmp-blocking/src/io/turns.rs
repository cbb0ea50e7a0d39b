//! Whose turn it is to read the socket.
//!
//! Who waits, reads: a thread that waits for a reply reads the socket itself while no other does,
//! and hands what it reads to whoever it concerns. So a lone command costs no switch of threads.
//! When the reader leaves, a thread that is parked takes over, or the background thread where there
//! is none.

mod attending;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What is read at once, in bytes, while there is not much.
const LEAST: usize = 4 << 10;
/// What is read at once at most.
const MOST: usize = 64 << 10;
/// So much more is read at once where it was not enough.
const GROWTH: usize = 4;

/// Who reads, and who would.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
    /// Commands may be unsent that whoever waits or reads next sends. Set under the lock.
    put_off: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// Whoever has it, reads.
    buffer: Option<ReadBuffer>,
    /// Who waits for something and may have to take over.
    parked: Vec<Thread>,
    /// How many turns have been taken.
    count: u64,
    /// The background thread sleeps until a reader leaves and nobody is parked.
    background_sleeps: bool,
    /// The background thread is patient: it lets a moment pass before it reads.
    background_dozes: bool,
    /// The background thread looks again in a moment, whatever happens.
    background_ticks: bool,
    /// How many waits count on the background thread to read.
    unattended: usize,
}

/// The reader's buffer, and what it has told the kernel.
pub(crate) struct ReadBuffer {
    pub(crate) bytes: Box<[u8]>,
    /// How long a read of the socket waits at most.
    pub(crate) timeout: Option<Duration>,
}

/// Who goes on when a reader leaves.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Successor {
    /// A parked thread was woken, somebody reads already, or the background thread looks by itself.
    Found,
    /// The background thread: it has to be woken.
    Background,
}

/// What the background thread finds when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Turns were taken since it looked last, so many so far: whoever took them may come again.
    Changed(u64),
    /// Nobody reads, nor has since, or somebody has to at once.
    Idle,
    /// A reader has the turn, and keeps it, or somebody has to read at once; it will have the background thread woken when
    /// it leaves.
    Busy,
}

/// The length alone: the bytes may hold secrets.
impl fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadBuffer({} bytes)", self.bytes.len())
    }
}

impl ReadBuffer {
    /// Makes it larger after a read that filled it, and small again after one that would have fitted.
    pub(crate) fn fit(&mut self, length: usize) {
        let size = self.bytes.len();
        if length == size && size < MOST {
            self.bytes = zeroes((size * GROWTH).min(MOST));
        } else if length < LEAST && size > LEAST {
            self.bytes = zeroes(LEAST);
        }
    }
}

fn zeroes(length: usize) -> Box<[u8]> {
    vec![0; length].into_boxed_slice()
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                buffer: Some(ReadBuffer { bytes: zeroes(LEAST), timeout: None }),
                parked: Vec::new(),
                count: 0,
                background_sleeps: false,
                background_dozes: false,
                background_ticks: false,
                unattended: 0,
            }),
            put_off: AtomicBool::new(false),
        }
    }

    /// Takes the turn at reading. Where another has it, this thread is noted as parked, and calls
    /// [`park`](Self::park) next.
    pub(crate) fn take_or_park(&self) -> Option<ReadBuffer> {
        let mut state = self.lock();
        match state.buffer.take() {
            Some(buffer) => {
                state.count += 1;
                Some(buffer)
            }
            None => {
                state.parked.push(thread::current());
                None
            }
        }
    }

    /// Parks this thread until somebody wakes it, or the deadline.
    pub(crate) fn park(&self, deadline: Option<Instant>) {
        park(deadline);
        let this = thread::current().id();
        self.lock().parked.retain(|thread| thread.id() != this);
    }

    /// Gives the turn back, if this thread had it, and sees that somebody goes on. A thread that
    /// was parked calls this too when it leaves: it may have been chosen to take over.
    pub(crate) fn leave(&self, buffer: Option<ReadBuffer>) -> Successor {
        let mut state = self.lock();
        if buffer.is_some() {
            state.buffer = buffer;
        }
        if state.buffer.is_none() {
            return Successor::Found;
        }
        match state.parked.pop() {
            Some(thread) => {
                thread.unpark();
                Successor::Found
            }
            None if std::mem::take(&mut state.background_sleeps) => Successor::Background,
            None => Successor::Found,
        }
    }

    /// For the background thread: what has happened since so many turns had been taken, and whether
    /// it has to look after commands that were put off.
    pub(crate) fn look(&self, seen: u64) -> (Look, bool) {
        let mut state = self.lock();
        // No caller need come to read for an unattended wait, so then there is no patience.
        let patient = state.count != seen && state.unattended == 0;
        let put_off = self.put_off.load(Ordering::SeqCst);
        state.background_dozes = patient;
        state.background_ticks = patient || put_off;
        let look = match &state.buffer {
            _ if patient => Look::Changed(state.count),
            Some(_) => Look::Idle,
            None => {
                state.background_sleeps = true;
                Look::Busy
            }
        };
        (look, put_off)
    }

    /// A command was accepted that is sent with those behind it. Tells whether the background thread
    /// has to be woken, which sends it if nobody else does.
    pub(crate) fn put_off(&self) -> Successor {
        // Whoever sends clears this first.
        if self.put_off.load(Ordering::SeqCst) {
            return Successor::Found;
        }
        let mut state = self.lock();
        self.put_off.store(true, Ordering::SeqCst);
        match std::mem::replace(&mut state.background_ticks, true) {
            true => Successor::Found,
            false => Successor::Background,
        }
    }

    pub(crate) fn is_put_off(&self) -> bool {
        self.put_off.load(Ordering::SeqCst)
    }

    /// Everything that has been accepted is about to be sent.
    pub(crate) fn sends(&self) {
        if self.is_put_off() {
            self.put_off.store(false, Ordering::SeqCst);
        }
    }

    /// For the background thread: the turn, for as long as it takes to read what is there.
    pub(crate) fn take_if_free(&self) -> Option<ReadBuffer> {
        self.lock().buffer.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parks a thread that would not take over.
pub(crate) fn park(deadline: Option<Instant>) {
    match deadline {
        None => thread::park(),
        Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
    }
}

#[cfg(test)]
mod tests;
