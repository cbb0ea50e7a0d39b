//! What is needed of a runtime.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::asynchronous::io::driver::Driver;

/// A timer.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a runtime starts a task and how it sleeps.
///
/// A type that implements it has no values as a rule: `pub enum Smol {}`.
pub trait Runtime: 'static {
    /// Starts a task that runs by itself until the connection has ended.
    fn spawn(driver: Driver);

    /// Sleeps for so long.
    fn sleep(time: Duration) -> Sleep;
}

/// Waits for a future so long at most; `None` for as long as it takes. Gives `None` when the time
/// is over first.
pub(crate) async fn within<T>(
    sleep: fn(Duration) -> Sleep,
    timeout: Option<Duration>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let future = async { Some(future.await) };
    match timeout {
        None => future.await,
        Some(timeout) => {
            let late = async {
                sleep(timeout).await;
                None
            };
            futures_lite::future::or(future, late).await
        }
    }
}
