//! What has come from the client and is not read yet.

use alloc::collections::VecDeque;
use core::fmt;

use bytes::{Buf, BytesMut};
use qmp_proto::__server::{Item, Reader, Rules};

/// Received bytes, the descriptors among them, and the end of the stream behind them.
pub(super) struct Intake<F> {
    reader: Reader,
    unread: BytesMut,
    /// How many bytes were read since the connection began.
    read: u64,
    /// Each with the position of the byte that it rides with.
    riding: VecDeque<(u64, F)>,
    /// The one that came last, until it is taken.
    descriptor: Option<F>,
    finished: bool,
}

impl<F> Intake<F> {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            reader: Reader::new(rules),
            unread: BytesMut::new(),
            read: 0,
            riding: VecDeque::new(),
            descriptor: None,
            finished: false,
        }
    }

    /// Whether everything that came is read, and more may come.
    pub(super) fn wants_more(&self) -> bool {
        self.unread.is_empty() && !self.finished
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Two that ride with the same byte: the later one counts.
    pub(super) fn push_descriptor(&mut self, descriptor: F) {
        let position = self.read + self.unread.len() as u64;
        if self.riding.back().is_some_and(|(at, _)| *at == position) {
            self.riding.pop_back();
        }
        self.riding.push_back((position, descriptor));
    }

    pub(super) fn take_descriptor(&mut self) -> Option<F> {
        self.descriptor.take()
    }

    /// Drops what came: the connection has ended.
    pub(super) fn clear(&mut self) {
        *self = Self::new(Rules::default());
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// The end of the stream, once everything before it is read: whether it cuts a message off.
    pub(super) fn end(&self) -> Option<bool> {
        (self.finished && self.unread.is_empty()).then(|| self.reader.mid_message())
    }

    /// Reads up to the end of the next item, and no byte further.
    pub(super) fn next(&mut self) -> Option<Item> {
        let mut rest = &self.unread[..];
        let item = self.reader.next(&mut rest);
        let taken = self.unread.len() - rest.len();
        self.unread.advance(taken);
        self.read += taken as u64;
        while self.riding.front().is_some_and(|(at, _)| *at < self.read) {
            self.descriptor = self.riding.pop_front().map(|(_, descriptor)| descriptor);
        }
        if self.unread.is_empty() && self.unread.capacity() > qmp_proto::__server::KEPT_BUFFER {
            self.unread = BytesMut::new();
        }
        item
    }
}

/// Counts alone: what came may hold secrets.
impl<F> fmt::Debug for Intake<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Intake({} bytes, {} descriptors)", self.unread.len(), self.riding.len())
    }
}
