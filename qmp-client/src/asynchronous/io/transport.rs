//! How bytes get to the server and back.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

/// A connected stream, shared by callers' tasks and the driver.
///
/// Sockets ([`Builder::from_stream`](crate::asynchronous::Builder::from_stream)) and any pair of streams
/// ([`Builder::from_io`](crate::asynchronous::Builder::from_io)) have one already. One of your own connects QMP to
/// what is neither, with
/// [`Builder::from_transport_with_driver`](crate::asynchronous::Builder::from_transport_with_driver).
///
/// `try_send` and `poll_send` are called under the connection's lock: they must not call the client.
/// All `poll_…` methods are called by the [`Driver`](crate::asynchronous::Driver) alone, but for `poll_receive` where
/// [`callers_may_receive`](Self::callers_may_receive).
pub trait Transport: Send + Sync + 'static {
    /// Sends what is taken at once, from any task, and the descriptor with the first byte. Never
    /// blocks.
    ///
    /// By default it takes nothing, so that all is left to the driver.
    ///
    /// # Errors
    ///
    /// `WouldBlock` leaves the rest to the driver. Anything else ends sending.
    fn try_send(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<usize> {
        let _ = (bytes, descriptor);
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Sends some bytes, and the descriptor with the first one.
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Poll<io::Result<usize>>;

    /// Lets go of what `poll_send` has taken and holds back. Called after it in each poll of the
    /// driver, without the lock.
    fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = context;
        Poll::Ready(Ok(()))
    }

    /// Receives what is there now, by one caller at a time. Never blocks.
    ///
    /// With a guest agent that does not echo ids, it is asked before each command, so that what came unasked
    /// is not taken for the reply. By default nothing is there.
    ///
    /// # Errors
    ///
    /// Anything leaves it to `poll_receive`.
    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = buffer;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Receives some bytes; 0 at the end of the stream.
    fn poll_receive(&self, context: &mut Context<'_>, buffer: &mut [u8])
    -> Poll<io::Result<usize>>;

    /// Whether `poll_receive` may be called by any task on any thread: by one at a time, and with the same
    /// waker each time. Then a task whose command is the only one receives its reply itself, which saves
    /// the way through the driver. By default it is the driver's alone.
    ///
    /// The waker takes the connection's lock, so such a transport must not wake it inside `try_send` or
    /// `poll_send`: one that answers by itself leaves this as it is.
    fn callers_may_receive(&self) -> bool {
        false
    }

    /// Whether descriptors sent over it reach the server. By default they do not, and a command with
    /// one is refused.
    fn carries_descriptors(&self) -> bool {
        false
    }

    /// Ends both directions at once, without waiting. What came before may still be received.
    fn shut_down(&self);
}
