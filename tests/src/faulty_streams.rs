//! Streams that end or fail as no socket does, for each kind of adapter.

use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::AsyncRead;

/// A stream that ends as one of TLS whose peer is gone without a farewell.
#[derive(Debug)]
pub struct Truncated<S>(pub S);

/// A stream that fails after so many reads.
#[derive(Debug)]
pub struct Failing<S> {
    /// The stream.
    pub stream: S,
    /// After how many reads.
    pub after: usize,
}

impl<S> Truncated<S> {
    fn turn(read: io::Result<usize>) -> io::Result<usize> {
        match read {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            read => read,
        }
    }
}

impl<S> Failing<S> {
    fn turn(&mut self, read: io::Result<usize>) -> io::Result<usize> {
        if self.after == 0 {
            return Err(io::Error::new(ErrorKind::InvalidData, "no such certificate"));
        }
        self.after -= 1;
        read
    }
}

impl<S: Read> Read for Truncated<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::turn(self.0.read(buffer))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Truncated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, buffer).map(Self::turn)
    }
}

impl<S: Read> Read for Failing<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = if self.after > 0 { self.stream.read(buffer) } else { Ok(0) };
        self.turn(read)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Failing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.after == 0 {
            return Poll::Ready(self.turn(Ok(0)));
        }
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        Poll::Ready(self.turn(read))
    }
}
