//! A connection for the length of a function.

use std::io;
use std::time::Duration;

use qmp_client::{Address, ConnectError};

use crate::{Builder, Client, callbacks};

/// Connects, runs a function with the client, waits, and closes: see [`Builder::scope`].
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use qmp_server::Machine;
/// use qmp_server::net::Server;
///
/// let server = Server::bind("tcp:127.0.0.1:0", Machine::new())?;
/// let replies = Arc::new(AtomicUsize::new(0));
/// let counted = replies.clone();
/// qmp_blocking::scope(server.address(), |api| {
///     api.query_then("status", move |_| {
///         counted.fetch_add(1, Ordering::SeqCst);
///     })
/// })??;
/// // Its end has waited for the callback.
/// assert_eq!(replies.load(Ordering::SeqCst), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`connect`](crate::connect).
pub fn scope<T>(
    address: impl TryInto<Address, Error: Into<ConnectError>>,
    run: impl FnOnce(&Client) -> T,
) -> Result<T, ConnectError> {
    Builder::new().scope(address, run)
}

impl Builder {
    /// Connects, runs a function with the client, waits until everything that was submitted is
    /// answered and the callbacks have returned, as [`Client::wait_idle`] does, and closes the
    /// connection, also for the clones that were made of the client.
    ///
    /// What the function returns is returned. If it panics, the connection is closed at once.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). From inside a callback, where the wait at its end is refused,
    /// it is an I/O error of the kind [`Deadlock`](io::ErrorKind::Deadlock), and nothing is run.
    pub fn scope<T>(
        &self,
        address: impl TryInto<Address, Error: Into<ConnectError>>,
        run: impl FnOnce(&Client) -> T,
    ) -> Result<T, ConnectError> {
        if callbacks::is_inside() {
            let text = "a scope waits for callbacks at its end, so it must not begin inside one";
            return Err(io::Error::new(io::ErrorKind::Deadlock, text).into());
        }
        let scope = Scope(self.connect(address)?);
        let outcome = run(&scope.0);
        // Without a deadline, so it ends when it is idle: there is no other way to fail here.
        let _ = scope.0.wait_idle(None);
        Ok(outcome)
    }
}

/// However it is left, the connection is closed.
struct Scope(Client);

impl Drop for Scope {
    fn drop(&mut self) {
        // Nothing is awaited: what had to be, was.
        let _ = self.0.close(Duration::ZERO);
    }
}
