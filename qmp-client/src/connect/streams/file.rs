//! A socket in front of a file to read from.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags};

use crate::connect::Opened;
#[cfg(doc)]
use crate::pump;
use crate::pump::{carry, start_pumps};

/// As [`pump::socket_for`], but `reader` is dropped too when the socket is closed.
pub(super) fn socket_for(reader: File, writer: impl Write + Send + 'static) -> io::Result<Opened> {
    start_pumps(move |socket| carry(Polled { reader: &reader, stop: socket }, socket), writer)
}

/// A file that ends, too, when the other end of a socket is closed or shut down.
struct Polled<'a> {
    reader: &'a File,
    stop: &'a UnixStream,
}

impl Read for Polled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // In this order: bytes that come after the stop, which are for somebody else, are never
            // seen without it.
            let mut polled = [
                PollFd::new(self.reader, PollFlags::IN),
                PollFd::new(self.stop, PollFlags::empty()),
            ];
            rustix::event::poll(&mut polled, None)?;
            if !polled[1].revents().is_empty() {
                return Ok(0);
            }
            match self.reader.read(buffer) {
                // Somebody else has read it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }
}
