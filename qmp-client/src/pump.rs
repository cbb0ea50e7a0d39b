//! A socket in front of streams that are none: two threads carry the bytes.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

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

pub(crate) fn start_pumps(
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
pub(crate) fn carry(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
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
