//! What moves a connection's bytes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use qmp_proto::{CloseReason, IoFailure};

use super::link::Link;
use super::scratch;
use crate::hub::{Flushed, Received};
use crate::sync::Arc;

/// How often it receives before others have their turn.
const ROUNDS: usize = 4;

/// A future that moves a connection's bytes, and tells how it ended when it has.
///
/// The adapters spawn it. To run it elsewhere, take it from a builder's `…_with_driver`: spawn it on
/// an executor of your own, or poll it beside your own futures, without any executor's `spawn`.
///
/// It ends with the connection, which ends with the last client. Dropped before, by a panic too, it
/// ends the connection, and everyone who waits learns it
/// ([`IoFailure::DriverGone`](qmp_proto::IoFailure::DriverGone)).
///
/// A poll does a bounded amount of work, and then lets others have their turn.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { async_io::block_on(async {
/// use futures_lite::future::zip;
/// use qmp_proto::{CloseReason, commands::Quit};
///
/// # let socket = server();
/// // No task is spawned.
/// let (client, _events, driver) = Builder::new().from_stream_with_driver(socket).await?;
/// let (reason, quit) = zip(driver, client.execute(&Quit)).await;
/// assert_eq!(reason, CloseReason::Quit);
/// assert!(quit.is_ok());
/// # Ok(())
/// # })}
/// ```
#[must_use = "nothing is received until the driver is polled"]
#[derive(Debug)]
pub struct Driver {
    link: Arc<Link>,
    /// The writing side is gone. What there is to receive is received, and that is the end.
    broken: Option<IoFailure>,
}

impl Driver {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, broken: None }
    }

    fn run(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<CloseReason> {
        for _ in 0..ROUNDS {
            if let Some(reason) = self.end() {
                return Poll::Ready(reason);
            }
            self.send(context);
            match self.link.transport.poll_receive(context, buffer) {
                Poll::Ready(received) => self.take_in(received, buffer),
                Poll::Pending => match self.broken {
                    None => return Poll::Pending,
                    Some(failure) => {
                        self.link.hub.receive(Received::Failed(failure));
                    }
                },
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// How the connection ended, if it has; then the server is told.
    fn end(&self) -> Option<CloseReason> {
        let reason = self.link.hub.inspect(|connection| connection.close_reason().cloned())?;
        self.link.transport.shut_down();
        Some(reason)
    }

    fn send(&mut self, context: &mut Context<'_>) {
        let transport = &self.link.transport;
        let flushed = self.link.hub.flush(|bytes, descriptor| {
            match transport.poll_send(context, bytes, descriptor) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        if flushed == Flushed::Failed {
            // What the server said before is still received, up to the end of the stream.
            transport.shut_down();
        }
        if let Poll::Ready(Err(error)) = transport.poll_flush(context) {
            // What it has swallowed would be waited for in vain.
            self.broken = Some((&error).into());
        }
    }

    fn take_in(&self, received: io::Result<usize>, buffer: &[u8]) {
        let received = match &received {
            Ok(0) => Received::Eof,
            Ok(length) => Received::Bytes(buffer.get(..*length).unwrap_or(buffer)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => Received::Failed(error.into()),
        };
        self.link.hub.receive(received);
    }
}

impl Future for Driver {
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CloseReason> {
        let this = self.get_mut();
        this.link.register_driver(context.waker());
        scratch::with(|buffer| this.run(context, buffer))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.link.hub.is_closed() {
            self.link.hub.receive(Received::Failed(IoFailure::DriverGone));
        }
        self.link.transport.shut_down();
    }
}
