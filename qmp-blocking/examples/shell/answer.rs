//! Waiting for the server, as long as who types wants to.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use qmp_blocking::{Client, CloseReason, Error, Raw, Request};
use serde::Serialize;

use crate::keyboard::Keyboard;

/// How often it is seen whether a reply is there, while it is seen at once whether Ctrl-C is pressed.
const LOOK: Duration = Duration::from_millis(2);

/// What a command returns; none where Ctrl-C was pressed before that. Then the command is given up.
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

/// How the connection ended; none where it goes on for so long, or Ctrl-C was pressed.
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
