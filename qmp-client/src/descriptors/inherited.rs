//! Descriptors that this process was started with.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A descriptor of one's own for an open one that is known by its number only, as in `fd:7`.
///
/// The number is one that the parent process opened for this one. The new descriptor is closed on
/// exec.
///
/// The inherited descriptor itself stays open, since its owner is unknown. So a connection does not
/// end when the new descriptor is dropped: shut the socket down first
/// ([`UnixStream::shutdown`](std::os::unix::net::UnixStream::shutdown)). Children of this process
/// inherit the old descriptor as it did.
///
/// # Limits
///
/// 0, 1 and 2 can be had on every Unix; other numbers on Linux 5.6 or newer, where a sandbox may
/// forbid it (`pidfd_getfd`).
///
/// # Errors
///
/// - `EBADF`: there is no open descriptor of that number.
/// - `PermissionDenied` or `Unsupported`: the system cannot do it, or forbids it.
/// - else what the kernel says, for instance that no more descriptors may be opened.
pub fn duplicate_inherited(fd: u32) -> io::Result<OwnedFd> {
    match fd {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        1 => io::stdout().as_fd().try_clone_to_owned(),
        2 => io::stderr().as_fd().try_clone_to_owned(),
        _ => duplicate_numbered(fd),
    }
}

/// Asks the kernel for a descriptor of this very process by its number.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn duplicate_numbered(fd: u32) -> io::Result<OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let number = i32::try_from(fd).map_err(|_| rustix::io::Errno::BADF)?;
    let this_process = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(this_process, number, PidfdGetfdFlags::empty())?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn duplicate_numbered(_: u32) -> io::Result<OwnedFd> {
    let text = "descriptors other than 0, 1 and 2 can be had by number on Linux alone";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
