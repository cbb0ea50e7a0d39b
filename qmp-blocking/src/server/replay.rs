//! A recorded session as a server.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use qmp_client::descriptors;
use qmp_proto::trace::{Mismatch, Replay, Trace};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::receive::receive;

/// What is read at once, in bytes.
const BUFFER: usize = 16 << 10;

/// Why a session was not replayed to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The client did otherwise than the trace says.
    Mismatch(Mismatch),
    /// The socket cannot be waited for.
    Io(io::Error),
}

/// Plays a [`Trace`] to the client at the other end of a stream socket, up to the trace's end: see
/// [`Replay`] for what has to be the same. Then the socket is closed.
///
/// A [`Listener`](super::Listener) accepts such a client. It is waited for as long as it takes;
/// where the trace ends with the client's end, for that too.
///
/// # Errors
///
/// Where the client did otherwise, the first place.
///
/// ```
/// use qmp_blocking::server::replay;
///
/// let trace = r#"# QMP trace, version 1
/// 0.000000 <- {"QMP": {"capabilities": []}}
/// 0.000000 -> {"execute": "qmp_capabilities", "id": 1}
/// 0.000000 <- {"return": {}, "id": 1}
/// 0.000000 -> {"execute": "query-name", "id": 2}
/// 0.000000 <- {"return": {"name": "vm"}, "id": 2}
/// "#;
/// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// let trace = trace.parse()?;
/// let server = std::thread::spawn(move || replay(theirs, trace));
/// let client = qmp_blocking::from_stream(ours)?;
/// assert_eq!(client.query("name")?.as_str()?, r#"{"name": "vm"}"#);
/// server.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn replay(stream: impl Into<OwnedFd>, trace: Trace) -> Result<(), ReplayError> {
    let socket = stream.into();
    let mut replay = Replay::new(trace);
    let mut buffer = vec![0; BUFFER];
    loop {
        let wanted = send(&socket, &mut replay);
        if let Some(mismatch) = replay.mismatch() {
            return Err(ReplayError::Mismatch(mismatch.clone()));
        }
        if replay.is_finished() {
            return Ok(());
        }
        match rustix::event::poll(&mut [PollFd::new(&socket, wanted)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(ReplayError::Io(error.into())),
        }
        match receive(socket.as_fd(), &mut buffer) {
            Ok((length @ 1.., _)) => replay.handle_input(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => replay.handle_eof(),
        }
    }
}

/// Sends what the socket takes at once; tells what to wait for.
fn send(socket: &OwnedFd, replay: &mut Replay) -> PollFlags {
    while let Some(bytes) = replay.transmit() {
        match descriptors::send(socket.as_fd(), bytes, None) {
            Ok(sent) => replay.advance(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return PollFlags::IN | PollFlags::OUT;
            }
            Err(_) => {
                replay.handle_eof();
                break;
            }
        }
    }
    PollFlags::IN
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch(mismatch) => mismatch.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// The text holds the whole cause already; the source is for programs.
impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Mismatch(mismatch) => Some(mismatch),
            Self::Io(error) => Some(error),
        }
    }
}
