//! What a connection's clients and its driver share.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use qmp_proto::CommandId;

use crate::asynchronous::io::bell::Bell;
use crate::asynchronous::io::scratch;
use crate::asynchronous::io::transport::Transport;
use crate::shared::pending::{Pending, Standing};
use crate::shared::sync::{Arc, AtomicU8, Ordering};
use crate::shared::waiting::Wait;
use crate::shared::{Effect, Flushed, Manner, Received, SharedConnection};

/// How often one receives before others have their turn.
pub(crate) const ROUNDS: usize = 4;

/// The shared connection, and the transport behind it.
pub(crate) struct TaskIo {
    pub(crate) shared: Arc<SharedConnection>,
    pub(crate) transport: Box<dyn Transport>,
    /// Callers may receive too.
    pub(crate) callers_receive: bool,
    bell: StdArc<Bell>,
    /// Rings the bell. What is shared knows this one waker alone.
    ringer: Waker,
    /// One of the three below.
    receiving: AtomicU8,
}

const NOBODY: u8 = 0;
const SOMEBODY: u8 = 1;
/// And somebody else wanted to: the driver looks then.
const CONTENDED: u8 = 2;

/// What a caller has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Nothing, or it was not his turn.
    Nothing,
    /// Something: his reply, or all there was, and the bell will be rung for more.
    Enough,
    /// Something, and there may be more, or the connection has ended.
    NotAll,
}

/// Somebody receives, and nobody else does until this is dropped.
pub(crate) struct Receiving<'a>(&'a TaskIo);

impl Receiving<'_> {
    /// Receives once, for a caller or for the driver, and tells what it led to, and whether there may be
    /// more. Pending, the bell will be rung, or the driver woken by a transport that is its own.
    pub(crate) fn poll(
        &self,
        driver: &Waker,
        buffer: &mut [u8],
        caller: Option<CommandId>,
    ) -> Poll<(Effect, bool)> {
        let io = self.0;
        let waker = if io.callers_receive { &io.ringer } else { driver };
        let context = &mut Context::from_waker(waker);
        io.transport.poll_receive(context, buffer).map(|received| {
            let more = matches!(received, Ok(length) if length == buffer.len());
            let received = match &received {
                Ok(0) => Received::Eof,
                Ok(length) => Received::Bytes(buffer.get(..*length).unwrap_or(buffer)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    return (Effect::None, true);
                }
                Err(error) => Received::from(error),
            };
            (io.shared.receive_as(received, caller), more)
        })
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        if self.0.receiving.swap(NOBODY, Ordering::SeqCst) == CONTENDED {
            self.0.call_driver();
        }
    }
}

impl TaskIo {
    pub(crate) fn new(shared: Arc<SharedConnection>, transport: Box<dyn Transport>) -> Arc<Self> {
        let bell = Bell::new(shared.clone());
        let ringer = Waker::from(bell.clone());
        let (callers_receive, receiving) = (transport.callers_may_receive(), AtomicU8::new(NOBODY));
        Arc::new(Self { shared, transport, callers_receive, bell, ringer, receiving })
    }

    /// What wakes whoever has to receive.
    pub(crate) fn bell(&self) -> StdArc<Bell> {
        self.bell.clone()
    }

    /// Waits for a state of the connection, while the driver receives.
    pub(crate) async fn wait<T>(&self, mut wait: Wait<T>) -> T {
        poll_fn(|context| {
            let polled = wait.poll(context.waker());
            if polled.is_pending() {
                self.expect_more();
                // Waiting for a guest agent's session starts a timer.
                self.call_driver_if_timed();
            }
            polled
        })
        .await
    }

    /// See [`Bell::expect_more`].
    pub(crate) fn expect_more(&self) {
        self.bell.expect_more();
    }

    /// The driver handles timeouts.
    fn call_driver_if_timed(&self) {
        if self.shared.is_timed() && self.shared.poll_timeout(Instant::now()).is_some() {
            self.call_driver();
        }
    }

    /// Sends from a caller's task. What is not taken at once is left to the driver.
    pub(crate) fn send(&self) {
        self.drop_what_came();
        let send = |bytes: &[u8], descriptor: Option<BorrowedFd<'_>>| {
            self.transport.try_send(bytes, descriptor)
        };
        match self.shared.flush(send) {
            Flushed::All => self.call_driver_if_timed(),
            Flushed::Blocked => self.call_driver(),
            Flushed::Failed => {
                // What the server said before is still read, up to the end of the stream.
                self.transport.shut_down();
                self.call_driver();
            }
        }
    }

    /// Receives what a guest agent sent unasked, which is dropped, before a command goes out. If another
    /// task receives, that task drops it.
    pub(crate) fn drop_what_came(&self) {
        if !self.shared.reads_first() {
            return;
        }
        let Some(_receiving) = self.try_receiving() else { return };
        let mut buffer = [0; 512];
        while self.shared.reads_first() {
            match self.transport.try_receive(&mut buffer) {
                Ok(length) if length > 0 => {
                    let bytes = buffer.get(..length).unwrap_or(&buffer);
                    self.shared.receive(Received::Bytes(bytes));
                }
                // The next read reports it.
                _ => return,
            }
        }
    }

    /// Gives a caller the turn whose command is the only one, and tells what he does.
    pub(crate) fn give_turn(&self, caller: &Pending) -> Manner {
        if !self.callers_receive {
            return Manner::Sends;
        }
        let (manner, watched) = self.shared.take_turn(caller.id());
        if manner.receives() && !watched {
            self.bell.rouse_driver();
        }
        manner
    }

    /// Receives from now on, unless somebody does. In that case the driver is called when he has ended.
    pub(crate) fn try_receiving(&self) -> Option<Receiving<'_>> {
        let change = |from, to| {
            self.receiving.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
        };
        loop {
            if change(NOBODY, SOMEBODY).is_ok() {
                return Some(Receiving(self));
            }
            if change(SOMEBODY, CONTENDED) != Err(NOBODY) {
                return None;
            }
        }
    }

    /// Receives for a caller whose turn it is. If anything came, he looks, and then says with
    /// [`received`](Self::received) how it stands.
    pub(crate) fn receive_for(&self, caller: &Pending) -> Came {
        if !caller.standing().has_turn {
            return Came::Nothing;
        }
        let Some(receiving) = self.try_receiving() else { return Came::Nothing };
        scratch::with(|buffer| {
            for round in 0..ROUNDS {
                match receiving.poll(&self.ringer, buffer, Some(caller.id())) {
                    Poll::Pending if round == 0 => return Came::Nothing,
                    Poll::Pending | Poll::Ready((Effect::Settled, false)) => return Came::Enough,
                    Poll::Ready((Effect::None, _)) => {}
                    Poll::Ready((Effect::Settled, true) | (Effect::Ended, _)) => break,
                }
            }
            Came::NotAll
        })
    }

    /// A caller has received, and looked. Unless that was all there is to do, others do the rest: the
    /// driver, and he himself if he still `waits`.
    pub(crate) fn received(&self, came: Came, caller: Standing, waits: Option<&Waker>) {
        let enough = came == Came::Enough;
        let at_callers = if waits.is_some() { caller.has_turn } else { caller.ended_alone };
        if !enough || !at_callers {
            self.call_driver();
        }
        if let Some(waker) = waits {
            // What came may have to be answered, as by one who is between two sessions of a guest agent.
            self.send();
            if !enough {
                waker.wake_by_ref();
            }
        }
    }

    /// Says whom to wake for the driver. Tells whether it was called.
    pub(crate) fn register_driver(&self, waker: &Waker) -> bool {
        self.bell.register_driver(waker)
    }

    /// There is something to do for the driver.
    pub(crate) fn call_driver(&self) {
        self.bell.call_driver();
    }

    /// Ends the connection at once: the server sees it now, and everyone who waits.
    pub(crate) fn finish(&self) {
        self.shared.abort();
        self.transport.shut_down();
        self.call_driver();
    }
}

impl fmt::Debug for TaskIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskIo").field("shared", &self.shared).finish_non_exhaustive()
    }
}
