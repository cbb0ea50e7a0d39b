//! What a client can be made to do.

use std::str::FromStr;

/// How many commands are outstanding, where many are.
pub const AT_ONCE: usize = 64;

/// The argument of `human-monitor-command` for an event 0.2 ms after its reply.
pub const LATE: &str = "late 200";

/// How many commands precede one that an event follows.
pub const BEFORE: usize = 7;

/// What a client can be made to do, so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Commands, one after the other.
    Commands,
    /// The same, while another task, or a callback, waits for an event in vain.
    Awaited,
    /// The same, with an event 0.2 ms after every eighth reply. The next command waits until another task,
    /// or a callback, has received it.
    Followed,
    /// Commands, [`AT_ONCE`] at a time.
    Outstanding,
    /// The same, with out-of-band execution negotiated, and so with a window of seven.
    Window,
    /// Events that come as fast as the server can send them.
    Events,
    /// Replies that have about so many bytes, not decoded.
    Raw(usize),
    /// Replies that have about so many bytes, decoded into a string.
    Typed(usize),
    /// Connections, closed again.
    Connect,
    /// Connections that are kept, and idle.
    Idle,
    /// So many connections at once, each of which executes a command that an event follows.
    Crowd(usize),
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, number) = text.split_once(':').unwrap_or((text, ""));
        let number = || number.parse().map_err(|_| format!("{text}: a number is missing"));
        Ok(match word {
            "commands" => Self::Commands,
            "awaited" => Self::Awaited,
            "followed" => Self::Followed,
            "outstanding" => Self::Outstanding,
            "window" => Self::Window,
            "events" => Self::Events,
            "raw" => Self::Raw(number()?),
            "typed" => Self::Typed(number()?),
            "connect" => Self::Connect,
            "idle" => Self::Idle,
            "crowd" => Self::Crowd(number()?),
            _ => return Err(format!("no such scenario: {text}")),
        })
    }
}
