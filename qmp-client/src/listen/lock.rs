//! A lock for the time in which a socket's file is made, replaced or removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// The pause between two attempts at a lock that another holds.
const PAUSE: Duration = Duration::from_millis(1);

/// Keeps other programs with this library from making, replacing or removing the same socket file.
///
/// It is a locked file next to the socket's, named `.NAME.qmp-lock`. Dropped, it removes the file. One that a killed
/// program left behind is not locked, so it is taken over.
#[derive(Debug)]
pub(super) struct PathLock {
    path: PathBuf,
    /// `None` where there cannot be a lock.
    file: Option<File>,
}

impl PathLock {
    /// Waits for the lock of the socket file at `socket`, for so long at most.
    ///
    /// On a file system without locks there is none. Nor is there one in a folder where this program may not
    /// make files: it cannot make, replace or remove the socket there either.
    ///
    /// # Errors
    ///
    /// What the system says, with the lock's path; `AddrInUse` if another program holds the lock for too
    /// long.
    pub(super) fn acquire(socket: &Path, timeout: Duration) -> io::Result<Self> {
        let path = lock_path(socket).ok_or(io::ErrorKind::InvalidInput)?;
        let deadline = Instant::now() + timeout;
        loop {
            let file = match open(&path) {
                Err(error) if is_denied(&error) => return Ok(Self { path, file: None }),
                opened => opened?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path)? => return Ok(Self { path, file: Some(file) }),
                // Its holder has removed it since it was opened.
                Ok(()) | Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(_) => {
                    // It fails if another program has removed it.
                    let _ = fs::remove_file(&path);
                    return Ok(Self { path, file: None });
                }
            }
            if Instant::now() >= deadline {
                let text = format!("another program holds the lock {}", path.display());
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        if let Some(_locked) = self.file.take() {
            // Before the file is unlocked, so that it is not another's. It fails if the folder is gone.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn lock_path(socket: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(socket.file_name()?);
    name.push(".qmp-lock");
    Some(socket.with_file_name(name))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options.open(path)
}

fn is_denied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Whether the file is the one at the path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let file = file.metadata()?;
    match path.symlink_metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
