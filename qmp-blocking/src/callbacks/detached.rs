//! The wait of a callback, for events or for a reply. The background thread reads for it, without the patience that it has
//! otherwise.

use std::sync::Arc;

use crate::io::ThreadIo;
use crate::io::turns::Successor;

/// The wait of a callback. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct Unattended {
    io: Arc<ThreadIo>,
}

impl ThreadIo {
    /// Begins the wait of a callback.
    pub(crate) fn attend(self: &Arc<Self>) -> Unattended {
        if self.turns.attend() == Successor::Background {
            self.notify();
        }
        Unattended { io: self.clone() }
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        self.io.turns.unattend();
    }
}
