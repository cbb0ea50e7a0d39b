//! A stream in memory, one way, which carries descriptors as a Unix socket does.

use std::collections::VecDeque;

/// Bytes on their way, and descriptors by the position of the byte that each rides with.
pub struct Pipe {
    bytes: VecDeque<u8>,
    riding: VecDeque<(usize, u32)>,
    read: usize,
    capacity: usize,
    ended: bool,
    end_told: bool,
}

impl Pipe {
    /// One that takes so many bytes before one has to be read.
    pub fn new(capacity: usize) -> Self {
        let (bytes, riding) = (VecDeque::new(), VecDeque::new());
        Self { bytes, riding, read: 0, capacity, ended: false, end_told: false }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether its writer has left.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes as many of the bytes as there is room for, and with the first one the descriptor.
    pub fn write(&mut self, bytes: &[u8], descriptor: Option<u32>) -> usize {
        let taken = bytes.len().min(self.capacity - self.bytes.len());
        if taken > 0 {
            let position = self.read + self.bytes.len();
            self.riding.extend(descriptor.map(|descriptor| (position, descriptor)));
            self.bytes.extend(&bytes[..taken]);
        }
        taken
    }

    /// Gives at most so many bytes, and the descriptor that rides with the first one. As a receive
    /// does, it stops before a byte with which another descriptor rides.
    pub fn read(&mut self, most: usize) -> (Option<u32>, Vec<u8>) {
        let due = self.riding.front().is_some_and(|(at, _)| *at == self.read) && most > 0;
        let descriptor = if due { self.riding.pop_front() } else { None };
        let limit = self.riding.front().map_or(usize::MAX, |(at, _)| at - self.read);
        let bytes: Vec<u8> = self.bytes.drain(..most.min(limit).min(self.bytes.len())).collect();
        self.read += bytes.len();
        (descriptor.map(|(_, number)| number), bytes)
    }

    /// How many bytes there is room for.
    pub fn room(&self) -> usize {
        self.capacity - self.bytes.len()
    }

    /// All but so many of the bytes are lost, and others follow.
    pub fn lose(&mut self, kept: usize) {
        self.bytes.truncate(kept);
    }

    /// The writer leaves.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// All but so many of the bytes are lost.
    pub fn cut(&mut self, kept: usize) {
        self.bytes.truncate(kept);
        self.ended = true;
    }

    /// Flips bits of one of the bytes; tells whether one is another one now.
    pub fn damage(&mut self, pick: impl FnOnce(usize) -> usize, bits: u8) -> bool {
        let at = if self.bytes.is_empty() { 0 } else { pick(self.bytes.len()) };
        let byte = self.bytes.get_mut(at);
        byte.map(|byte| *byte ^= bits).is_some() && bits != 0
    }

    /// Whether the reader is to be told of the end now: once, behind all bytes.
    pub fn tell_end(&mut self) -> bool {
        let due = self.ended && self.bytes.is_empty() && !self.end_told;
        self.end_told |= due;
        due
    }
}
