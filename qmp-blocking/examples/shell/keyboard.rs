//! Bytes from the keyboard. A thread reads them, so Ctrl-C is noticed while a command runs.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The limit on bytes that are typed ahead. More bytes wait in the terminal.
const MOST: usize = 1 << 20;
const CONTROL_C: u8 = 3;

pub(crate) struct Keyboard {
    typed: Mutex<Typed>,
    changed: Condvar,
}

#[derive(Default)]
struct Typed {
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Keyboard {
    /// Starts to read the terminal.
    pub(crate) fn listen() -> io::Result<Arc<Self>> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let keyboard = Arc::new(Self { typed: Mutex::default(), changed: Condvar::new() });
        let hearing = keyboard.clone();
        thread::Builder::new().spawn(move || hearing.take_all(input))?;
        Ok(keyboard)
    }

    fn take_all(&self, mut input: File) {
        let mut buffer = [0; 4096];
        loop {
            let length = match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                taken => taken.unwrap_or(0),
            };
            let mut typed = self.lock();
            while typed.bytes.len() > MOST {
                typed = self.changed.wait(typed).unwrap_or_else(PoisonError::into_inner);
            }
            typed.bytes.extend(&buffer[..length]);
            typed.ended = length == 0;
            self.changed.notify_all();
            if typed.ended {
                return;
            }
        }
    }

    /// Waits for the next byte; `None` at the end.
    pub(crate) fn byte(&self) -> Option<u8> {
        self.take(None)
    }

    /// Waits for the next byte, with a timeout.
    pub(crate) fn byte_within(&self, time: Duration) -> Option<u8> {
        self.take(Instant::now().checked_add(time))
    }

    fn take(&self, deadline: Option<Instant>) -> Option<u8> {
        let mut typed = self.wait(deadline, |typed| typed.ended || !typed.bytes.is_empty());
        let byte = typed.bytes.pop_front();
        self.changed.notify_all();
        byte
    }

    /// Whether no byte is left to read.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().bytes.is_empty()
    }

    /// Waits for Ctrl-C, with a timeout. Bytes that were typed before it are dropped.
    pub(crate) fn interrupted_within(&self, time: Duration) -> bool {
        let is_pressed = |typed: &Typed| typed.bytes.contains(&CONTROL_C);
        let mut typed = self.wait(Instant::now().checked_add(time), is_pressed);
        let last = typed.bytes.iter().rposition(|byte| *byte == CONTROL_C);
        typed.bytes.drain(..last.map_or(0, |at| at + 1));
        self.changed.notify_all();
        last.is_some()
    }

    /// Waits until the state is enough, or until the deadline.
    fn wait(
        &self,
        deadline: Option<Instant>,
        enough: impl Fn(&Typed) -> bool,
    ) -> MutexGuard<'_, Typed> {
        let mut typed = self.lock();
        while !enough(&typed) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            typed = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.changed.wait_timeout(typed, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(typed).unwrap_or_else(PoisonError::into_inner),
            };
        }
        typed
    }

    fn lock(&self) -> MutexGuard<'_, Typed> {
        self.typed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
