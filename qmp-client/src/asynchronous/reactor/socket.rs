//! A stream socket, at the reactor that smol and async-std share.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use async_io::Async;
use rustix::net::{RecvFlags, Shutdown};

use crate::asynchronous::io::transport::Transport;
use crate::connect::Opened;
use crate::connect::bridge::StreamError;
use crate::descriptors;

/// Its mode does not matter: each call says itself that it must not block.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: Async<OwnedFd>,
    descriptors: bool,
    error: StreamError,
    /// The last read did not fill its buffer and nothing was sent since, so there is nothing to read until
    /// the reactor says so.
    drained: AtomicBool,
    /// Everyone who ends a connection says so, and the kernel is told once.
    shut_down: AtomicBool,
}

impl Socket {
    pub(crate) fn new(opened: Opened) -> io::Result<Self> {
        let Opened { socket, descriptors, error } = opened;
        let socket = Async::new_nonblocking(socket)?;
        let (drained, shut_down) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { socket, descriptors, error, drained, shut_down })
    }
}

impl Transport for Socket {
    fn try_send(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<usize> {
        let sent = descriptors::send(self.socket.as_fd(), bytes, descriptor)?;
        // The answer may be there when somebody looks.
        self.drained.store(false, Ordering::Relaxed);
        Ok(sent)
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.try_send(bytes, descriptor) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_writable(context))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (length, _) = rustix::net::recv(&self.socket, buffer, RecvFlags::DONTWAIT)?;
        match length {
            0 => self.error.take().map_or(Ok(0), Err),
            length => Ok(length),
        }
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.drained.load(Ordering::Relaxed) {
                ready!(self.socket.poll_readable(context))?;
                self.drained.store(false, Ordering::Relaxed);
            }
            match self.try_receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.drained.store(true, Ordering::Relaxed);
                }
                Ok(length) => {
                    self.drained.store(0 < length && length < buffer.len(), Ordering::Relaxed);
                    return Poll::Ready(Ok(length));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The reactor is the same for all.
    fn callers_may_receive(&self) -> bool {
        true
    }

    fn carries_descriptors(&self) -> bool {
        self.descriptors
    }

    fn shut_down(&self) {
        if self.shut_down.swap(true, Ordering::SeqCst) {
            return;
        }
        // It fails where the peer is gone already.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}
