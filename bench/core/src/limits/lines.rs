//! Lines out of a stream: how a reader that trusts QEMU's layout finds messages.

use memchr::memchr;

/// What has come of a line whose end has not.
#[derive(Default)]
pub(super) struct Lines {
    unfinished: Vec<u8>,
}

impl Lines {
    /// Shows each line that ends in `piece`; gives how many there are.
    pub(super) fn split(&mut self, mut piece: &[u8], mut line: impl FnMut(&[u8])) -> usize {
        let mut lines = 0;
        while let Some(end) = memchr(b'\n', piece) {
            let (head, rest) = piece.split_at(end + 1);
            if self.unfinished.is_empty() {
                line(head);
            } else {
                self.unfinished.extend_from_slice(head);
                line(&self.unfinished);
                self.unfinished.clear();
            }
            lines += 1;
            piece = rest;
        }
        self.unfinished.extend_from_slice(piece);
        lines
    }
}
