//! A socket in front of streams that are none: two threads carry the bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{PollFd, PollFlags};

use crate::connect::Opened;

/// A stream socket behind which `reader` and `writer` are. A descriptor would get no further.
///
/// When the socket is closed, `writer` is dropped, after it has taken what was sent. `reader` is
/// dropped at its end, or after its next bytes: nothing can wake a thread that waits for a stream of
/// an unknown kind.
///
/// # Errors
///
/// Where there are no descriptors or threads left.
pub fn socket_for(
    reader: impl Read + Send + 'static,
    writer: impl Write + Send + 'static,
) -> io::Result<Opened> {
    start_pumps(|socket| carry(reader, socket), writer)
}

/// As [`socket_for`], but `reader` is dropped too when the socket is closed.
pub(crate) fn socket_for_file(
    reader: File,
    writer: impl Write + Send + 'static,
) -> io::Result<Opened> {
    start_pumps(move |socket| carry(Polled { reader: &reader, stop: socket }, socket), writer)
}

fn start_pumps(
    carry_in: impl FnOnce(&UnixStream) -> io::Result<()> + Send + 'static,
    writer: impl Write + Send + 'static,
) -> io::Result<Opened> {
    let (ours, theirs) = UnixStream::pair()?;
    let incoming = theirs.try_clone()?;
    start("qmp-pump-in", move || {
        // However it ends, the reader of the socket finds the end of the stream.
        let _ = carry_in(&incoming);
        let _ = incoming.shutdown(Shutdown::Write);
    })?;
    start("qmp-pump-out", move || {
        // What a failed writer has swallowed would be waited for in vain, so that ends it all.
        let carried = carry(&theirs, writer);
        let _ = theirs.shutdown(if carried.is_ok() { Shutdown::Read } else { Shutdown::Both });
    })?;
    Ok(Opened { socket: ours.into(), descriptors: false })
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(())
}

/// Unlike `io::copy`, flushes after each piece: a reply may depend on it.
fn carry(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                to.write_all(&buffer[..length])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
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
