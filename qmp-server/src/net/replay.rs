//! A recorded session as a server.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use qmp_client::descriptors;
use qmp_proto::trace::Trace;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::receive::{MOMENT, linger, receive};
use crate::{Mismatch, Replay};

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
/// [`Replay`] for what has to be the same. Then the socket is closed, after the client has left or had a
/// second to finish what it is writing.
///
/// It waits for the client as long as it takes. Where the trace ends with an end, `-> --` or `<- --`,
/// everything that the client says was compared. Where it ends with any other line, as when it was cut
/// off, the replay is over with that line, and what the client would have said then is not looked at:
/// add `-> --` to a trace for which that matters.
///
/// # Errors
///
/// Where the client did otherwise, the first place.
///
/// At a [`Listener`](super::Listener), for a program that takes an address:
///
/// ```
/// use qmp_server::net::{Listener, replay};
///
/// let trace = r#"# QMP trace, version 1
/// 0.000000 <- {"QMP": {"capabilities": []}}
/// 0.000000 -> {"execute": "qmp_capabilities", "id": 1}
/// 0.000000 <- {"return": {}, "id": 1}
/// 0.000000 -> {"execute": "query-name", "id": 2}
/// 0.000000 <- {"return": {"name": "vm"}, "id": 2}
/// 0.000000 -> --
/// "#;
/// let trace = trace.parse()?;
/// let folder = tempfile::tempdir()?;
/// let listener = Listener::bind(folder.path().join("qmp.sock"))?;
/// let address = listener.address().clone();
/// let server = std::thread::spawn(move || {
///     let client = listener.accept().expect("a client").expect("nobody stops it");
///     replay(client, trace)
/// });
///
/// let client = qmp_blocking::connect(address)?;
/// assert_eq!(client.query("name")?.as_str()?, r#"{"name": "vm"}"#);
/// drop(client);
/// server.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn replay(stream: impl Into<OwnedFd>, trace: Trace) -> Result<(), ReplayError> {
    let socket = stream.into();
    let mut replay = Replay::new(trace);
    let mut buffer = vec![0; BUFFER];
    let mut ended = false;
    loop {
        let mut wanted = send(&socket, &mut replay);
        // The end is told again and again.
        wanted.set(PollFlags::IN, !ended);
        if let Some(mismatch) = replay.mismatch() {
            return Err(ReplayError::Mismatch(mismatch.clone()));
        }
        if replay.is_finished() {
            linger(&socket, MOMENT, &mut buffer);
            return Ok(());
        }
        match rustix::event::poll(&mut [PollFd::new(&socket, wanted)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(ReplayError::Io(error.into())),
        }
        if ended {
            continue;
        }
        match receive(socket.as_fd(), &mut buffer) {
            Ok((length @ 1.., _)) => replay.handle_input(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) => {
                ended = true;
                replay.handle_eof();
            }
            Err(_) => replay.handle_failure(),
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
                replay.handle_failure();
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
