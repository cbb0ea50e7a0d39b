//! Any pair of streams: TLS, pipes, a serial port, another runtime's sockets.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::io::{AsyncRead, AsyncWrite};

use super::transport::Transport;
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// How much is held back for the writer, in bytes.
const BUFFER: usize = 64 << 10;

/// How much of that room is kept while there is nothing to write.
const KEPT: usize = 4 << 10;

/// Two streams, which the driver alone touches. Each has a lock of its own, since they are not ours:
/// nothing of them runs under the connection's.
pub(super) struct Streams<R, W> {
    reader: Mutex<Option<R>>,
    writer: Mutex<Option<Writer<W>>>,
}

/// A writer, and what it has yet to take.
struct Writer<W> {
    stream: W,
    buffer: Vec<u8>,
    written: usize,
    /// The stream has taken bytes that it may hold back in turn.
    flushing: bool,
    /// There was no room for something.
    refused: bool,
}

impl<R, W> Streams<R, W> {
    pub(super) fn new(reader: R, writer: W) -> Self {
        let (buffer, written, flushing, refused) = (Vec::new(), 0, false, false);
        let writer = Writer { stream: writer, buffer, written, flushing, refused };
        Self { reader: Mutex::new(Some(reader)), writer: Mutex::new(Some(writer)) }
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    fn take(&mut self, bytes: &[u8]) -> usize {
        let room = BUFFER - (self.buffer.len() - self.written);
        let taken = &bytes[..room.min(bytes.len())];
        self.buffer.extend_from_slice(taken);
        self.refused = taken.is_empty();
        taken.len()
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let left = &self.buffer[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
            self.flushing = true;
        }
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.written = 0;
        if std::mem::take(&mut self.refused) {
            // Now there is room.
            context.waker().wake_by_ref();
        }
        if self.flushing {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.flushing = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<R, W> Transport for Streams<R, W>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    fn poll_send(
        &self,
        _: &mut Context<'_>,
        bytes: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Poll<io::Result<usize>> {
        if descriptor.is_some() {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        }
        match lock(&self.writer).as_mut().map(|writer| writer.take(bytes)) {
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(0) => Poll::Pending,
            Some(taken) => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.writer).as_mut().map_or(Poll::Ready(Ok(())), |writer| writer.poll_flush(context))
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match lock(&self.reader).as_mut() {
            None => Poll::Ready(Ok(0)),
            Some(reader) => Pin::new(reader).poll_read(context, buffer),
        }
    }

    /// To drop them is all that can be done without waiting. The writer first: some readers wait, when
    /// they are dropped, for what they have begun to read, and the server ends that when it is told.
    fn shut_down(&self) {
        let writer = lock(&self.writer).take();
        drop(writer);
        let reader = lock(&self.reader).take();
        drop(reader);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R, W> fmt::Debug for Streams<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}
