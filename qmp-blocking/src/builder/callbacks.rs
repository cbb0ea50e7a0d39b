//! The options of callbacks, and of what is refused here.

use super::Builder;
use crate::callbacks::{OnPanic, Pool};
use crate::client::Client;

impl Builder {
    /// How many threads a connection's callbacks have: 10 by default, and at least one. They are
    /// started when there is work for them. Without effect if there is a
    /// [`callback_pool`](Self::callback_pool).
    pub fn callback_threads(mut self, threads: usize) -> Self {
        self.callbacks.threads = Some(threads);
        self
    }

    /// Runs callbacks on this [`Pool`], which any number of connections may share, or on a pool that
    /// the program has: `|job| rayon::spawn(job)`.
    pub fn callback_pool(mut self, pool: impl Into<Pool>) -> Self {
        self.callbacks.pool = Some(pool.into());
        self
    }

    /// What a callback that panics does: by default it ends its client. [`OnPanic`] says why.
    pub fn on_callback_panic(mut self, on_panic: OnPanic) -> Self {
        self.callbacks.on_panic = on_panic;
        self
    }

    /// Does not send commands that the server does not offer: they fail with
    /// [`Error::UnknownCommand`](crate::Error::UnknownCommand). Off by default: the server's own
    /// error comes soon enough.
    ///
    /// Which commands there are is asked with the first command, as by
    /// [`Client::supports`](crate::Client::supports); where that fails, the first command fails with
    /// it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use qmp_blocking::{Builder, Error, Request};
    ///
    /// # let socket = server();
    /// let client = Builder::new().refuse_unknown(true).from_stream(socket)?;
    /// let error = client.execute_request(Request::new("blockdev-ad")).unwrap_err();
    /// assert_eq!(error, Error::UnknownCommand("blockdev-ad".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn refuse_unknown(mut self, refuse: bool) -> Self {
        self.refuse_unknown = refuse.then_some(Client::refuse_unknown);
        self
    }
}
