//! A lock for the time in which a socket's file is made or replaced.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The pause between two attempts at a lock that another program holds.
const PAUSE: Duration = Duration::from_millis(1);

/// Keeps other programs with this library from making or replacing a socket file in the same folder.
///
/// The folder itself is locked, so no file is made, and the lock of a killed program ends with it.
#[derive(Debug)]
pub(super) struct FolderLock {
    /// `None` if there cannot be a lock.
    _folder: Option<File>,
}

impl FolderLock {
    /// Waits for the lock of the folder of a socket file, up to the timeout.
    ///
    /// There is no lock if the folder may not be read, or if its file system has no locks.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if another program holds the lock for too long.
    pub(super) fn acquire(socket: &Path, timeout: Duration) -> io::Result<Self> {
        let Ok(folder) = File::open(folder_of(socket)) else { return Ok(Self { _folder: None }) };
        let deadline = Instant::now() + timeout;
        loop {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _folder: Some(folder) }),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return Ok(Self { _folder: None }),
            }
            if Instant::now() >= deadline {
                let text = "another program holds the lock of its folder";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            thread::sleep(PAUSE);
        }
    }
}

fn folder_of(socket: &Path) -> &Path {
    match socket.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
