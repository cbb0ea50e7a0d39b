//! What poll hears, on any Unix: the end of a pair of sockets.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

#[derive(Debug)]
pub(super) struct Bell {
    /// A byte written to the first is heard at the second.
    ringing: UnixStream,
    heard: UnixStream,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (ringing, heard) = UnixStream::pair()?;
        ringing.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        Ok(Self { ringing, heard })
    }

    pub(super) fn ring(&self) {
        // A full pipe rings enough.
        let _ = (&self.ringing).write(&[0]);
    }

    pub(super) fn silence(&self) {
        // What is left rings once more.
        let _ = (&self.heard).read(&mut [0; 64]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}
