//! Between a client and a server.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use qmp_blocking::__server::lock;
use qmp_blocking::__server::poll;
use qmp_client::descriptors;
use qmp_proto::trace::Direction;
use rustix::event::{PollFd, PollFlags};
use rustix::net::Shutdown;

use super::receive::receive;

/// What is read at once, in bytes.
const BUFFER: usize = 64 << 10;

/// Carries what two stream sockets say to each other, descriptors included, until both have ended;
/// then both are closed. Neither notices that it does not talk to the other itself.
///
/// Where one side ends its stream, the other finds the end of it, and may still say what there is to
/// say: as QEMU does, which answers what came before. If the client is gone, and does not only end its stream,
/// the server's connection is closed at once, as QEMU drops what such a client has said last. So at most
/// 64 KiB are held for either side. The relay does not wait for a client that has left.
///
/// `see` is shown every piece before it goes on, and an empty one where a side's stream ends. It is
/// called by one thread at a time, of two. A [`Recorder`](qmp_proto::trace::Recorder) makes a
/// trace of it, and the example `record` a program. Where the server's end is no Unix socket,
/// descriptors are closed here.
///
/// # Errors
///
/// The error of `see`, which ends it all. How either side ended is none.
pub fn relay(
    client: impl Into<OwnedFd>,
    server: impl Into<OwnedFd>,
    see: impl FnMut(Direction, &[u8]) -> io::Result<()> + Send,
) -> io::Result<()> {
    let (client, server, see) = (client.into(), server.into(), Mutex::new(see));
    let see = |direction, bytes: &[u8]| lock(&see)(direction, bytes);
    thread::scope(|scope| {
        let sent = scope.spawn(|| {
            carry(&client, &server, Some(&client), |bytes| see(Direction::ToServer, bytes))
        });
        let received = carry(&server, &client, None, |bytes| see(Direction::ToClient, bytes));
        received.and(sent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Carries one direction to its end. An error of `see`, or its panic, ends the other too, and so does the end
/// of both directions of `needed`.
fn carry(
    from: &OwnedFd,
    to: &OwnedFd,
    needed: Option<&OwnedFd>,
    mut see: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut end = ShutDownOnDrop { sockets: [from, to], how: [Shutdown::Both, Shutdown::Both] };
    let mut buffer = vec![0; BUFFER];
    loop {
        let received = repeat(from, PollFlags::IN, needed, || receive(from.as_fd(), &mut buffer));
        // A connection that is reset has ended too.
        let (length, descriptor) = received.unwrap_or((0, None));
        see(&buffer[..length])?;
        if length > 0 && send(to, &buffer[..length], descriptor, needed).is_ok() {
            continue;
        }
        if !needed.is_some_and(is_gone) {
            end.how = [Shutdown::Read, Shutdown::Write];
        } else if length > 0 {
            see(&[])?;
        }
        return Ok(());
    }
}

fn send(
    to: &OwnedFd,
    mut bytes: &[u8],
    descriptor: Option<OwnedFd>,
    needed: Option<&OwnedFd>,
) -> io::Result<()> {
    let mut descriptor = descriptor.filter(|_| descriptors::carries_descriptors(to.as_fd()));
    while !bytes.is_empty() {
        let riding = descriptor.as_ref().map(AsFd::as_fd);
        let act = || descriptors::send(to.as_fd(), bytes, riding);
        let sent = repeat(to, PollFlags::OUT, needed, act)?;
        bytes = &bytes[sent..];
        descriptor = None;
    }
    Ok(())
}

/// Does what never blocks, again whenever the socket is ready for it. It fails if `needed` is gone.
fn repeat<T>(
    socket: &OwnedFd,
    ready: PollFlags,
    needed: Option<&OwnedFd>,
    mut act: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        if needed.is_some_and(is_gone) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match act() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let socket = PollFd::new(socket, ready);
                let needed = needed.map(|needed| PollFd::new(needed, PollFlags::empty()));
                poll(&mut [socket].into_iter().chain(needed).collect::<Vec<_>>(), None);
            }
            outcome => return outcome,
        }
    }
}

/// Whether both directions are closed.
fn is_gone(socket: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    poll(&mut polled, Some(Duration::ZERO));
    polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

struct ShutDownOnDrop<'a> {
    sockets: [&'a OwnedFd; 2],
    how: [Shutdown; 2],
}

impl Drop for ShutDownOnDrop<'_> {
    fn drop(&mut self) {
        for (socket, how) in self.sockets.into_iter().zip(self.how) {
            // It fails where the peer is gone, or the other thread has done so.
            let _ = rustix::net::shutdown(socket, how);
        }
    }
}
