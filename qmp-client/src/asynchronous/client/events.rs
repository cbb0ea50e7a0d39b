//! A subscriber's events, as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::{Stream, StreamExt};
use qmp_proto::Event;

use crate::asynchronous::io::bell::Bell;
use crate::asynchronous::runtime::{Sleep, within};
use crate::shared::subscription::{Lagged, Subscription};

/// All events since the subscription, in order; it ends with the connection.
///
/// Each subscriber has a queue of its own, bounded in number and bytes
/// ([`EventLimits`](crate::EventLimits)): one that is too slow loses its own oldest events, finds
/// `Err(Lagged(n))` in their place, and delays nobody.
///
/// It keeps nothing alive: when the last [`Client`](crate::asynchronous::Client) is dropped, the connection ends,
/// and the stream after the events that had come by then. Dropping a future that waits for the next
/// event loses none.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { async_io::block_on(async {
/// use futures_lite::StreamExt;
/// use qmp_proto::commands::{Cont, Quit};
///
/// # let socket = server();
/// let (client, mut events) = Builder::new().from_stream_with_events(socket).await?;
/// client.execute(&Cont).await?;
/// client.execute(&Quit).await?;
/// let mut names = Vec::new();
/// while let Some(event) = events.next().await {
///     match event {
///         Ok(event) => names.push(event.name().to_owned()),
///         Err(lagged) => eprintln!("{lagged}"),
///     }
/// }
/// assert_eq!(names, ["RESUME", "SHUTDOWN"]);
/// # Ok(())
/// # })}
/// ```
#[must_use = "streams do nothing unless polled"]
#[derive(Debug)]
pub struct Events {
    subscription: Subscription,
    sleep: fn(Duration) -> Sleep,
    bell: Arc<Bell>,
}

impl Events {
    pub(crate) fn new(
        subscription: Subscription,
        sleep: fn(Duration) -> Sleep,
        bell: Arc<Bell>,
    ) -> Self {
        Self { subscription, sleep, bell }
    }

    /// The next event if it comes within `timeout`; `None` if not, or if there will be none.
    ///
    /// Zero takes what is there and does not wait.
    pub async fn next_timeout(&mut self, timeout: Duration) -> Option<Result<Event, Lagged>> {
        let waiting = Waiting(self);
        within(waiting.0.sleep, Some(timeout), waiting.0.next()).await.flatten()
    }
}

/// A wait for the next event. Dropped, it leaves no waker behind, so that callers receive again.
struct Waiting<'a>(&'a mut Events);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.subscription.stop_waiting();
    }
}

impl Stream for Events {
    type Item = Result<Event, Lagged>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.subscription.poll_next(context.waker());
        if polled.is_pending() {
            self.bell.expect_more();
        }
        polled
    }
}
