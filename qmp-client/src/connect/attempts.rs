//! Whether to try again, and when.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::socket_error::{SocketError, Step};
use crate::address::Address;

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Pauses that grow.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// The next one, which is not longer than the time that is left.
    pub(super) fn next(&mut self, left: Duration) -> Duration {
        let pause = self.0.min(left);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// The attempts to connect to one address: whether to make another, and after what pause.
///
/// ```
/// use std::time::{Duration, Instant};
/// use qmp_client::connect::{Attempts, try_unix};
///
/// # let path = std::path::Path::new("/nonexistent/qmp.sock");
/// let deadline = Instant::now() + Duration::from_secs(10);
/// let mut attempts = Attempts::new(path.into(), deadline);
/// if let Err(error) = try_unix(path) {
///     let pause = attempts.again(error)?; // it ends here if there is no sense in trying again
///     // Sleep for `pause`, in the way of the runtime, and try again.
///     assert_eq!(pause, Duration::from_millis(1));
/// }
/// # Ok::<(), qmp_client::connect::SocketError>(())
/// ```
#[derive(Debug)]
pub struct Attempts {
    address: Address,
    started: Instant,
    deadline: Instant,
    pauses: Pauses,
}

impl Attempts {
    /// The time that an error later names begins now.
    pub fn new(address: Address, deadline: Instant) -> Self {
        Attempts { address, started: Instant::now(), deadline, pauses: Pauses::default() }
    }

    /// After a failed attempt: how long to pause before the next one.
    ///
    /// The pauses grow, and the last one ends at the deadline.
    ///
    /// # Errors
    ///
    /// When there is to be no other attempt: the deadline has passed, or `error` is none of those
    /// that may pass by themselves.
    pub fn again(&mut self, error: io::Error) -> Result<Duration, SocketError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timed_out = error.kind() == io::ErrorKind::TimedOut;
        if left.is_zero() || !(may_pass(&error) || timed_out) {
            return Err(self.end(Step::Connect, error));
        }
        Ok(self.pauses.next(left))
    }

    /// The end of it because the host's name was not resolved.
    pub(crate) fn unresolved(&self, error: io::Error) -> SocketError {
        self.end(Step::Resolve, error)
    }

    fn end(&self, step: Step, error: io::Error) -> SocketError {
        SocketError::new(self.address.clone(), step, self.started.elapsed(), error)
    }
}

/// Whether the error is one of a server that is starting, busy or quitting.
pub(super) fn may_pass(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    let quitting = matches!(errno, Some(Errno::CONNRESET | Errno::CONNABORTED));
    quitting || matches!(errno, Some(Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN))
}
