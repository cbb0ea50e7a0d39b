//! A socket in front of files.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::connect::Opened;
#[cfg(doc)]
use crate::connect::bridge;
use crate::connect::bridge::{carry, start_pumps};

/// How long the file has to take the next bytes of a connection that has ended.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How much a file that is ready for some bytes takes without blocking: POSIX's least `PIPE_BUF`.
const PIECE: usize = 512;

/// As [`pump::socket_for`], but both files are dropped when the socket is closed. The writer is
/// dropped after it has taken what was sent, or when it takes nothing for a second.
pub(super) fn socket_for(reader: File, writer: File) -> io::Result<Opened> {
    start_pumps(
        move |socket| carry(Polled { file: &reader, socket }, socket),
        move |socket| carry(socket, Polled { file: &writer, socket }),
    )
}

/// A file that is not waited for when the other end of a socket is closed or shut down.
struct Polled<'a> {
    file: &'a File,
    socket: &'a UnixStream,
}

impl Polled<'_> {
    /// Waits until the file is ready, or the connection has ended; returns whether each is so.
    fn wait(&self, ready: PollFlags) -> io::Result<[bool; 2]> {
        // In this order: bytes that come after the end, which are for another client, are never
        // seen without it.
        let mut polled =
            [PollFd::new(self.file, ready), PollFd::new(self.socket, PollFlags::empty())];
        poll(&mut polled, None)?;
        Ok(polled.map(|polled| !polled.revents().is_empty()))
    }
}

impl Read for Polled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let [_, ended] = self.wait(PollFlags::IN)?;
            if ended {
                return Ok(0);
            }
            match self.file.read(buffer) {
                // Another process has read it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }
}

impl Write for Polled<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let [ready, _] = self.wait(PollFlags::OUT)?;
            if !ready && !becomes_writable(self.file)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.file.write(&bytes[..bytes.len().min(PIECE)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A terminal whose other end was closed.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => {
                    return Err(Errno::PIPE.into());
                }
                outcome => return outcome,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for the server of a client that is gone.
fn becomes_writable(file: impl AsFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(&file, PollFlags::OUT)];
    Ok(poll(&mut polled, Some(&PATIENCE))? > 0)
}
