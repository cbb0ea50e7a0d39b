//! What all builders let choose.

use std::time::{Duration, Instant};

use qmp_proto::{Config, Phase};

use crate::address::Address;
use crate::connect::error::ConnectError;
use crate::recording::TapSource;
use crate::shared::SharedConnection;
use crate::shared::subscription::EventLimits;
use crate::shared::sync::Arc;

const A_CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The options of a connection. An adapter's builder has them in a field `options`, and gets its
/// setters from [`option_setters`](crate::option_setters).
#[derive(Clone, Debug)]
pub struct Options {
    /// How long connecting may take, up to the server being ready for commands: 10 s by default.
    pub deadline: Duration,
    /// How long a command may take.
    pub command_timeout: Option<Duration>,
    /// How much a subscriber's queue of events holds.
    pub event_limits: EventLimits,
    /// What the protocol lets choose.
    pub config: Config,
    /// Where connections are written down.
    pub recording: Option<Arc<dyn TapSource>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            command_timeout: None,
            event_limits: EventLimits::default(),
            config: Config::default(),
            recording: None,
        }
    }
}

impl Options {
    /// When connecting that began at `start` has to be done. Where the clock does not reach so far,
    /// as good as never.
    pub fn deadline_after(&self, start: Instant) -> Instant {
        start.checked_add(self.deadline).unwrap_or(start + A_CENTURY)
    }

    /// Why a listener at `address` that has waited since `start` gives up. `last` is the error of the last connection
    /// that ended before it was ready.
    pub fn nobody_came(
        &self,
        address: &Address,
        last: Option<ConnectError>,
        start: Instant,
    ) -> ConnectError {
        let (reason, evidence) = match last {
            Some(ConnectError::Ended { reason, evidence }) => (Some(reason), evidence),
            _ => (None, None),
        };
        let (address, dialect) = (address.clone(), self.config.dialect);
        ConnectError::NobodyCame { address, dialect, reason, evidence, waited: start.elapsed() }
    }

    /// A shared connection for a connection that began at `start`, over a transport that carries descriptors or
    /// does not.
    pub fn shared(&self, descriptors: bool, start: Instant) -> Arc<SharedConnection> {
        let mut config = self.config.clone();
        config.descriptors = descriptors;
        let tap = self.recording.as_ref().map(|recording| recording.tap(&config, start));
        SharedConnection::with_tap(config, tap)
    }
}

/// Which step was not reached when the deadline passed, on a connection that began at `start`.
pub fn not_ready(shared: &SharedConnection, start: Instant) -> ConnectError {
    let waited = start.elapsed();
    let (phase, evidence) =
        shared.inspect(|connection| (connection.phase(), connection.evidence()));
    match phase {
        Phase::Greeting => ConnectError::NoGreeting { waited, evidence },
        Phase::Syncing => ConnectError::NoAgent { waited, evidence },
        _ => ConnectError::NoCapabilities { waited, evidence },
    }
}

/// The setters of a builder that has a field `options` of the type [`Options`].
///
/// ```
/// #[derive(Default)]
/// struct Builder {
///     options: qmp_client::Options,
/// }
///
/// impl Builder {
///     qmp_client::option_setters!();
/// }
///
/// let builder = Builder::default().oob(true).window(4);
/// assert!(builder.options.config.oob);
/// ```
#[macro_export]
macro_rules! option_setters {
    () => {
        /// How long connecting may take, up to the server being ready for commands: 10 s by default.
        ///
        /// A server that is not there yet is waited for. A connection to an address that ends before it
        /// is ready is made again, as the server may be quitting for another to start. While it lasts
        /// it is kept, even without a greeting, as giving it up would fill the server's backlog. Only a
        /// server that greets and does not answer is connected to again, after three seconds.
        pub fn deadline(mut self, deadline: ::std::time::Duration) -> Self {
            self.options.deadline = deadline;
            self
        }

        /// How long a command may take; `None`, the default, for as long as it likes.
        ///
        /// With a guest agent, set one: it may die, or its guest may reboot, without a word.
        pub fn command_timeout(
            mut self,
            timeout: impl Into<Option<::std::time::Duration>>,
        ) -> Self {
            self.options.command_timeout = timeout.into();
            self
        }

        /// Speaks another dialect than the monitor's: with
        /// [`Dialect::GuestAgent`]($crate::names::Dialect::GuestAgent) every way to connect that this
        /// builder has leads to a guest agent.
        ///
        /// [`connect`](Self::connect) takes the address of its channel then, and waits for an agent
        /// that is not there yet, up to the [`deadline`](Self::deadline).
        pub fn dialect(mut self, dialect: $crate::names::Dialect) -> Self {
            self.options.config.dialect = dialect;
            self
        }

        /// How many in-band commands may be in flight: 64 by default, 7 with out-of-band execution,
        /// where 8 is the most. With a guest agent it is one.
        pub fn window(mut self, commands: usize) -> Self {
            self.options.config.window = Some(commands);
            self
        }

        /// Negotiates out-of-band execution where the server offers it. Off by default.
        pub fn oob(mut self, oob: bool) -> Self {
            self.options.config.oob = oob;
            self
        }

        /// The largest message from the server, in bytes: 128 MiB by default, 48 MiB from a guest agent.
        pub fn max_message(mut self, bytes: usize) -> Self {
            self.options.config.max_message = Some(bytes);
            self
        }

        /// How many values of a reply or an event are decoded at most: elements of arrays and members of
        /// objects, at all depths. 1,048,576 by default, 131,072 from a guest agent.
        pub fn max_values(mut self, values: usize) -> Self {
            self.options.config.max_values = Some(values);
            self
        }

        /// The deepest message from the server, in levels: 1,024 by default and at most.
        pub fn max_depth(mut self, levels: usize) -> Self {
            self.options.config.max_depth = levels;
            self
        }

        /// How many commands may be outstanding, and how many bytes of them may wait for their turn;
        /// beyond that, commands are refused. 16,384 and 128 MiB by default.
        pub fn max_queued(mut self, commands: usize, bytes: usize) -> Self {
            self.options.config.max_queued = commands;
            self.options.config.max_queued_bytes = bytes;
            self
        }

        /// How much a subscriber's queue of events holds.
        pub fn event_limits(mut self, limits: $crate::EventLimits) -> Self {
            self.options.event_limits = limits;
            self
        }

        /// Writes each connection down as text, for a look at it or for a replay: every message
        /// both ways, with the time since connecting began.
        ///
        /// Takes any writer, or a [`Recording`]($crate::Recording), which can do without the
        /// secrets.
        pub fn record(mut self, recording: impl Into<$crate::Recording>) -> Self {
            let recording: $crate::Recording = recording.into();
            self.options.recording = Some(::std::sync::Arc::new(recording));
            self
        }
    };
}
