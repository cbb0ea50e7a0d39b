//! A handle that does not count.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Client, Handle};

impl Client {
    /// A handle that does not keep the connection alive, for a callback to capture.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = qmp_blocking::from_stream(server())?;
    /// use qmp_blocking::commands::{QueryStatus, Stop};
    ///
    /// let weak = client.downgrade();
    /// client.on_event("STOP", move |_| {
    ///     let Some(client) = weak.upgrade() else { return };
    ///     println!("{:?}", client.execute(&QueryStatus));
    /// }).detach();
    /// client.execute(&Stop)?;
    /// client.wait_idle(None)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn downgrade(&self) -> WeakClient {
        WeakClient { handle: Arc::downgrade(&self.handle), timeout: self.timeout }
    }
}

/// A handle that does not keep the connection alive: see [`Client::downgrade`].
#[derive(Clone, Debug)]
pub struct WeakClient {
    handle: Weak<Handle>,
    timeout: Option<Duration>,
}

impl WeakClient {
    /// The client, as long as there is one.
    pub fn upgrade(&self) -> Option<Client> {
        Some(Client { handle: self.handle.upgrade()?, timeout: self.timeout })
    }
}
