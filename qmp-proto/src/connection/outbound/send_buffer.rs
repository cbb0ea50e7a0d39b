//! Committed bytes: they are sent whole and in this order, or the connection ends.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// The bytes for one write.
#[must_use = "these bytes are committed: send them, then call `advance` with how many were sent"]
pub struct Transmit<'a, F> {
    /// The bytes; never empty. Send as many as the transport takes.
    pub bytes: &'a [u8],
    /// The descriptor to pass with the first byte, and only with it.
    pub descriptor: Option<&'a F>,
}

/// Positions count the bytes since the connection began, so they name a byte for ever.
pub struct SendBuffer<F> {
    text: Vec<u8>,
    /// How much of `text` is sent.
    sent: usize,
    /// The position of `text`'s first byte.
    start: u64,
    descriptors: VecDeque<(u64, F)>,
}

impl<F> SendBuffer<F> {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "nothing needs the default")]
    pub fn new() -> Self {
        Self { text: Vec::new(), sent: 0, start: 0, descriptors: VecDeque::new() }
    }

    /// The position after the last committed byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.text.len() as u64
    }

    /// The position of the next byte to send.
    pub(crate) fn position(&self) -> u64 {
        self.start + self.sent as u64
    }

    /// How many committed bytes are not sent.
    pub fn len(&self) -> usize {
        self.text.len() - self.sent
    }

    /// Whether all committed bytes are sent.
    pub fn is_empty(&self) -> bool {
        self.sent == self.text.len()
    }

    /// Where committed bytes are appended.
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Commits a text: a long one is moved, if it is the only one, and any other is copied.
    pub(crate) fn append(&mut self, text: Vec<u8>) -> &mut Vec<u8> {
        if self.text.is_empty() && text.len() > crate::KEPT_BUFFER {
            self.text = text;
        } else {
            self.text.extend_from_slice(&text);
        }
        &mut self.text
    }

    /// Passes a descriptor with the byte at this position, which is committed next.
    pub(crate) fn attach(&mut self, descriptor: F, position: u64) {
        self.descriptors.push_back((position, descriptor));
    }

    /// What is to be sent next: up to the byte with which the next descriptor is passed.
    pub fn lend(&self) -> Option<Transmit<'_, F>> {
        if self.is_empty() {
            return None;
        }
        let mut passed = None;
        let mut end = self.text.len();
        for (position, descriptor) in self.descriptors.iter().take(2) {
            if *position == self.position() {
                passed = Some(descriptor);
            } else {
                end = (*position - self.start) as usize;
                break;
            }
        }
        Some(Transmit { bytes: &self.text[self.sent..end], descriptor: passed })
    }

    /// Notes that the transport took `n` of the lent bytes, and the descriptor with the first one.
    pub fn advance(&mut self, n: usize) {
        let lent = self.lend().map_or(0, |transmit| transmit.bytes.len());
        if n > 0 && self.descriptors.front().is_some_and(|(at, _)| *at == self.position()) {
            self.descriptors.pop_front();
        }
        self.sent += n.min(lent);
        if self.is_empty() {
            self.start += self.text.len() as u64;
            self.sent = 0;
            self.text.clear();
            self.text.shrink_to(crate::KEPT_BUFFER);
        } else if self.sent > self.text.len() / 2 {
            // With a slow transport the buffer may never be empty.
            self.start += self.sent as u64;
            self.text.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Drops everything: the connection has ended.
    pub fn clear(&mut self) {
        self.start = self.end();
        self.sent = 0;
        self.text = Vec::new();
        self.descriptors.clear();
    }
}

/// Counts only: arguments may hold secrets.
impl<F> fmt::Debug for SendBuffer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendBuffer({} bytes to send)", self.len())
    }
}

/// The length only: arguments may hold secrets.
impl<F> fmt::Debug for Transmit<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = if self.descriptor.is_some() { " and a descriptor" } else { "" };
        write!(f, "Transmit({} bytes{descriptor})", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transport that is always a little behind does not make the buffer grow for ever.
    #[test]
    fn what_is_sent_is_not_kept() {
        let mut buffer = SendBuffer::new();
        buffer.text().extend_from_slice(&[0; 10]);
        for round in 0..10_000 {
            let position = buffer.end();
            buffer.text().extend_from_slice(&[1; 100]);
            buffer.attach(round, position);
            assert_eq!(buffer.lend().map(|transmit| transmit.bytes.len()), Some(10));
            buffer.advance(10);
            let passed = buffer.lend().map(|transmit| (transmit.bytes[0], transmit.descriptor));
            assert_eq!(passed, Some((1, Some(&round))));
            buffer.advance(90);
            assert_eq!(buffer.position(), 100 * (round + 1));
            assert!(buffer.text.capacity() < 1000, "{}", buffer.text.capacity());
        }
    }
}
