//! qapi's decoder: its types, and the lines of its codec, which is private and rebuilt here from what
//! it does (split the buffer at the line's end, decode the line by serde_json).

use bytes::BytesMut;
use qapi_qmp::QmpMessageAny;

use crate::Reader;

/// The decoder of qapi 0.15.
#[derive(Default)]
pub struct Qapi {
    buffer: BytesMut,
    /// No line end stands before this.
    searched: usize,
}

impl Reader for Qapi {
    fn read(&mut self, piece: &[u8]) -> usize {
        self.buffer.extend_from_slice(piece);
        let mut messages = 0;
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let line = self.buffer.split_to(self.searched + found + 1);
            self.searched = 0;
            let message: QmpMessageAny = serde_json::from_slice(&line).expect("qapi reads it");
            std::hint::black_box(message);
            messages += 1;
        }
        self.searched = self.buffer.len();
        messages
    }
}
