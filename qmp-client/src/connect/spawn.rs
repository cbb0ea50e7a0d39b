//! QEMU as a child that inherits its end of the connection as standard input.
//!
//! There is no path to agree on, and no moment before the socket is there. It works with
//! QEMU 5.2 and newer.
//!
//! An adapter that may not block takes the parts: [`check`], [`ARGUMENTS`], [`not_started`],
//! [`give_room`] and [`Reaping`].

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::connect::error::ConnectError;

/// The arguments that make QEMU's standard input a monitor. No version of QEMU warns of them.
pub const ARGUMENTS: [&str; 4] =
    ["-chardev", "socket,id=qmp-spawn,fd=0", "-qmp", "chardev:qmp-spawn"];

/// How long a child has to end by itself after its connection has ended.
const GRACE: Duration = Duration::from_secs(5);

/// How much an error holds of a child's standard error, in bytes.
const KEPT: usize = 64 << 10;

/// How long to sleep between two looks at a child that is about to end.
const PAUSE: Duration = Duration::from_millis(1);

/// The size of a pipe from a child that is starting, in bytes.
const ROOM: usize = 1 << 20;

/// A pipe with less room than this, in bytes, may block its writer.
const LITTLE_ROOM: usize = 64 << 10;

/// Starts the program, with [`ARGUMENTS`] after its own; returns our end of the socket.
///
/// # Errors
///
/// [`ConnectError::NotStarted`], and [`ConnectError::Io`] if there are no descriptors left.
pub fn spawn(mut command: Command) -> Result<(OwnedFd, Child), ConnectError> {
    check(command.get_program(), command.get_args())?;
    let (ours, theirs) = UnixStream::pair()?;
    let child = command
        .args(ARGUMENTS)
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .map_err(|error| not_started(command.get_program(), error))?;
    // With the command goes our copy of the child's end, so that the child's death is seen.
    drop(command);
    give_room(Room::Starting, child.stdout.as_ref(), child.stderr.as_ref());
    Ok((ours.into(), child))
}

/// Ends the special treatment of a child whose start is complete.
pub fn started(child: &Child) {
    give_room(Room::Usual, child.stdout.as_ref(), child.stderr.as_ref());
}

/// Ends a child with which connecting failed. Returns the reason: see [`Reaping`].
pub fn reap(mut child: Child, error: ConnectError) -> ConnectError {
    let mut reaping = Reaping::new(error, child.stderr.take());
    while let Some(pause) = reaping.look(child.try_wait().ok().flatten()) {
        thread::sleep(pause);
    }
    // Both fail only if it has ended and was waited for.
    let _ = child.kill();
    let _ = child.wait();
    reaping.reason()
}

/// Finds out whether a child with which connecting failed ended by itself.
///
/// After an end of the connection the child has 5 s to end. It has them too if it may be blocked because its standard
/// error is full; that is read meanwhile. After any other failure there is one look.
#[derive(Debug)]
pub struct Reaping {
    error: ConnectError,
    until: Instant,
    stderr: Option<File>,
    tail: Vec<u8>,
    status: Option<ExitStatus>,
}

impl Reaping {
    /// Begins, with the error of connecting and the child's standard error, if that is a pipe to us.
    pub fn new(error: ConnectError, stderr: Option<impl Into<OwnedFd>>) -> Self {
        let stderr = stderr.map(|pipe| File::from(pipe.into()));
        let blocked = stderr.as_ref().is_some_and(|pipe| readable(pipe) > ROOM - LITTLE_ROOM);
        let may_end = blocked || matches!(error, ConnectError::Ended { .. });
        let grace = if may_end { GRACE } else { Duration::ZERO };
        Self { error, until: Instant::now() + grace, stderr, tail: Vec::new(), status: None }
    }

    /// Takes the child's status, if it has ended. Returns how long to pause before the next look; `None` after the
    /// last one, when the child is to be killed if it has not ended.
    pub fn look(&mut self, status: Option<ExitStatus>) -> Option<Duration> {
        self.read();
        self.status = status;
        (status.is_none() && Instant::now() < self.until).then_some(PAUSE)
    }

    /// Reads what is in the pipe now. Children of the ended child may hold the pipe open, so the end of the stream
    /// is not waited for.
    fn read(&mut self) {
        let Some(pipe) = &self.stderr else { return };
        // The bytes that were read before an error count.
        let _ = pipe.take(readable(pipe) as u64).read_to_end(&mut self.tail);
        self.tail.drain(..self.tail.len().saturating_sub(KEPT));
    }

    /// Why connecting failed: the program ended by itself, or else the error.
    ///
    /// A program that does not speak QMP may end well because its connection was closed. Then the error says more.
    pub fn reason(self) -> ConnectError {
        let closed_by_us =
            matches!(self.error, ConnectError::Ended { .. }) && !self.error.has_left();
        match self.status {
            Some(status) if !(closed_by_us && status.success()) => {
                let stderr = String::from_utf8_lossy(&self.tail).into_owned();
                ConnectError::Exited { status, stderr }
            }
            _ => self.error,
        }
    }
}

/// How many bytes are in a pipe.
fn readable(pipe: &File) -> usize {
    rustix::io::ioctl_fionread(pipe).map_or(0, |bytes| bytes.try_into().unwrap_or(usize::MAX))
}

/// Refuses arguments with which QEMU would leave its parent, and the socket with it.
///
/// # Errors
///
/// [`ConnectError::NotStarted`], with the kind `InvalidInput`.
pub fn check<'a>(
    program: &OsStr,
    mut arguments: impl Iterator<Item = &'a OsStr>,
) -> Result<(), ConnectError> {
    let daemonizes = |argument: &OsStr| argument == "-daemonize" || argument == "--daemonize";
    if !arguments.any(daemonizes) {
        return Ok(());
    }
    let text = "with -daemonize it would leave its standard input, which is the connection: leave \
                -daemonize out, or start it without spawn and connect to its -qmp address";
    Err(not_started(program, io::Error::new(io::ErrorKind::InvalidInput, text)))
}

/// A program that was not started.
pub fn not_started(program: &OsStr, error: io::Error) -> ConnectError {
    ConnectError::NotStarted { program: program.to_owned(), error }
}

/// How much the pipes from a child hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Enough for a child that writes much before it answers: nothing is read from it until then.
    Starting,
    /// The system's default.
    Usual,
}

/// Sets the size of the pipes from a child, on Linux. If that is refused, they stay as they are.
pub fn give_room(room: Room, stdout: Option<&impl AsFd>, stderr: Option<&impl AsFd>) {
    let pipes = [stdout.map(AsFd::as_fd), stderr.map(AsFd::as_fd)];
    #[cfg(any(target_os = "linux", target_os = "android"))]
    for pipe in pipes.into_iter().flatten() {
        let size = match room {
            Room::Starting => ROOM,
            Room::Usual => 64 << 10,
        };
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, size);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (room, pipes);
}
