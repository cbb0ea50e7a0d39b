//! QEMU as a child that inherits its end of the connection as standard input.
//!
//! There is no path to agree on, and no moment before the socket is there. It works with
//! QEMU 5.2 and newer.
//!
//! An adapter that may not block takes the parts: [`check`], [`ARGUMENTS`], [`not_started`],
//! [`give_room`], [`GRACE`] and [`exited`].

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::connect_error::ConnectError;

/// The arguments that make QEMU's standard input a monitor. No version of QEMU warns of them.
pub const ARGUMENTS: [&str; 4] =
    ["-chardev", "socket,id=qmp-spawn,fd=0", "-qmp", "chardev:qmp-spawn"];

/// How long a child that has closed the connection has to end by itself.
pub const GRACE: Duration = Duration::from_secs(2);

/// How much an error holds of a child's standard error, in bytes.
const KEPT: usize = 64 << 10;

/// How long to sleep between two looks at a child that is about to end.
const PAUSE: Duration = Duration::from_millis(1);

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
    give_room(Room::Starting, outputs(&child));
    Ok((ours.into(), child))
}

/// Ends the special treatment of a child whose start is complete.
pub fn started(child: &Child) {
    give_room(Room::Usual, outputs(child));
}

/// Ends a child with which connecting failed. Returns the reason: this error, or that the program
/// ended by itself, in whichever way its end of the connection was closed.
pub fn reap(mut child: Child, error: ConnectError) -> ConnectError {
    let status = if error.has_left() { ends_by_itself(&mut child) } else { None };
    if let Some(status) = status {
        return exited(status, child.stderr.take());
    }
    // Both fail only if it has ended and was waited for.
    let _ = child.kill();
    let _ = child.wait();
    error
}

/// The exit status of a child that closed the connection, if it ends within [`GRACE`].
fn ends_by_itself(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if start.elapsed() < GRACE => thread::sleep(PAUSE),
            outcome => return outcome.ok().flatten(),
        }
    }
}

fn outputs(child: &Child) -> [Option<BorrowedFd<'_>>; 2] {
    [child.stdout.as_ref().map(AsFd::as_fd), child.stderr.as_ref().map(AsFd::as_fd)]
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

/// A program that ended by itself, and the last of what it wrote to its standard error, if that is a
/// pipe to us.
pub fn exited(status: ExitStatus, stderr: Option<impl Into<OwnedFd>>) -> ConnectError {
    let stderr = stderr.map(|pipe| last_words(pipe.into())).unwrap_or_default();
    ConnectError::Exited { status, stderr }
}

/// Reads what is in a pipe now. Children of the ended child may hold the pipe open, so the end of the
/// stream is not waited for.
fn last_words(pipe: OwnedFd) -> String {
    let there = rustix::io::ioctl_fionread(&pipe).unwrap_or(0);
    let mut said = Vec::new();
    // The bytes that were read before an error count.
    let _ = File::from(pipe).take(there).read_to_end(&mut said);
    let last = said.len().saturating_sub(KEPT);
    String::from_utf8_lossy(&said[last..]).into_owned()
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
pub fn give_room(room: Room, pipes: [Option<BorrowedFd<'_>>; 2]) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    for pipe in pipes.into_iter().flatten() {
        let size = match room {
            Room::Starting => 1 << 20,
            Room::Usual => 64 << 10,
        };
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, size);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (room, pipes);
}
