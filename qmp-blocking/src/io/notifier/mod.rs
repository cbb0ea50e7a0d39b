//! Waking a thread that waits at a socket: by `eventfd` on Linux, by `socketpair` on any Unix.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod eventfd;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod socketpair;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

#[cfg(any(target_os = "linux", target_os = "android"))]
use self::eventfd::Bell;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use self::socketpair::Bell;

/// Wakes the one thread that waits in [`wait_at`](Self::wait_at), now or when it next comes there.
#[derive(Debug)]
pub struct Notifier(Bell);

impl Notifier {
    /// One that is silent.
    ///
    /// # Errors
    ///
    /// If there is no file descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Bell::new()?))
    }

    /// Wakes the thread.
    pub fn notify(&self) {
        self.0.ring();
    }

    /// Waits for a notification, or for the socket, as long as `timeout` says; tells what the socket is
    /// ready for.
    pub fn wait_at(
        &self,
        socket: &OwnedFd,
        wanted: PollFlags,
        timeout: Option<Duration>,
    ) -> PollFlags {
        // A socket of which nothing is wanted would still report its end, again and again.
        let socket = if wanted.is_empty() { None } else { Some(PollFd::new(socket, wanted)) };
        self.wait(socket, timeout)
    }

    /// As [`wait_at`](Self::wait_at). The socket's end is reported even if nothing is wanted of it.
    pub fn wait_at_or_end(
        &self,
        socket: &OwnedFd,
        wanted: PollFlags,
        timeout: Option<Duration>,
    ) -> PollFlags {
        self.wait(Some(PollFd::new(socket, wanted)), timeout)
    }

    fn wait(&self, socket: Option<PollFd<'_>>, timeout: Option<Duration>) -> PollFlags {
        let nothing = PollFd::new(&self.0, PollFlags::empty());
        let is_polled = socket.is_some();
        let mut polled = [PollFd::new(&self.0, PollFlags::IN), socket.unwrap_or(nothing)];
        poll(&mut polled[..1 + usize::from(is_polled)], timeout);
        if !polled[0].revents().is_empty() {
            self.0.silence();
        }
        if is_polled { polled[1].revents() } else { PollFlags::empty() }
    }
}

/// Waits for one of these, as long as `timeout` says.
pub fn poll(polled: &mut [PollFd<'_>], timeout: Option<Duration>) {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    // Interrupted, it is as if nothing had happened: the caller looks again.
    let _ = rustix::event::poll(polled, timeout.as_ref());
}
