//! A socket in front of streams that are none: two threads carry the bytes.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::connect::Opened;

/// The error that ended the streams behind a socket, which itself reports only the end of its stream.
///
/// A socket that leads to the server itself has none.
#[derive(Clone, Debug, Default)]
pub struct StreamError(Option<Arc<Mutex<Option<io::Error>>>>);

impl StreamError {
    fn of_streams() -> Self {
        Self(Some(Arc::default()))
    }

    /// Keeps the first error.
    fn keep(&self, error: io::Error) {
        if let Some(kept) = &self.0 {
            kept.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// Returns the error, once. A reader asks for it when it finds the end of the socket's stream.
    pub fn take(&self) -> Option<io::Error> {
        self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A stream socket behind which `reader` and `writer` are. A descriptor would get no further.
///
/// When the socket is closed, `writer` is dropped, after it has taken what was sent. `reader` is
/// dropped at its end, or after its next bytes. Nothing can wake a thread that waits for a stream of
/// an unknown kind, to read or to write.
///
/// # Errors
///
/// Where there are no descriptors or threads left.
pub fn socket_for(
    reader: impl Read + Send + 'static,
    writer: impl Write + Send + 'static,
) -> io::Result<Opened> {
    start_pumps(|socket| carry(reader, socket), |socket| carry(socket, writer))
}

/// Starts both threads. Each is given the far end of the socket.
pub(crate) fn start_pumps(
    carry_in: impl FnOnce(&UnixStream) -> io::Result<()> + Send + 'static,
    carry_out: impl FnOnce(&UnixStream) -> io::Result<()> + Send + 'static,
) -> io::Result<Opened> {
    let (ours, theirs) = UnixStream::pair()?;
    let incoming = theirs.try_clone()?;
    let error = StreamError::of_streams();
    // However it ends, the reader of the socket finds the end of the stream.
    start("qmp-pump-in", incoming, [Shutdown::Write, Shutdown::Write], &error, carry_in)?;
    // A failed write loses a command; the connection ends, because its reply cannot arrive.
    start("qmp-pump-out", theirs, [Shutdown::Read, Shutdown::Both], &error, carry_out)?;
    Ok(Opened { socket: ours.into(), descriptors: false, error })
}

/// Starts a thread that carries one direction, and then shuts the socket down: in the first way after
/// the end of a stream, in the second after an error or a panic.
fn start(
    name: &str,
    socket: UnixStream,
    [at_end, at_error]: [Shutdown; 2],
    error: &StreamError,
    carry: impl FnOnce(&UnixStream) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let error = error.clone();
    let run = move || {
        let mut end = ShutDownOnDrop { socket, how: at_error };
        match carry(&end.socket) {
            Ok(()) => end.how = at_end,
            Err(cause) => error.keep(cause),
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(())
}

struct ShutDownOnDrop {
    socket: UnixStream,
    how: Shutdown,
}

impl Drop for ShutDownOnDrop {
    fn drop(&mut self) {
        // It fails where the other end is gone.
        let _ = self.socket.shutdown(self.how);
    }
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
