//! Which commands the server offers: asked once, then known.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use qmp_client::Error;
use qmp_proto::commands::QueryCommands;
use qmp_proto::guest_commands::GuestInfo;
use qmp_proto::{Command, Dialect, Request};

use super::{Client, deadline};
use crate::lock;

/// Whether a command may be sent. A program that does not ask for it is spared what it needs: nothing
/// else leads there.
pub(crate) type Check = fn(&Client, &str) -> Result<(), Error>;

/// The names, once they are known.
#[derive(Debug, Default)]
pub(super) struct Offered {
    names: Mutex<Names>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum Names {
    #[default]
    Unknown,
    /// A thread has asked; others wait for what it hears.
    Asked,
    Known(Arc<HashSet<String>>),
}

/// Whoever asks, and fails or panics, leaves it to the next.
struct Asking<'a>(&'a Offered);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut names = lock(&self.0.names);
        if matches!(*names, Names::Asked) {
            *names = Names::Unknown;
        }
        drop(names);
        self.0.changed.notify_all();
    }
}

impl Client {
    /// Whether the server offers a command, by what `query-commands` returns, or a guest agent's
    /// `guest-info`. It is asked once for
    /// all clones, when this is first called.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), where it could not be asked. The next call asks again.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctest/server.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = qmp_blocking::from_stream(server())?;
    /// assert!(client.supports("device_del")?);
    /// assert!(!client.supports("blockdev-add")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn supports(&self, command: &str) -> Result<bool, Error> {
        Ok(self.offered()?.contains(command))
    }

    /// What is refused where unknown commands are not sent.
    pub(crate) fn check_offered(&self, command: &str) -> Result<(), Error> {
        self.handle.refuse_unknown.map_or(Ok(()), |check| check(self, command))
    }

    pub(crate) fn refuse_unknown(&self, command: &str) -> Result<(), Error> {
        match self.supports(command)? {
            true => Ok(()),
            false => Err(Error::UnknownCommand(command.to_owned())),
        }
    }

    fn offered(&self) -> Result<Arc<HashSet<String>>, Error> {
        let offered = &self.handle.offered;
        if let Some(names) = offered.known_or_asked(deadline(self.timeout))? {
            return Ok(names);
        }
        let asking = Asking(offered);
        let names = match self.io().shared.inspect(|connection| connection.dialect()) {
            Dialect::GuestAgent => {
                let info = GuestInfo::decode(self.run(Request::of(&GuestInfo).prepare()?)?)?;
                // Who set up the guest may have switched some off.
                let enabled = info.supported_commands.into_iter().filter(|info| info.enabled);
                enabled.map(|info| info.name).collect()
            }
            _ => {
                let commands = self.run(Request::of(&QueryCommands).prepare()?)?;
                QueryCommands::decode(commands)?.into_iter().map(|command| command.name).collect()
            }
        };
        let names = Arc::new(names);
        *lock(&offered.names) = Names::Known(Arc::clone(&names));
        drop(asking);
        Ok(names)
    }
}

impl Offered {
    /// The names; none where the caller is the one to ask.
    fn known_or_asked(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Option<Arc<HashSet<String>>>, Error> {
        let mut names = lock(&self.names);
        loop {
            match &*names {
                Names::Known(names) => return Ok(Some(names.clone())),
                Names::Unknown => {
                    *names = Names::Asked;
                    return Ok(None);
                }
                Names::Asked => {}
            }
            names = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(names).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return Err(Error::TimedOut { sent: false }),
                Some(left) => {
                    let waited = self.changed.wait_timeout(names, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
