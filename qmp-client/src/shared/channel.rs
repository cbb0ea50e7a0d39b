//! Which command holds a guest agent's channel, which takes one at a time, and since when.

use std::borrow::Cow;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Instant;

use qmp_proto::{CommandId, Connection, Phase};

use crate::error::Error;

/// What is known of the commands for a guest agent.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// The names of those that have not ended.
    names: HashMap<CommandId, Cow<'static, str>>,
    holder: Option<Holder>,
}

/// A command that the agent has begun to get and has not answered. It holds the channel after it was
/// given up too, until the agent has caught up.
#[derive(Debug)]
struct Holder {
    command: CommandId,
    name: Cow<'static, str>,
    since: Instant,
}

impl Channel {
    pub(super) fn accept(&mut self, command: CommandId, name: Cow<'static, str>) {
        self.names.insert(command, name);
    }

    pub(super) fn forget(&mut self, command: CommandId) {
        self.names.remove(&command);
    }

    /// Notes which command holds the channel now. The clock is read once for each.
    pub(super) fn look_at(&mut self, connection: &Connection<OwnedFd>) {
        match connection.begun() {
            Some(command) if self.holder.as_ref().is_some_and(|held| held.command == command) => {}
            Some(command) => {
                let name = self.names.get(&command).cloned().unwrap_or_default();
                self.holder = Some(Holder { command, name, since: Instant::now() });
            }
            // Until the session has begun, the agent may still be at what was given up.
            None if connection.phase() == Phase::Syncing => {}
            None => self.holder = None,
        }
    }

    /// Why a command of which nothing was sent had to wait, as far as that is known.
    pub(super) fn why_it_waited(&self, connection: &Connection<OwnedFd>) -> Option<Error> {
        let evidence = connection.evidence();
        if let Some(refusal) = evidence.as_ref().and_then(|evidence| evidence.refusal()) {
            return Some(Error::AgentRefuses(refusal.clone()));
        }
        self.holder.as_ref().map(|held| Error::AgentBusy {
            command: held.name.clone().into_owned(),
            held: held.since.elapsed(),
            given_up: connection.begun() != Some(held.command),
        })
    }
}
