//! Where a machine's commands come from, as far as they notice.

use qmp_proto::{CommandError, Event, Raw};

use crate::connection::Connection;
use crate::connection::output::{RespondError, Ticket};

/// The connection on which a [`Machine`](crate::Machine) executes a command, as QEMU calls it.
///
/// A [`Connection`] is one. Who shares a connection with others writes another, so that nobody has to
/// wait for a command that runs: each call here is short.
pub trait Monitor<F> {
    /// Answers the command: see [`Connection::respond`].
    ///
    /// # Errors
    ///
    /// As [`Connection::respond`].
    fn respond(
        &mut self,
        ticket: Ticket,
        outcome: Result<Raw, CommandError>,
    ) -> Result<(), RespondError>;

    /// Sends an event, and tells whether it goes out: see [`Connection::event`].
    fn event(&mut self, event: &Event) -> bool;

    /// The last descriptor that came: see [`Connection::take_descriptor`].
    fn take_descriptor(&mut self) -> Option<F>;

    /// The machine has ended: see [`Connection::close`].
    fn close(&mut self);
}

impl<F> Monitor<F> for Connection<F> {
    fn respond(
        &mut self,
        ticket: Ticket,
        outcome: Result<Raw, CommandError>,
    ) -> Result<(), RespondError> {
        self.respond(ticket, outcome)
    }

    fn event(&mut self, event: &Event) -> bool {
        self.event(event)
    }

    fn take_descriptor(&mut self) -> Option<F> {
        self.take_descriptor()
    }

    fn close(&mut self) {
        self.close();
    }
}
