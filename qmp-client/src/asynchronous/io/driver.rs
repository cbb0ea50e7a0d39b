//! What moves a connection's bytes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use qmp_proto::{CloseReason, IoFailure};

use crate::asynchronous::io::scratch;
use crate::asynchronous::io::task_io::{ROUNDS, TaskIo};
use crate::asynchronous::runtime::Sleep;
use crate::shared::sync::Arc;
use crate::shared::{Flushed, Received};

/// How long no caller must have come before the driver receives in place of one.
const PATIENCE: Duration = Duration::from_millis(1);

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
#[must_use = "a connection does not work unless its driver is polled"]
pub struct Driver {
    io: Arc<TaskIo>,
    /// The writing side is gone. What there is to receive is received, and that is the end.
    broken: Option<IoFailure>,
    /// There is something to receive, and it is the driver's.
    called: bool,
    /// Callers come: when this is over, it looks whether they still do.
    patience: Option<Sleep>,
    /// How many had come when it last looked.
    seen: u64,
    /// To handle the next timeout.
    timer: Option<Timer>,
    sleep: fn(Duration) -> Sleep,
}

/// A sleep, and when it ends.
struct Timer {
    until: Instant,
    sleep: Sleep,
}

impl Driver {
    pub(crate) fn new(io: Arc<TaskIo>, sleep: fn(Duration) -> Sleep) -> Self {
        Self { io, broken: None, called: true, patience: None, seen: 0, timer: None, sleep }
    }

    fn run(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<CloseReason> {
        for _ in 0..ROUNDS {
            if let Some(reason) = self.end() {
                return Poll::Ready(reason);
            }
            self.send(context);
            if self.io.callers_receive && !self.io.shared.relieve(self.called) {
                return Poll::Pending;
            }
            let Some(receiving) = self.io.try_receiving() else { return Poll::Pending };
            let polled = receiving.poll(context.waker(), buffer, None);
            // Until there is nothing left.
            self.called = polled.is_ready();
            match polled {
                Poll::Ready(_) => {}
                Poll::Pending => match self.broken.clone() {
                    None => return Poll::Pending,
                    Some(failure) => {
                        self.io.shared.receive(Received::Failed(failure));
                    }
                },
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// How the connection ended, if it has; then the server is told.
    fn end(&self) -> Option<CloseReason> {
        let reason = self.io.shared.inspect(|connection| connection.close_reason().cloned())?;
        self.io.transport.shut_down();
        Some(reason)
    }

    fn send(&mut self, context: &mut Context<'_>) {
        self.io.drop_what_came();
        let transport = &self.io.transport;
        let flushed = self.io.shared.flush(|bytes, descriptor| {
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

    /// Is patient as long as callers come.
    fn look_after_callers(&mut self, context: &mut Context<'_>) {
        if !self.io.callers_receive {
            return;
        }
        while self.patience.as_mut().is_none_or(|sleep| sleep.as_mut().poll(context).is_ready()) {
            let come = self.io.shared.callers_come(&mut self.seen);
            self.patience = come.then(|| (self.sleep)(PATIENCE));
            if !come {
                break;
            }
        }
    }

    /// Does what is due, and sleeps until the next timeout.
    fn look_after_timeouts(&mut self, context: &mut Context<'_>) {
        if !self.io.shared.is_timed() {
            return;
        }
        let mut now = Instant::now();
        while let Some(at) = self.io.shared.poll_timeout(now) {
            let (sleep, left) = (self.sleep, at.saturating_duration_since(now));
            if left.is_zero() {
                self.io.shared.handle_timeout(now);
                self.send(context);
                continue;
            }
            // A sleep that ends before this timeout is kept: this function looks again then.
            let timer = match &mut self.timer {
                Some(timer) if timer.until <= at => timer,
                timer => timer.insert(Timer { until: at, sleep: sleep(left) }),
            };
            if timer.sleep.as_mut().poll(context).is_pending() {
                return;
            }
            self.timer = None;
            now = Instant::now();
        }
    }
}

impl Future for Driver {
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CloseReason> {
        let this = self.get_mut();
        this.called |= this.io.register_driver(context.waker());
        this.look_after_callers(context);
        let polled = scratch::with(|buffer| this.run(context, buffer));
        if polled.is_pending() {
            this.look_after_timeouts(context);
        }
        polled
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.io.shared.is_closed() {
            self.io.shared.receive(Received::Failed(IoFailure::DriverGone));
        }
        self.io.transport.shut_down();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("io", &self.io).finish_non_exhaustive()
    }
}
