//! Bytes that are claimed: they go out whole, in this order, or the connection ends.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// What to send in one write.
#[must_use = "what is lent here is claimed: send it, then tell `advance` how much of it went out"]
pub struct Transmit<'a, F> {
    /// The bytes; never empty. Send as many as the transport takes.
    pub bytes: &'a [u8],
    /// What rides with the first byte, and only with it.
    pub descriptor: Option<&'a F>,
}

/// Positions count the bytes since the connection began, so they name a byte for ever.
pub(crate) struct Wire<F> {
    text: Vec<u8>,
    /// How much of `text` is sent.
    sent: usize,
    /// The position of `text`'s first byte.
    start: u64,
    descriptors: VecDeque<(u64, F)>,
}

impl<F> Wire<F> {
    pub(crate) fn new() -> Self {
        Self { text: Vec::new(), sent: 0, start: 0, descriptors: VecDeque::new() }
    }

    /// The position behind the last claimed byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.text.len() as u64
    }

    /// The position of the next byte to send.
    pub(crate) fn position(&self) -> u64 {
        self.start + self.sent as u64
    }

    /// How many claimed bytes are not sent.
    pub(crate) fn len(&self) -> usize {
        self.text.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.text.len()
    }

    /// Where claimed commands are appended.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Lets a descriptor ride with the byte that is claimed next.
    pub(crate) fn attach(&mut self, descriptor: F, position: u64) {
        self.descriptors.push_back((position, descriptor));
    }

    /// What is to be sent next: up to the byte with which the next descriptor goes.
    pub(crate) fn lend(&self) -> Option<Transmit<'_, F>> {
        if self.is_empty() {
            return None;
        }
        let mut riding = None;
        let mut end = self.text.len();
        for (position, descriptor) in self.descriptors.iter().take(2) {
            if *position == self.position() {
                riding = Some(descriptor);
            } else {
                end = (*position - self.start) as usize;
                break;
            }
        }
        Some(Transmit { bytes: &self.text[self.sent..end], descriptor: riding })
    }

    /// Notes that the transport took `n` of the bytes lent, and with the first the descriptor.
    pub(crate) fn advance(&mut self, n: usize) {
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
            // On a slow transport the wire may never be empty.
            self.start += self.sent as u64;
            self.text.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Drops everything: the connection has ended.
    pub(crate) fn clear(&mut self) {
        self.start = self.end();
        self.sent = 0;
        self.text = Vec::new();
        self.descriptors.clear();
    }
}

/// Counts alone: arguments may hold secrets.
impl<F> fmt::Debug for Wire<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({} bytes to send)", self.len())
    }
}

/// The length alone: arguments may hold secrets.
impl<F> fmt::Debug for Transmit<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = if self.descriptor.is_some() { " and a descriptor" } else { "" };
        write!(f, "Transmit({} bytes{descriptor})", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transport that is always a little behind does not make the wire grow for ever.
    #[test]
    fn what_is_sent_is_not_kept() {
        let mut wire = Wire::new();
        wire.text().extend_from_slice(&[0; 10]);
        for round in 0..10_000 {
            let position = wire.end();
            wire.text().extend_from_slice(&[1; 100]);
            wire.attach(round, position);
            assert_eq!(wire.lend().map(|transmit| transmit.bytes.len()), Some(10));
            wire.advance(10);
            let riding = wire.lend().map(|transmit| (transmit.bytes[0], transmit.descriptor));
            assert_eq!(riding, Some((1, Some(&round))));
            wire.advance(90);
            assert_eq!(wire.position(), 100 * (round + 1));
            assert!(wire.text.capacity() < 1000, "{}", wire.text.capacity());
        }
    }
}
