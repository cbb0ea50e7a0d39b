//! Waiting for the server until Ctrl-C.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use qmp_blocking::{Client, CloseReason, Error, Raw, Request};
use serde::Serialize;

use crate::keyboard::Keyboard;

/// The interval at which a reply is looked for. Ctrl-C ends it early.
const LOOK: Duration = Duration::from_millis(2);

/// Executes a command; `None` if Ctrl-C was pressed first. The command is given up then.
pub(crate) fn answer<A: Serialize>(
    client: &Client,
    request: Request<A, OwnedFd>,
    keyboard: Option<&Keyboard>,
) -> Option<Result<Raw, Error>> {
    let Some(keyboard) = keyboard else { return Some(client.execute_request(request)) };
    let mut pending = match client.start_request(request) {
        Ok(pending) => pending,
        Err(error) => return Some(Err(error)),
    };
    while !pending.is_finished() {
        if keyboard.interrupted_within(LOOK) {
            return None;
        }
    }
    Some(pending.wait())
}

/// Waits for the connection's end; `None` after the timeout, and after Ctrl-C.
pub(crate) fn closed(
    client: &Client,
    patience: Duration,
    keyboard: Option<&Keyboard>,
) -> Option<CloseReason> {
    let Some(keyboard) = keyboard else { return client.closed_within(patience) };
    let begin = Instant::now();
    while client.close_reason().is_none() {
        if begin.elapsed() >= patience || keyboard.interrupted_within(LOOK) {
            return None;
        }
    }
    client.close_reason()
}
