//! Telling that a server is waited for, which else would be silence.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use qmp_blocking::Address;

use crate::print::complain;

/// A server that is there answers sooner.
const SOON: Duration = Duration::from_secs(1);
/// How long is waited where nobody says otherwise.
const LIMIT: Duration = Duration::from_secs(10);

/// Tells a person what is waited for, unless this is dropped soon.
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
