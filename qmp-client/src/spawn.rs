//! QEMU as a child that inherits its end of the connection as standard input.
//!
//! There is no path to agree on, and no moment at which the socket is not there yet. It works with
//! QEMU 7.2 and newer.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};

use qmp_proto::CloseReason;

use crate::connect_error::ConnectError;

/// What makes QEMU's standard input a monitor.
pub const ARGUMENTS: [&str; 4] =
    ["-chardev", "socket,id=qmp,fd=0", "-mon", "chardev=qmp,mode=control"];

/// Starts the program, with [`ARGUMENTS`] behind its own; gives our end of the socket.
///
/// # Errors
///
/// [`ConnectError::NotStarted`], and [`ConnectError::Io`] where there are no descriptors left.
pub fn spawn(mut command: Command) -> Result<(OwnedFd, Child), ConnectError> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = command
        .args(ARGUMENTS)
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .map_err(|error| not_started(command.get_program(), error))?;
    // With the command goes our copy of the child's end, so that the child's death is seen.
    drop(command);
    Ok((ours.into(), child))
}

pub(crate) fn not_started(program: &OsStr, error: io::Error) -> ConnectError {
    ConnectError::NotStarted { program: program.to_owned(), error }
}

/// Ends a child with which connecting failed, and tells the reason: this error, or that the program
/// had ended by itself.
pub fn reap(mut child: Child, error: ConnectError) -> ConnectError {
    // A program that has ended keeps its own status.
    let _ = child.kill();
    why(error, child.wait())
}

/// Why there was no connection to a child that ended so.
pub(crate) fn why(error: ConnectError, status: io::Result<ExitStatus>) -> ConnectError {
    match (error, status) {
        (ConnectError::Ended(CloseReason::Eof { .. }), Ok(status)) => ConnectError::Exited(status),
        (error, _) => error,
    }
}
