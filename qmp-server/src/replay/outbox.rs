//! What a replay is to send, and for which entries of the trace.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Where in `bytes` an entry ends, and which it is; those that are not wholly sent.
    ends: VecDeque<(usize, usize)>,
}

impl Outbox {
    pub(super) fn push(&mut self, entry: usize, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.ends.push_back((self.bytes.len(), entry));
    }

    /// What is left to send; `None` where nothing is.
    pub(super) fn lend(&self) -> Option<&[u8]> {
        let left = &self.bytes[self.sent..];
        (!left.is_empty()).then_some(left)
    }

    pub(super) fn advance(&mut self, n: usize) {
        self.sent += n.min(self.bytes.len() - self.sent);
        while self.ends.front().is_some_and(|(end, _)| *end <= self.sent) {
            self.ends.pop_front();
        }
        if self.ends.is_empty() {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The first entry of which not all is sent.
    pub(super) fn first_unsent(&self) -> Option<usize> {
        self.ends.front().map(|(_, entry)| *entry)
    }
}

/// The length alone: it may hold secrets.
impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbox({} bytes to send)", self.bytes.len() - self.sent)
    }
}
