//! One connection: the connection that callers share, and the socket behind it.
//!
//! This file waits, reads and sends. `turns` decides which thread reads, `background` is the thread that reads while no
//! caller waits, and `notifier` wakes a thread that waits at a socket.

pub(crate) mod turns;
pub(crate) mod background;
pub(crate) mod notifier;

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use qmp_client::connect::Opened;
use qmp_client::connect::bridge::StreamError;
use qmp_client::{Error, Flushed, Pending, Received, SharedConnection, descriptors};
use qmp_proto::{Prepared, Raw, Refusal};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvFlags, Shutdown, sockopt};

use crate::io::notifier::{Notifier, poll};
use crate::io::turns::{ReadBuffer, Successor, Turns};
use crate::lock;

/// How much longer than asked for a read may wait before the kernel is told anew.
const SLACK: Duration = Duration::from_millis(1);

/// How far a wait has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress<T> {
    /// It is over.
    Done(T),
    /// What is awaited comes from the server, or with the end of the socket.
    Reads,
    /// Another thread may bring it about, and nothing would tell a thread that reads.
    Parks,
}

impl<T> Progress<T> {
    /// Of something that comes from the server and from nowhere else.
    pub(crate) fn by_socket(poll: Poll<T>) -> Self {
        Self::new(poll, true)
    }

    pub(crate) fn new(poll: Poll<T>, by_socket: bool) -> Self {
        match poll {
            Poll::Ready(found) => Self::Done(found),
            Poll::Pending if by_socket => Self::Reads,
            Poll::Pending => Self::Parks,
        }
    }
}

/// A connection, shared by its callers and its background thread.
#[derive(Debug)]
pub(crate) struct ThreadIo {
    pub(crate) shared: Arc<SharedConnection>,
    pub(crate) turns: Turns,
    socket: OwnedFd,
    stream_error: StreamError,
    /// Wakes the background thread.
    background: Notifier,
    background_sleep: Mutex<Sleep>,
}

/// The sleep of the background thread, unless it is woken.
#[derive(Debug)]
enum Sleep {
    Awake,
    Until(Instant),
    Endless,
}

impl Sleep {
    fn until(timeout: Duration) -> Self {
        Instant::now().checked_add(timeout).map_or(Self::Endless, Self::Until)
    }

    /// Whether the thread may miss this moment. A thread that is awake may have looked already.
    fn lasts_past(&self, at: Instant) -> bool {
        match self {
            Self::Awake | Self::Endless => true,
            Self::Until(end) => *end > at,
        }
    }
}

impl ThreadIo {
    /// Moves bytes over a connected stream socket in blocking mode.
    pub(crate) fn new(shared: Arc<SharedConnection>, opened: Opened) -> io::Result<Self> {
        let Opened { socket, error: stream_error, .. } = opened;
        Ok(Self {
            shared,
            turns: Turns::new(),
            socket,
            stream_error,
            background: Notifier::new()?,
            background_sleep: Mutex::new(Sleep::Awake),
        })
    }

    /// Waits until `poll` says that it is done; `None` at the deadline. Meanwhile it reads the
    /// socket, if nobody else does and what is awaited comes that way.
    pub(crate) fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut(&Waker) -> Progress<T>,
    ) -> Option<T> {
        let waker = this_threads_waker();
        let mut visit = Visit::new(self, None);
        loop {
            let reads = match poll(&waker) {
                Progress::Done(found) => return Some(found),
                Progress::Reads => true,
                Progress::Parks => false,
            };
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return None;
            }
            visit.leave_to_background(!reads);
            match &mut visit.buffer {
                Some(buffer) => self.read(buffer, deadline),
                None if !reads => turns::park(deadline),
                None => match self.turns.take_or_park() {
                    // The reader before may have handed it over since we looked: look again.
                    taken @ Some(_) => visit.buffer = taken,
                    None => {
                        visit.parked = true;
                        self.turns.park(deadline);
                    }
                },
            }
        }
    }

    /// Waits for a command's end, or gives it up at its deadline.
    pub(crate) fn wait_for(
        &self,
        mut pending: Pending,
        deadline: Option<Instant>,
    ) -> Result<Raw, Error> {
        let outcome = self.wait(deadline, |waker| {
            let poll = pending.poll(waker);
            Progress::new(poll, pending.has_begun())
        });
        match outcome {
            Some(outcome) => Ok(outcome?),
            // Those behind it may have their turn.
            None => {
                let outcome = pending.give_up();
                self.flush();
                outcome
            }
        }
    }

    /// Accepts a command, and sends it at once if it is alone or out-of-band. With others outstanding
    /// it is sent together with those that are accepted behind it: by whoever waits or reads next, or in
    /// a moment by the background thread. So any number of them cost few writes, and none is delayed
    /// behind which the server has nothing to do.
    ///
    /// At its deadline a reader or the background thread ends it.
    pub(crate) fn begin(
        self: &Arc<Self>,
        prepared: Prepared<OwnedFd>,
        deadline: Option<Instant>,
    ) -> Result<Pending, Refusal> {
        let passes = prepared.is_out_of_band();
        let pending = self.shared.execute(prepared, deadline)?;
        if passes || pending.was_alone() {
            self.flush();
        } else if self.turns.put_off() == Successor::Background {
            self.notify();
        }
        Ok(pending)
    }

    /// Sends what [`begin`](Self::begin) did not, and nobody has since.
    pub(crate) fn send_put_off(&self) {
        if self.turns.is_put_off() {
            self.flush();
        }
    }

    /// Sends what can be sent now. What does not fit is the next reader's to send, or the background
    /// thread's.
    pub(crate) fn flush(&self) {
        if self.shared.reads_first() {
            // A thread that reads finds what is there itself.
            let mut visit = Visit::new(self, self.turns.take_if_free());
            if let Some(buffer) = &mut visit.buffer {
                self.drop_what_came(buffer);
            }
        }
        self.send();
    }

    /// Reads what a guest agent sent unasked, which is dropped, before a command goes out.
    fn drop_what_came(&self, buffer: &mut ReadBuffer) {
        while self.shared.reads_first() {
            match rustix::net::recv(&self.socket, &mut *buffer.bytes, RecvFlags::DONTWAIT) {
                Ok((length, _)) if length > 0 => {
                    self.shared.receive(Received::Bytes(&buffer.bytes[..length]));
                }
                // The next read finds the same.
                _ => return,
            }
        }
    }

    fn send(&self) {
        self.turns.sends();
        let socket = self.socket.as_fd();
        match self.shared.flush(|bytes, descriptor| descriptors::send(socket, bytes, descriptor)) {
            Flushed::All => self.notify_if_timed(),
            Flushed::Blocked => self.notify(),
            // What the server said before is still read, up to the end of the stream.
            Flushed::Failed => self.shut_down(),
        }
    }

    /// The connection is over: everyone who still waits at the socket is woken, and the server
    /// learns it.
    pub(crate) fn finish(&self) {
        self.shut_down();
        self.notify();
    }

    /// For the background thread: waits for the notifier, and sends what had found no room.
    pub(crate) fn doze(&self, timeout: Option<Duration>) {
        let ready = self.poll_in_background(false, timeout);
        self.serve(ready, None);
    }

    /// For the background thread: as [`doze`](Self::doze), and reads what comes while nobody does.
    pub(crate) fn listen(&self, timeout: Option<Duration>) {
        let ready = self.poll_in_background(true, timeout);
        let buffer = self.turns.take_if_free();
        let mut visit = Visit::new(self, buffer);
        self.serve(ready, visit.buffer.as_mut());
    }

    fn poll_in_background(&self, listening: bool, timeout: Option<Duration>) -> PollFlags {
        let next = self.handle_timeouts().map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.into_iter().chain(next).min();
        *lock(&self.background_sleep) = match timeout {
            Some(timeout) => Sleep::until(timeout),
            None => Sleep::Endless,
        };
        let ready = self.background.wait_at(&self.socket, self.wanted(listening), timeout);
        *lock(&self.background_sleep) = Sleep::Awake;
        ready
    }

    /// Wakes the background thread if it would sleep past the next timeout.
    fn notify_if_timed(&self) {
        if !self.shared.is_timed() {
            return;
        }
        let next = self.shared.poll_timeout(Instant::now());
        if next.is_some_and(|at| lock(&self.background_sleep).lasts_past(at)) {
            self.notify();
        }
    }

    /// Does what is due. Returns when the next timeout is.
    fn handle_timeouts(&self) -> Option<Instant> {
        if !self.shared.is_timed() {
            return None;
        }
        let now = Instant::now();
        let next = self.shared.poll_timeout(now)?;
        if next > now {
            return Some(next);
        }
        self.shared.handle_timeout(now);
        self.flush();
        self.shared.poll_timeout(now)
    }

    /// Reads once, or until the deadline; sends too if bytes wait for room.
    fn read(&self, buffer: &mut ReadBuffer, deadline: Option<Instant>) {
        let deadline = deadline.into_iter().chain(self.handle_timeouts()).min();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Some systems refuse to limit the wait at a socket whose peer is gone.
        if self.shared.is_blocked() || self.limit_wait(buffer, left).is_err() {
            let mut polled = [PollFd::new(&self.socket, self.wanted(true))];
            poll(&mut polled, left);
            let ready = polled[0].revents();
            return self.serve(ready, Some(buffer));
        }
        self.receive_from_socket(buffer, RecvFlags::empty());
    }

    fn wanted(&self, reading: bool) -> PollFlags {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, reading);
        wanted.set(PollFlags::OUT, self.shared.is_blocked());
        wanted
    }

    /// Does what the socket is ready for.
    fn serve(&self, ready: PollFlags, buffer: Option<&mut ReadBuffer>) {
        if ready.contains(PollFlags::OUT) {
            self.flush();
        }
        match buffer {
            Some(buffer) if ready.intersects(!PollFlags::OUT) => {
                self.receive_from_socket(buffer, RecvFlags::DONTWAIT);
            }
            None if ready.intersects(PollFlags::HUP | PollFlags::ERR) => self.flush(),
            _ => {}
        }
    }

    fn receive_from_socket(&self, buffer: &mut ReadBuffer, flags: RecvFlags) {
        match rustix::net::recv(&self.socket, &mut *buffer.bytes, flags).map_err(io::Error::from) {
            Ok((0, _)) => {
                let error = self.stream_error.take();
                self.receive(error.as_ref().map_or(Received::Eof, Received::from));
            }
            Ok((length, _)) => {
                let open = self.shared.receive(Received::Bytes(&buffer.bytes[..length]));
                self.drop_what_came(buffer);
                self.go_on(open);
                buffer.fit(length);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ => self.receive(Received::from(&error)),
            },
        }
    }

    fn receive(&self, received: Received<'_>) {
        self.go_on(self.shared.receive(received));
    }

    /// A reply may have made room for more commands, and anything may have ended the connection.
    fn go_on(&self, open: bool) {
        match open {
            true => self.send(),
            false => self.finish(),
        }
    }

    /// Tells the kernel how long a read may wait, unless it knows well enough.
    fn limit_wait(&self, buffer: &mut ReadBuffer, left: Option<Duration>) -> io::Result<()> {
        let good_enough = match (buffer.timeout, left) {
            (None, None) => true,
            (Some(known), Some(left)) => known >= left && known - left <= SLACK,
            _ => false,
        };
        if !good_enough {
            // Zero would stand for no limit.
            let left = left.map(|left| left.max(Duration::from_micros(1)));
            sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, left)?;
            buffer.timeout = left;
        }
        Ok(())
    }

    /// Both ends of both directions: a blocked read returns, what came before it can still be read.
    fn shut_down(&self) {
        // It fails where the peer is gone already.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Wakes the background thread: it looks at everything once more.
    pub(crate) fn notify(&self) {
        self.background.notify();
    }
}

/// A thread's stay in [`ThreadIo::wait`]. However it leaves, somebody else goes on.
struct Visit<'a> {
    io: &'a ThreadIo,
    buffer: Option<ReadBuffer>,
    parked: bool,
    /// It waits without reading, and counts on the background thread.
    unattended: bool,
}

impl<'a> Visit<'a> {
    fn new(io: &'a ThreadIo, buffer: Option<ReadBuffer>) -> Self {
        Self { io, buffer, parked: false, unattended: false }
    }

    /// Begins or ends an unattended wait.
    fn leave_to_background(&mut self, unattended: bool) {
        match (self.unattended, unattended) {
            (false, true) => match self.io.turns.attend() {
                Successor::Background => self.io.notify(),
                // Waiting for a guest agent's session starts a timer.
                Successor::Found => self.io.notify_if_timed(),
            },
            (true, false) => self.io.turns.unattend(),
            _ => {}
        }
        self.unattended = unattended;
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.leave_to_background(false);
        if self.buffer.is_none() && !self.parked {
            return;
        }
        if self.io.turns.leave(self.buffer.take()) == Successor::Background {
            self.io.notify();
        }
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

fn this_threads_waker() -> Waker {
    thread_local! {
        static WAKER: OnceCell<Waker> = const { OnceCell::new() };
    }
    let new = || Waker::from(Arc::new(Unpark(thread::current())));
    WAKER.try_with(|waker| waker.get_or_init(new).clone()).unwrap_or_else(|_| new())
}

#[cfg(test)]
mod tests;
