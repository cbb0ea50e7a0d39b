//! One client's connection.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use qmp_blocking::__server::Notifier;
use qmp_blocking::__server::lock;
use qmp_client::descriptors;
use qmp_proto::{CommandError, Event, IoFailure};
use rustix::event::PollFlags;
use rustix::net::{Shutdown, sockopt};
use serde::Serialize;

use super::receive::{MOMENT, linger, receive};
use crate::{Call, CloseReason, Config, Connection, Output, Phase, RespondError, Ticket};

/// What is read at once, in bytes.
const BUFFER: usize = 16 << 10;

/// One client's connection to a server, over a stream socket.
///
/// A thread waits in [`next_call`](Self::next_call), which also does all the reading, and the
/// writing of what found no room at once. Any thread may answer and send events meanwhile; none of
/// them waits for the client. Dropping the session closes the socket.
///
/// ```
/// use qmp_blocking::commands::QueryName;
/// use qmp_server::Config;
/// use qmp_server::net::Session;
/// use qmp_blocking::{CommandError, ErrorClass};
///
/// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// let session = Session::new(theirs, Config::default())?;
/// let server = std::thread::spawn(move || {
///     while let Some(call) = session.next_call() {
///         let outcome = match &*call.name {
///             "query-name" => Ok(serde_json::json!({"name": "demo"})),
///             _ => Err(CommandError::new(ErrorClass::CommandNotFound, "there is only one")),
///         };
///         // It fails where the client is gone, which the next call tells.
///         let _ = session.respond(call.ticket, outcome);
///     }
///     session.close_reason()
/// });
/// let client = qmp_blocking::from_stream(ours)?;
/// assert_eq!(client.execute(&QueryName)?.name.as_deref(), Some("demo"));
/// drop(client);
/// assert_eq!(server.join().unwrap().unwrap().to_string(), "the client left");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    socket: OwnedFd,
    state: Mutex<State>,
    /// What the thread reads into that waits at the socket, one at a time.
    turn: Mutex<Box<[u8]>>,
    /// Wakes that thread.
    notifier: Notifier,
}

struct State {
    connection: Connection<OwnedFd>,
    /// A thread waits at the socket for what was wanted when it looked.
    is_awaited: bool,
}

/// What a thread finds that looks for the next command.
enum Look {
    Call(Call),
    Ended,
    /// Nothing, until the socket is ready for this.
    Wait(PollFlags),
}

impl Session {
    /// A client that has just connected, over a Unix socket or TCP.
    ///
    /// # Errors
    ///
    /// Where there are no descriptors left.
    pub fn new(stream: impl Into<OwnedFd>, config: Config) -> io::Result<Self> {
        let socket = stream.into();
        // Only TCP can, and an event shall not wait for the acknowledgement of the one before.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        Ok(Self {
            socket,
            state: Mutex::new(State { connection: Connection::new(config), is_awaited: false }),
            turn: Mutex::new(vec![0; BUFFER].into_boxed_slice()),
            notifier: Notifier::new()?,
        })
    }

    /// Waits for the next command; `None` once the connection has ended.
    ///
    /// If it was [closed](Self::close), the client has a second to finish what it is writing, which is read
    /// and dropped.
    ///
    /// Several threads may call it: each command goes to one of them. A client that has left is
    /// noticed when it is read from or written to, so not while it has to wait for its answer.
    pub fn next_call(&self) -> Option<Call> {
        let mut buffer = lock(&self.turn);
        loop {
            match self.look() {
                Look::Call(call) => return Some(call),
                Look::Ended => {
                    linger(&self.socket, MOMENT, &mut buffer);
                    return None;
                }
                Look::Wait(wanted) => {
                    let ready = self.notifier.wait_at(&self.socket, wanted, None);
                    if wanted.contains(PollFlags::IN) && ready.intersects(!PollFlags::OUT) {
                        self.receive(&mut buffer);
                    }
                }
            }
        }
    }

    /// Answers a command: see [`Connection::respond`].
    ///
    /// # Errors
    ///
    /// Where no such command waits for an answer, as after the connection's end, or where what is
    /// returned cannot be written as JSON.
    pub fn respond<T: Serialize>(
        &self,
        ticket: Ticket,
        outcome: Result<T, CommandError>,
    ) -> Result<(), RespondError> {
        self.with(|connection| connection.respond(ticket, outcome))
    }

    /// Sends an event. Tells whether it goes out: see [`Connection::event`].
    pub fn event(&self, event: &Event) -> bool {
        self.with(|connection| connection.event(event))
    }

    /// The last descriptor that came, for a command such as `getfd`.
    pub fn take_descriptor(&self) -> Option<OwnedFd> {
        self.with(Connection::take_descriptor)
    }

    /// Ends the connection in an orderly way: no command is answered any more, and what was said is
    /// sent as long as somebody calls [`next_call`](Self::next_call).
    pub fn close(&self) {
        self.with(Connection::close);
    }

    /// Ends the connection at once: what the client was too slow to read is lost.
    pub fn abort(&self) {
        self.with(|connection| {
            connection.close();
            connection.handle_failure(IoFailure::Reset);
        });
        // A thread may wait for the client to leave.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Does something with the connection, and sends what comes of it. Others wait meanwhile, so it
    /// should be quick. Its outputs are [`next_call`](Self::next_call)'s to take.
    pub fn with<R>(&self, act: impl FnOnce(&mut Connection<OwnedFd>) -> R) -> R {
        let mut state = lock(&self.state);
        let result = act(&mut state.connection);
        self.send(&mut state.connection);
        if std::mem::take(&mut state.is_awaited) {
            self.notifier.notify();
        }
        result
    }

    /// How the connection ended, once it has.
    pub fn close_reason(&self) -> Option<CloseReason> {
        lock(&self.state).connection.close_reason().cloned()
    }

    fn look(&self) -> Look {
        let mut state = lock(&self.state);
        let connection = &mut state.connection;
        self.send(connection);
        while let Some(output) = connection.poll_output() {
            if let Output::Call(call) = output {
                return Look::Call(call);
            }
        }
        if connection.phase() == Phase::Closed {
            return Look::Ended;
        }
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, connection.wants_input());
        wanted.set(PollFlags::OUT, connection.transmit().is_some());
        state.is_awaited = true;
        Look::Wait(wanted)
    }

    /// Reads once, and does not wait.
    fn receive(&self, buffer: &mut [u8]) {
        let mut state = lock(&self.state);
        let connection = &mut state.connection;
        match receive(self.socket.as_fd(), buffer) {
            Ok((0, _)) => connection.handle_eof(),
            Ok((length, descriptor)) => {
                if let Some(descriptor) = descriptor {
                    connection.handle_descriptor(descriptor);
                }
                connection.handle_input(&buffer[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => connection.handle_failure((&error).into()),
        }
    }

    /// Sends what the socket takes at once.
    fn send(&self, connection: &mut Connection<OwnedFd>) {
        while let Some(bytes) = connection.transmit() {
            let sent = match descriptors::send(self.socket.as_fd(), bytes, None) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A client that does not listen any more: what it said before is still executed.
                Err(_) => bytes.len(),
            };
            connection.advance(sent);
        }
        if connection.phase() == Phase::Closed {
            // Other threads may hold the session yet. It fails where the client is gone already.
            let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        }
    }
}

/// Without the bytes: they may hold secrets.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("socket", &self.socket).finish_non_exhaustive()
    }
}
