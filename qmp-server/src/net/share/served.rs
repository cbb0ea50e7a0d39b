//! One client of a server that is shared, and the thread that serves it.
//!
//! The thread never waits for the server, nor for the client to read: it waits for whichever comes first.
//! So it notices at once that its client is gone, whatever else is under way.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use qmp_blocking::__server::{Upstream, deadline};
use qmp_client::{Error, Pending, Subscription, descriptors};
use qmp_proto::{CommandError, Raw, Request};
use rustix::event::PollFlags;

use super::Share;
use super::presence::Presence;
use crate::net::receive::{MOMENT, linger, receive};
use crate::{Call, CloseReason, Connection, Output, Phase, Ticket};

/// What is read at once, in bytes.
const BUFFER: usize = 16 << 10;

/// How many events are passed on before the client is looked at again.
const EVENTS: usize = 64;

/// How long clients may take to read what is left, when the server has ended.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Served {
    share: Arc<Share>,
    presence: Arc<Presence>,
    socket: OwnedFd,
    connection: Connection<OwnedFd>,
    events: Subscription,
    /// The commands that the server has, or that wait for their turn there.
    running: Vec<Running>,
    /// When the client has to be ready for commands.
    negotiate_by: Option<Instant>,
    /// Since when the client has read nothing, although too much waits for it.
    stalled: Option<Instant>,
    /// The server has ended: how long the client may read what is left.
    leave_by: Option<Instant>,
}

struct Running {
    ticket: Ticket,
    pending: Pending,
    deadline: Option<Instant>,
}

/// The client has left, or is dropped.
struct Gone;

impl Served {
    pub(super) fn new(share: Arc<Share>, socket: OwnedFd, presence: Arc<Presence>) -> Self {
        let limits = share.upstream.event_limits();
        Self {
            presence,
            socket,
            connection: Connection::new(share.config.clone()),
            events: share.upstream.shared().subscribe(limits),
            running: Vec::new(),
            negotiate_by: deadline(Some(share.options.negotiation_timeout)),
            stalled: None,
            leave_by: None,
            share,
        }
    }

    /// Serves the client to its end, or to the server's.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; BUFFER];
        while self.step(&mut buffer).is_ok() {}
        self.share.forget(&self.presence);
        // A command that was not sent is withdrawn, and others may have its turn.
        self.running.clear();
        self.share.upstream.flush();
        if self.connection.close_reason() == Some(&CloseReason::Requested) {
            linger(&self.socket, MOMENT, &mut buffer);
        }
    }

    /// Does one thing that there is to do, or waits until there is one.
    fn step(&mut self, buffer: &mut [u8]) -> Result<(), Gone> {
        let waker = Waker::from(self.presence.clone());
        self.pass_replies(&waker);
        self.pass_events(&waker);
        if self.leave_by.is_some() && self.running.is_empty() {
            self.connection.close();
        }
        if self.connection.phase() != Phase::Negotiating {
            // Before the client learns it, so that it is not sent away any more.
            self.presence.negotiated();
            self.negotiate_by = None;
        }
        // Before the next command: a client that is gone needs none.
        self.send()?;
        match self.connection.poll_output() {
            Some(Output::Call(call)) => self.begin(call),
            Some(_) => {}
            None if self.connection.phase() == Phase::Closed => return Err(Gone),
            None => self.wait(buffer)?,
        }
        Ok(())
    }

    /// Sends a command on. What is wrong with it is answered at once.
    fn begin(&mut self, call: Call) {
        let upstream = self.share.upstream.clone();
        let deadline = deadline(upstream.command_timeout());
        match self.accept(&call) {
            Ok(pending) => {
                upstream.flush();
                self.running.push(Running { ticket: call.ticket, pending, deadline });
            }
            Err(error) => self.respond(call.ticket, Err(error)),
        }
    }

    fn accept(&mut self, call: &Call) -> Result<Pending, Error> {
        let upstream = &self.share.upstream;
        upstream.check_offered(&call.name)?;
        let mut request = Request::new(call.name.clone()).arguments(&call.arguments);
        if call.out_of_band {
            request = request.out_of_band();
        }
        if matches!(&*call.name, "getfd" | "add-fd") {
            let descriptor = self.connection.take_descriptor();
            request = descriptor.into_iter().fold(request, Request::descriptor);
        }
        Ok(upstream.shared().execute(request.prepare()?, None)?)
    }

    fn pass_replies(&mut self, waker: &Waker) {
        let mut waiting = Vec::new();
        for mut running in std::mem::take(&mut self.running) {
            let outcome = match running.pending.poll(waker) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending if !has_passed(running.deadline) => {
                    waiting.push(running);
                    continue;
                }
                Poll::Pending => self.give_up(running.pending),
            };
            // The server sent these before the reply.
            self.pass_events(waker);
            self.respond(running.ticket, outcome);
        }
        self.running = waiting;
    }

    fn give_up(&self, pending: Pending) -> Result<Raw, Error> {
        let outcome = pending.give_up();
        // Others may have its turn.
        self.share.upstream.flush();
        outcome
    }

    fn respond(&mut self, ticket: Ticket, outcome: Result<Raw, Error>) {
        let outcome = outcome.map_err(|error| match error {
            Error::Command(error) => error,
            error => CommandError::generic(error.to_string()),
        });
        // A client that is gone needs no answer.
        let _ = self.connection.respond(ticket, outcome);
    }

    /// Passes events on. Those that the client has no room for are lost for this client only.
    fn pass_events(&mut self, waker: &Waker) {
        for _ in 0..EVENTS {
            match self.events.poll_next(waker) {
                Poll::Ready(Some(Ok(event))) => drop(self.connection.event(&event)),
                Poll::Ready(Some(Err(_lagged))) => {}
                Poll::Ready(None) => {
                    self.leave_by = self.leave_by.or_else(|| deadline(Some(PATIENCE)));
                    return;
                }
                Poll::Pending => return,
            }
        }
        // There may be more.
        self.presence.notify().notify();
    }

    /// Sends what the socket takes at once.
    fn send(&mut self) -> Result<(), Gone> {
        while let Some(bytes) = self.connection.transmit() {
            let unread = bytes.len();
            match descriptors::send(self.socket.as_fd(), bytes, None) {
                Ok(sent) => {
                    self.stalled = None;
                    self.connection.advance(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if unread >= self.share.options.max_unread {
                        self.stalled.get_or_insert_with(Instant::now);
                    }
                    break;
                }
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    fn wait(&mut self, buffer: &mut [u8]) -> Result<(), Gone> {
        let limits = [self.negotiate_by, self.stalled_until(), self.leave_by];
        if self.presence.is_sent_away() || limits.into_iter().any(has_passed) {
            return Err(Gone);
        }
        let deadlines = self.running.iter().map(|running| running.deadline);
        let next = limits.into_iter().chain(deadlines).flatten().min();
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()));
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, self.connection.wants_input());
        wanted.set(PollFlags::OUT, self.connection.transmit().is_some());
        let ready = self.presence.notify().wait_at_or_end(&self.socket, wanted, timeout);
        if ready.intersects(PollFlags::HUP | PollFlags::ERR) {
            // Its last commands are dropped. QEMU mostly drops them too: it executed a command that was written just
            // before the close in 2 of 8 runs.
            return Err(Gone);
        }
        if ready.contains(PollFlags::IN) { self.receive(buffer) } else { Ok(()) }
    }

    fn stalled_until(&self) -> Option<Instant> {
        self.stalled.and_then(|since| since.checked_add(self.share.options.read_timeout))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<(), Gone> {
        match receive(self.socket.as_fd(), buffer) {
            Ok((0, _)) => self.connection.handle_eof(),
            Ok((length, descriptor)) => {
                if let Some(descriptor) = descriptor {
                    self.connection.handle_descriptor(descriptor);
                }
                self.connection.handle_input(&buffer[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Gone),
        }
        Ok(())
    }
}

fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|at| at <= Instant::now())
}
