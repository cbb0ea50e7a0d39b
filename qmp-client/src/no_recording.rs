//! In the place of `recording` where the feature `trace` is off: nobody sees a connection's messages.

use std::time::Instant;

use qmp_proto::{Config, Connection};

use crate::shared::Received;

/// There is none without the feature `trace`.
#[derive(Debug)]
pub enum Tap {}

/// There is none without the feature `trace`.
#[derive(Clone, Debug)]
pub enum Recording {}

impl Recording {
    /// There is none.
    pub fn tap(&self, _: &Config, _: Instant) -> Tap {
        match *self {}
    }
}

impl Tap {
    pub(crate) fn with_log(tap: Option<Self>, _: &Config) -> Option<Self> {
        tap
    }

    pub(crate) fn sent(&self, _: &[u8]) {}

    pub(crate) fn received(&self, _: &Received<'_>) {}

    pub(crate) fn look_at<F>(&self, _: &Connection<F>) {}

    pub(crate) fn tell(&self) {}
}

/// A builder has no `record` without the feature `trace`.
#[doc(hidden)]
#[macro_export]
macro_rules! recording_setter {
    () => {};
}
