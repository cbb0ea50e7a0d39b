//! The future of a command.

use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use qmp_proto::{DecodeError, Event, Prepared, Raw, Refusal};

use crate::asynchronous::client::Handle;
use crate::asynchronous::client::outstanding::Outstanding;
use crate::asynchronous::runtime::Sleep;
use crate::error::Error;
use crate::shared::Manner;
use crate::shared::event_waiter::Matcher;
use crate::shared::pending::{Pending, PendingUntil};
use crate::shared::sync::Arc;

/// A command's outcome. See [`Client::execute`](crate::asynchronous::Client::execute).
///
/// The command is encoded already, and accepted when this is first polled. Dropped, it is cancelled:
/// a command of which nothing was claimed for sending is withdrawn, and the reply to any other is
/// dropped when it comes. The connection is as good as before.
///
/// It is a handle: until it has ended or is dropped, the connection lives.
///
/// Polled after it has ended it is pending and wakes nobody, as a fused future.
#[must_use = "a command does nothing until its future is polled"]
pub struct Execute<T> {
    run: Run<Pending>,
    decode: fn(Raw) -> Result<T, DecodeError>,
}

/// A command's outcome, and the event that it leads to. See
/// [`Client::execute_until`](crate::asynchronous::Client::execute_until). It behaves as [`Execute`] does.
#[must_use = "a command does nothing until its future is polled"]
pub struct ExecuteUntil<T> {
    run: Run<PendingUntil>,
    decode: fn(Raw) -> Result<T, DecodeError>,
}

/// A command on its way, under a deadline.
struct Run<P: Outstanding> {
    /// Nobody, once it has ended.
    handle: Option<Arc<Handle>>,
    timeout: Option<Duration>,
    stage: Stage<P>,
}

enum Stage<P: Outstanding> {
    New(Result<P::Plan, Refusal>, Passes),
    Waiting(P, Option<Sleep>),
    Ended,
}

/// Whether it goes out at once, whatever else is outstanding.
type Passes = bool;

impl<P: Outstanding> Run<P> {
    fn new(
        handle: Arc<Handle>,
        timeout: Option<Duration>,
        plan: Result<P::Plan, Refusal>,
        passes: Passes,
    ) -> Self {
        Self { handle: Some(handle), timeout, stage: Stage::New(plan, passes) }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<P::Output, Error>> {
        let polled = self.advance(context);
        if polled.is_ready() {
            self.stage = Stage::Ended;
            self.handle = None;
        }
        polled
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Result<P::Output, Error>> {
        let Some(handle) = &self.handle else { return Poll::Pending };
        let mut begun = None;
        if let Stage::New(..) = self.stage {
            let Stage::New(plan, passes) = std::mem::replace(&mut self.stage, Stage::Ended) else {
                return Poll::Pending;
            };
            let (pending, manner) = handle.begin(plan?)?;
            self.stage = Stage::Waiting(pending, self.timeout.map(handle.sleep));
            begun = Some((manner, passes));
        }
        let Stage::Waiting(pending, sleep) = &mut self.stage else { return Poll::Pending };
        // Its waker is in its place before it sends and receives: whatever comes finds whom to wake.
        if let Poll::Ready(outcome) = pending.poll_outcome(context.waker()) {
            return Poll::Ready(outcome);
        }
        if pending.awaits_event() {
            handle.io.expect_more();
        }
        if let Some((manner, passes)) = begun {
            handle.send(manner, passes);
        }
        if let Some((Manner::Yields, _)) = begun {
            context.waker().wake_by_ref();
        } else if let Poll::Ready(outcome) = handle.receive(pending, context.waker()) {
            return Poll::Ready(outcome);
        }
        let late = sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Waiting(pending, _) if late => {
                let outcome = pending.give_up();
                handle.withdrawn();
                Poll::Ready(outcome)
            }
            stage => {
                self.stage = stage;
                Poll::Pending
            }
        }
    }
}

/// What it leaves behind may have kept others from being sent.
impl<P: Outstanding> Drop for Run<P> {
    fn drop(&mut self) {
        if let Stage::Waiting(pending, _) = std::mem::replace(&mut self.stage, Stage::Ended) {
            drop(pending);
            if let Some(handle) = &self.handle {
                handle.withdrawn();
            }
        }
    }
}

impl<T> Execute<T> {
    pub(crate) fn new(
        handle: Arc<Handle>,
        timeout: Option<Duration>,
        prepared: Result<Prepared<OwnedFd>, Refusal>,
        decode: fn(Raw) -> Result<T, DecodeError>,
    ) -> Self {
        let passes = prepared.as_ref().is_ok_and(Prepared::is_out_of_band);
        Self { run: Run::new(handle, timeout, prepared, passes), decode }
    }
}

impl<T> ExecuteUntil<T> {
    pub(crate) fn new(
        handle: Arc<Handle>,
        timeout: Option<Duration>,
        prepared: Result<Prepared<OwnedFd>, Refusal>,
        matcher: Matcher,
        decode: fn(Raw) -> Result<T, DecodeError>,
    ) -> Self {
        let plan = prepared.map(|prepared| (prepared, matcher));
        Self { run: Run::new(handle, timeout, plan, false), decode }
    }
}

impl<T> Future for Execute<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.run.poll(context).map(|outcome| Ok((this.decode)(outcome?)?))
    }
}

impl<T> Future for ExecuteUntil<T> {
    type Output = Result<(T, Event), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.run.poll(context).map(|outcome| {
            let (raw, event) = outcome?;
            Ok(((this.decode)(raw)?, event))
        })
    }
}

impl<T> fmt::Debug for Execute<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execute").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ExecuteUntil<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecuteUntil").finish_non_exhaustive()
    }
}
