//! Any pair of streams: TLS, pipes, a serial port, another runtime's sockets.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::io::{AsyncRead, AsyncWrite};

use crate::asynchronous::io::transport::Transport;
use crate::shared::sync::{Mutex, MutexGuard, PoisonError};

/// How much is held back for the writer, in bytes.
const BUFFER: usize = 64 << 10;

/// How much of that room is kept while there is nothing to write.
const KEPT: usize = 4 << 10;

/// Two streams, which the driver alone touches. Each has a lock of its own, since they are not ours:
/// nothing of them runs under the connection's.
pub(crate) struct Streams<R, W> {
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
    pub(crate) fn new(reader: R, writer: W) -> Self {
        let (buffer, written, flushing, refused) = (Vec::new(), 0, false, false);
        let writer = Writer { stream: writer, buffer, written, flushing, refused };
        Self { reader: Mutex::new(Some(reader)), writer: Mutex::new(Some(writer)) }
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    fn take(&mut self, bytes: &[u8]) -> usize {
        if self.written >= BUFFER {
            // A slow stream may never have taken all of it.
            self.buffer.drain(..self.written);
            self.written = 0;
        }
        let room = BUFFER.saturating_sub(self.buffer.len() - self.written);
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
        let mut slot = lock(&self.writer);
        let Some(writer) = slot.as_mut() else { return Poll::Ready(Ok(())) };
        let polled = writer.poll_flush(context);
        let has_room = writer.written == writer.buffer.len() && std::mem::take(&mut writer.refused);
        drop(slot);
        if has_room {
            // What was refused comes again.
            context.waker().wake_by_ref();
        }
        polled
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes forty bytes every other time: it is never done.
    struct Serial(bool);

    impl AsyncWrite for Serial {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0 = !self.0;
            if self.0 { Poll::Ready(Ok(bytes.len().min(40))) } else { Poll::Pending }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn c3_what_was_written_is_not_kept() {
        let streams = Streams::new(futures_lite::io::empty(), Serial(false));
        let context = &mut Context::from_waker(std::task::Waker::noop());
        for _ in 0..20_000 {
            let _ = streams.poll_send(context, &[b' '; 100], None);
            let _ = streams.poll_flush(context);
            let writer = lock(&streams.writer);
            assert!(writer.as_ref().unwrap().buffer.len() <= 2 * BUFFER);
        }
    }
}
