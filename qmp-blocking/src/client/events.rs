//! A subscriber's events, one after the other.

use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use qmp_client::{Lagged, Subscription};
use qmp_proto::Event;

use crate::io::{Progress, ThreadIo};

/// All events since the subscription, in order; it ends with the connection.
///
/// It is an iterator that waits. Each subscriber has a queue of its own, bounded in number and
/// bytes ([`EventLimits`](qmp_client::EventLimits)): one that is too slow loses its own oldest
/// events, finds `Err(Lagged(n))` in their place, and delays nobody.
///
/// It keeps nothing alive: when the last [`Client`](crate::Client) is dropped, the connection ends,
/// and the iterator after the events that had come by then.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use qmp_blocking::commands::{Quit, Stop};
///
/// # let client = qmp_blocking::from_stream(server())?;
/// let events = client.events();
/// client.execute(&Stop)?;
/// client.execute(&Quit)?;
/// let mut names = Vec::new();
/// for event in events {
///     match event {
///         Ok(event) => names.push(event.name().to_owned()),
///         Err(lagged) => eprintln!("{lagged}"),
///     }
/// }
/// assert_eq!(names, ["STOP", "SHUTDOWN"]);
/// assert_eq!(client.closed(), qmp_blocking::CloseReason::Quit);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Events {
    subscription: Subscription,
    /// Not kept alive from here: where it is gone, what is queued is all there is.
    io: Weak<ThreadIo>,
}

impl Events {
    pub(crate) fn new(subscription: Subscription, io: &Arc<ThreadIo>) -> Self {
        Self { subscription, io: Arc::downgrade(io) }
    }

    /// The next event if it comes within `timeout`; `None` if not, or if there will be none.
    ///
    /// Zero takes what is there and does not wait.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<Event, Lagged>> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<Result<Event, Lagged>> {
        let poll = |waker: &Waker| self.subscription.poll_next(waker);
        // What is here already takes no turn at the socket.
        if let Poll::Ready(next) = poll(Waker::noop()) {
            return next;
        }
        match self.io.upgrade() {
            Some(io) => io.wait(deadline, |waker| Progress::by_socket(poll(waker))).flatten(),
            None => match poll(Waker::noop()) {
                Poll::Ready(next) => next,
                Poll::Pending => None,
            },
        }
    }
}

impl Iterator for Events {
    type Item = Result<Event, Lagged>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }
}
