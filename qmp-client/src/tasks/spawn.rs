//! QEMU as a child that inherits its end of the connection.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use async_process::{Child, Command};

use crate::connect_error::ConnectError;
use crate::spawn;

/// Starts the program; gives our end of the socket.
pub(super) fn spawn(mut command: Command) -> Result<(OwnedFd, Child), ConnectError> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = command
        .args(spawn::ARGUMENTS)
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .map_err(|error| spawn::not_started(command.get_program(), error))?;
    // With the command goes our copy of the child's end, so that the child's death is seen.
    drop(command);
    Ok((ours.into(), child))
}

/// Ends a child with which connecting failed, and tells the reason.
pub(super) async fn reap(mut child: Child, error: ConnectError) -> ConnectError {
    // A program that has ended keeps its own status.
    let _ = child.kill();
    spawn::why(error, child.status().await)
}

/// Kills a child whose parent gives up while they connect.
pub(super) struct Guard<'a> {
    child: &'a mut Child,
    armed: bool,
}

impl<'a> Guard<'a> {
    pub(super) fn new(child: &'a mut Child) -> Self {
        Self { child, armed: true }
    }

    pub(super) fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.child.kill();
        }
    }
}
