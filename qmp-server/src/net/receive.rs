//! Receiving bytes, and the descriptors among them.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use qmp_blocking::__server::poll;
use rustix::event::{PollFd, PollFlags};
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, Shutdown, recvmsg,
};

/// As many as Linux sends with one message.
const MOST_DESCRIPTORS: usize = 253;

/// How long a client may go on writing to a server that has ended.
pub(super) const MOMENT: Duration = Duration::from_secs(1);

/// Ends a connection on which everything was sent: the client gets the end of the stream. Anything that it
/// still writes is read and dropped, until it leaves or the time has passed. A socket closed at once would
/// fail those writes, and over TCP the client would lose the last reply.
///
/// A shutdown of the socket by another thread ends the wait.
pub(super) fn linger(socket: &OwnedFd, time: Duration, buffer: &mut [u8]) {
    // It fails if the client is gone.
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
    let deadline = Instant::now() + time;
    loop {
        match receive(socket.as_fd(), buffer) {
            Ok((1.., _)) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(left(deadline)));
            }
            _ => break,
        }
        if left(deadline).is_zero() {
            break;
        }
    }
    let _ = rustix::net::shutdown(socket, Shutdown::Both);
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Receives what is there, and does not wait, whatever the socket's mode: so many bytes, 0 at the end
/// of the stream, and the descriptor that came with the first of them.
///
/// It counts with which byte a descriptor comes: the place for it may be taken by then. Of several
/// that came with one message the first counts, as in QEMU; the others are closed.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let length = safe_length(socket, buffer)?;
    receive_with_descriptor(socket, &mut buffer[..length])
}

/// How many bytes to read at once: where descriptors come with one of them, only the first, for
/// nothing tells with which.
fn safe_length(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
    let peeked = retry_on_intr(|| {
        let mut no_room = RecvAncillaryBuffer::default();
        recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut no_room, flags)
    })?;
    // What the kernel found no room for is descriptors: nothing else was asked for.
    Ok(if peeked.flags.contains(ReturnFlags::CTRUNC) { 1 } else { peeked.bytes })
}

fn receive_with_descriptor(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, receive_flags())
    })?;
    let mut first = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            first = first.or(descriptors.next());
        }
    }
    Ok((received.bytes, first))
}

/// Apple's systems cannot close descriptors on exec from the first.
fn receive_flags() -> RecvFlags {
    #[cfg(target_vendor = "apple")]
    return RecvFlags::DONTWAIT;
    #[cfg(not(target_vendor = "apple"))]
    return RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
}
