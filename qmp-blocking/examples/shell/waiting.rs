//! A message while the shell waits for a server.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use qmp_blocking::Address;

use crate::print::complain;

/// A running server answers sooner.
const SOON: Duration = Duration::from_secs(1);
/// The builder's default deadline.
const LIMIT: Duration = Duration::from_secs(10);

/// Names the address on standard error after a second, unless the result is dropped before.
pub(crate) fn tell(address: &Address, limit: Option<Duration>) -> Sender<()> {
    let (connected, waited) = mpsc::channel();
    let text =
        format!("waiting for {address}, {:?} at most; Ctrl-C ends that", limit.unwrap_or(LIMIT));
    thread::spawn(move || {
        let late = waited.recv_timeout(SOON) == Err(RecvTimeoutError::Timeout);
        if late && io::stderr().is_terminal() {
            complain(text);
        }
    });
    connected
}
