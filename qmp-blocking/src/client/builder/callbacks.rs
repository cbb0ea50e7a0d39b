//! The options of callbacks.

use super::Builder;
use crate::callbacks::{OnPanic, Pool};

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
}
