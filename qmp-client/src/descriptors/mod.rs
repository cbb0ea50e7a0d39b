//! Descriptors that ride along with a command, and those that this process was started with.
//!
//! `getfd` and `add-fd` take a file from the client: its descriptor goes as `SCM_RIGHTS` with the
//! bytes of the command, over a Unix socket and nothing else.
//!
//! ```
//! use std::io::Read;
//! use std::os::fd::AsFd;
//! use std::os::unix::net::UnixStream;
//! use qmp_client::descriptors;
//!
//! let (ours, mut servers) = UnixStream::pair()?;
//! let file = std::fs::File::open("/dev/null")?;
//! assert!(descriptors::carries_descriptors(ours.as_fd()));
//!
//! let command = br#"{"execute": "getfd", "arguments": {"fdname": "null"}}"#;
//! let sent = descriptors::send(ours.as_fd(), command, Some(file.as_fd()))?;
//! // The file is on its way. What is left of the command goes without it.
//! assert_eq!(sent, command.len());
//! # drop(ours);
//! # servers.read_to_end(&mut Vec::new())?;
//! # Ok::<(), std::io::Error>(())
//! ```

// Descriptors that are sent are in this file, those that this process was started with in `inherited`.
mod inherited;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::io::retry_on_intr;
use rustix::net::{
    self, AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, sockopt,
};

pub use inherited::duplicate_inherited;

/// Sends what the socket takes at once of `bytes`, and the descriptor with their first byte.
///
/// It never blocks, whatever the socket's mode, and a closed peer is an error and no `SIGPIPE`. If
/// it returns `Ok(n)` and `n` is not 0, the descriptor has been sent: the rest of the bytes must go
/// without it, and the caller may close its own. After any error nothing was sent, neither bytes nor
/// the descriptor. The caller's descriptor is only lent; it stays open either way.
///
/// # Errors
///
/// - `WouldBlock`: the socket is full.
/// - `BrokenPipe` or `ConnectionReset`: the peer is gone.
/// - `InvalidInput`: a descriptor with no bytes to carry it.
/// - `Unsupported`: a descriptor, and a socket other than a Unix stream; the kernel would lose it
///   without a word.
/// - else what the kernel says of the socket, for instance that too many descriptors are on their
///   way (`ETOOMANYREFS`).
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    match descriptor {
        None => Ok(retry_on_intr(|| net::send(socket, bytes, flags()))?),
        Some(descriptor) => send_with(socket, bytes, descriptor),
    }
}

fn send_with(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> io::Result<usize> {
    if bytes.is_empty() {
        let text = "a descriptor needs at least one byte to ride on";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    if !carries_descriptors(socket) {
        let text = "only a Unix stream socket carries descriptors";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let descriptors = [descriptor];
    let rights = SendAncillaryMessage::ScmRights(&descriptors);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(rights) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let bytes = [IoSlice::new(bytes)];
    Ok(retry_on_intr(|| net::sendmsg(socket, &bytes, &mut control, flags()))?)
}

/// Apple's systems have no flag against SIGPIPE. Rust's runtime ignores that signal as a rule.
fn flags() -> SendFlags {
    #[cfg(target_vendor = "apple")]
    return SendFlags::DONTWAIT;
    #[cfg(not(target_vendor = "apple"))]
    return SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
}

/// Whether descriptors can be sent over `socket`: it is a Unix socket, and a stream.
///
/// It is `false` for anything else, what is no socket included.
pub fn carries_descriptors(socket: BorrowedFd<'_>) -> bool {
    let family = net::getsockname(socket).map(|address| address.address_family());
    family == Ok(AddressFamily::UNIX) && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
}
