//! The wait of a callback, for events or for a reply. The background thread reads for it, without the patience that it has
//! otherwise.

use std::sync::Arc;

use crate::io::Line;
use crate::io::turns::Successor;

/// The wait of a callback. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct Unattended {
    line: Arc<Line>,
}

impl Line {
    /// Begins the wait of a callback.
    pub(crate) fn attend(self: &Arc<Self>) -> Unattended {
        if self.turns.attend() == Successor::Background {
            self.nudge();
        }
        Unattended { line: self.clone() }
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        self.line.turns.unattend();
    }
}
