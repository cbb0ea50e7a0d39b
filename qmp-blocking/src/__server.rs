//! The private parts of this crate that `qmp-server` uses. They are not a part of what this crate promises, and may change in
//! any version: `qmp-server` names an exact one.

use std::sync::Arc;
use std::time::Duration;

use qmp_client::{Error, EventLimits, SharedConnection};

use crate::Client;

pub use crate::client::deadline;
pub use crate::io::notifier::{Notifier, poll};
pub use crate::lock::lock;

/// The parts of a server's client that sharing the server needs.
pub trait Upstream {
    /// The state of its connection.
    fn shared(&self) -> &Arc<SharedConnection>;

    /// Sends what may be sent now.
    fn flush(&self);

    /// The timeout of a command.
    fn command_timeout(&self) -> Option<Duration>;

    /// The limits of a subscriber's queue.
    fn event_limits(&self) -> EventLimits;

    /// Refuses a command that the server does not offer, if the client was built to do so.
    ///
    /// # Errors
    ///
    /// As [`Client::supports`], and [`Error::UnknownCommand`].
    fn check_offered(&self, command: &str) -> Result<(), Error>;
}

impl Upstream for Client {
    fn shared(&self) -> &Arc<SharedConnection> {
        &self.io().shared
    }

    fn flush(&self) {
        self.io().flush();
    }

    fn command_timeout(&self) -> Option<Duration> {
        self.timeout()
    }

    fn event_limits(&self) -> EventLimits {
        Self::event_limits(self)
    }

    fn check_offered(&self, command: &str) -> Result<(), Error> {
        Self::check_offered(self, command)
    }
}
