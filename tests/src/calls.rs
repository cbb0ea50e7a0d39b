//! Callbacks that tell a test what they were called with.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fmt::Debug;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};

use qmp_blocking::{Builder, Client};
use qmp_server::{Machine, net};

use crate::scripted::{PATIENCE, Peer, Script, pair};

/// What a callback was called with, in order.
#[derive(Debug)]
pub struct Calls<T>(Receiver<T>);

impl<T: Debug + PartialEq> Calls<T> {
    /// A callback, and its calls.
    pub fn new() -> (impl Fn(T) + Clone + Send + 'static, Self)
    where
        T: Send + 'static,
    {
        let (sender, receiver) = mpsc::channel();
        (move |value| drop(sender.send(value)), Self(receiver))
    }

    /// The next call, which has to come.
    #[track_caller]
    pub fn next(&self) -> T {
        self.0.recv_timeout(PATIENCE).expect("it is called")
    }

    /// The next so many calls.
    #[track_caller]
    pub fn take(&self, count: usize) -> Vec<T> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Nothing has come so far.
    #[track_caller]
    pub fn none_yet(&self) {
        assert_eq!(self.0.try_recv(), Err(mpsc::TryRecvError::Empty));
    }

    /// Waits until the callback is dropped, before which it is not called any more.
    #[track_caller]
    pub fn over(&self) {
        assert_eq!(self.0.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    }
}

/// Something that a callback waits for: until it is opened, or dropped.
#[derive(Debug)]
pub struct Gate(Sender<()>);

impl Gate {
    /// A gate, and the wait at it, which may be done again and again.
    pub fn new() -> (Self, impl Fn() + Send + 'static) {
        let (sender, receiver) = mpsc::channel();
        let wait = move || match receiver.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Timeout) => panic!("the gate stays shut"),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
        };
        (Self(sender), wait)
    }

    /// Lets one wait pass.
    pub fn open_once(&self) {
        self.0.send(()).expect("somebody waits");
    }

    /// Lets all pass from now on.
    pub fn open(self) {}
}

/// A client, and a script behind it that has greeted.
pub fn client_with(
    builder: &Builder,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (Client, Script) {
    let (socket, script) = pair(|peer| {
        peer.greet();
        script(peer);
    });
    (builder.from_stream(socket).unwrap(), script)
}

/// As [`client_with`], with all defaults.
pub fn client(script: impl FnOnce(&mut Peer) + Send + 'static) -> (Client, Script) {
    client_with(&Builder::new(), script)
}

/// A client of the embedded machine.
pub fn machine(builder: &Builder) -> Client {
    let socket = net::connect_machine(Machine::new()).unwrap();
    builder.from_stream(socket).unwrap()
}
