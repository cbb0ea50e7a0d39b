//! QEMU as a child that inherits its end of the connection.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use async_process::{Child, Command};

use crate::asynchronous::runtime::Runtime;
use crate::connect::error::ConnectError;
use crate::connect::spawn::{self, Reaping, Room};

/// Starts the program; returns our end of the socket.
pub(crate) fn spawn(mut command: Command) -> Result<(OwnedFd, Child), ConnectError> {
    spawn::check(command.get_program(), command.get_args())?;
    let (ours, theirs) = UnixStream::pair()?;
    let child = command
        .args(spawn::ARGUMENTS)
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .map_err(|error| spawn::not_started(command.get_program(), error))?;
    // With the command goes our copy of the child's end, so that the child's death is seen.
    drop(command);
    spawn::give_room(Room::Starting, child.stdout.as_ref(), child.stderr.as_ref());
    Ok((ours.into(), child))
}

/// A child that is starting. It is killed if its parent gives up meanwhile.
pub(crate) struct Starting<'a> {
    child: &'a mut Child,
    armed: bool,
}

impl<'a> Starting<'a> {
    pub(crate) fn new(child: &'a mut Child) -> Self {
        Self { child, armed: true }
    }

    /// The process, for [`Connecting::with_child`](crate::connect::Connecting::with_child).
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its start is complete.
    pub(crate) fn started(mut self) {
        self.armed = false;
        spawn::give_room(Room::Usual, self.child.stdout.as_ref(), self.child.stderr.as_ref());
    }

    /// Ends a child with which connecting failed: see [`spawn::reap`].
    pub(crate) async fn reap<R: Runtime>(self, error: ConnectError) -> ConnectError {
        let stderr = self.child.stderr.take().and_then(|pipe| OwnedFd::try_from(pipe).ok());
        let mut reaping = Reaping::new(error, stderr);
        while let Some(pause) = reaping.look(self.child.try_status().ok().flatten()) {
            R::sleep(pause).await;
        }
        // Both fail only if it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.status().await;
        reaping.reason()
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.child.kill();
        }
    }
}
