//! QEMU as a child that inherits its end of the connection as standard input.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use qmp_proto::CloseReason;

use crate::error::ConnectError;

/// What makes QEMU's standard input a monitor.
const ARGUMENTS: [&str; 4] = ["-chardev", "socket,id=qmp,fd=0", "-mon", "chardev=qmp,mode=control"];

/// Starts the program; gives our end of the socket.
pub(crate) fn spawn(mut command: Command) -> Result<(OwnedFd, Child), ConnectError> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = command
        .args(ARGUMENTS)
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .map_err(|error| not_started(&command, error))?;
    // With the command goes our copy of the child's end, so that the child's death is seen.
    drop(command);
    Ok((ours.into(), child))
}

fn not_started(command: &Command, error: io::Error) -> ConnectError {
    ConnectError::NotStarted { program: command.get_program().to_owned(), error }
}

/// Ends a child that is of no use, and says so if it had ended by itself.
pub(crate) fn reap(mut child: Child, error: ConnectError) -> ConnectError {
    // A program that has ended keeps its own status.
    let _ = child.kill();
    match (error, child.wait()) {
        (ConnectError::Ended(CloseReason::Eof { .. }), Ok(status)) => ConnectError::Exited(status),
        (error, _) => error,
    }
}
