//! Waking a thread that waits at a socket.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

/// Wakes the one thread that waits in [`wait_at`](Self::wait_at), now or when it next comes there.
#[derive(Debug)]
pub(crate) struct Nudge {
    /// A byte written to the first wakes the thread, which waits at the second.
    nudge: UnixStream,
    nudged: UnixStream,
}

impl Nudge {
    pub(crate) fn new() -> io::Result<Self> {
        let (nudge, nudged) = UnixStream::pair()?;
        nudge.set_nonblocking(true)?;
        nudged.set_nonblocking(true)?;
        Ok(Self { nudge, nudged })
    }

    pub(crate) fn nudge(&self) {
        // A full pipe has nudges enough in it.
        let _ = (&self.nudge).write(&[0]);
    }

    /// Waits for a nudge, or for the socket, as long as `timeout` says; tells what the socket is
    /// ready for.
    pub(crate) fn wait_at(
        &self,
        socket: &OwnedFd,
        wanted: PollFlags,
        timeout: Option<Duration>,
    ) -> PollFlags {
        let mut polled = [PollFd::new(&self.nudged, PollFlags::IN), PollFd::new(socket, wanted)];
        // A socket of which nothing is wanted would still report its end, again and again.
        let polled = if wanted.is_empty() { &mut polled[..1] } else { &mut polled[..] };
        poll(polled, timeout);
        if !polled[0].revents().is_empty() {
            // What is left wakes it once more.
            let _ = (&self.nudged).read(&mut [0; 64]);
        }
        polled.get(1).map_or(PollFlags::empty(), PollFd::revents)
    }
}

/// Waits for one of these, as long as `timeout` says.
pub(crate) fn poll(polled: &mut [PollFd<'_>], timeout: Option<Duration>) {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    // Interrupted, it is as if nothing had happened: the caller looks again.
    let _ = rustix::event::poll(polled, timeout.as_ref());
}
