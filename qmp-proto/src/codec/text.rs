//! Where the bytes of a message are, and how a part of them is kept.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

/// A buffer up to this size is kept whole rather than copied again; the payload of a larger one
/// keeps it only when it is most of it. So nothing small keeps something big alive.
const SMALL: usize = 4096;

/// A range of bytes that can be copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: usize,
    end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The same span without JSON's white space at its ends.
    pub(crate) fn trim(self, text: &[u8]) -> Self {
        let text = trim_start(&text[self.range()]);
        let start = self.end - text.len();
        Self { start, end: start + trim_end(text).len() }
    }
}

/// The text from the first byte on that is searched. Eight bytes are taken together, so that not at each it
/// has to be asked whether it is the last.
#[inline(always)]
pub(crate) fn from_first(mut text: &[u8], is_found: impl Fn(&u8) -> bool) -> &[u8] {
    while let Some((eight, behind)) = text.split_first_chunk::<8>() {
        match eight.iter().position(&is_found) {
            Some(at) => return &text[at..],
            None => text = behind,
        }
    }
    &text[text.iter().position(is_found).unwrap_or(text.len())..]
}

/// Without JSON's white space at its ends.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', inner @ ..] = text {
        text = inner;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [inner @ .., b' ' | b'\t' | b'\r' | b'\n'] = text {
        text = inner;
    }
    text
}

/// The bytes of one message: lent by the caller of `handle_input` where they came in one piece,
/// in a buffer of their own where they did not.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    Lent(&'a [u8]),
    Owned(Bytes),
}

impl Text<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Keeps the bytes of `spans`, copying them at most once, and tells where they are now.
    pub(crate) fn keep<const N: usize>(&self, spans: [Span; N]) -> (Bytes, [Span; N]) {
        let kept = spans.iter().map(|span| span.len()).sum();
        match self.own(kept) {
            Some(bytes) => (bytes.clone(), spans),
            None => copy(self.bytes(), spans, kept),
        }
    }

    /// As above, for one span.
    pub(crate) fn keep_one(&self, span: Span) -> Bytes {
        match self.own(span.len()) {
            Some(bytes) => bytes.slice(span.range()),
            None => Bytes::copy_from_slice(&self.bytes()[span.range()]),
        }
    }

    /// The buffer, if it is to be kept for the sake of so many bytes of it.
    fn own(&self, kept: usize) -> Option<&Bytes> {
        match self {
            Self::Owned(bytes) if bytes.len() <= SMALL || kept >= bytes.len() / 2 => Some(bytes),
            _ => None,
        }
    }
}

fn copy<const N: usize>(text: &[u8], spans: [Span; N], kept: usize) -> (Bytes, [Span; N]) {
    let mut copied = Vec::with_capacity(kept);
    let spans = spans.map(|span| {
        let start = copied.len();
        copied.extend_from_slice(&text[span.range()]);
        Span::new(start, copied.len())
    });
    (Bytes::from(copied), spans)
}
