//! Unattended waits, in which no thread reads: those of callbacks, and of threads that park. While there is
//! one, the background thread has no patience.

use super::{Successor, Turns};

impl Turns {
    /// Begins an unattended wait. Returns whether the background thread has to be woken from its patience.
    pub(crate) fn attend(&self) -> Successor {
        let mut state = self.lock();
        state.unattended += 1;
        match std::mem::take(&mut state.background_dozes) {
            true => Successor::Background,
            false => Successor::Found,
        }
    }

    /// Ends an unattended wait.
    pub(crate) fn unattend(&self) {
        self.lock().unattended -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Look;
    use super::*;

    /// Its patience is for callers who come again at once, and read for themselves.
    #[test]
    fn the_background_thread_has_no_patience_while_a_reply_is_nobodys() {
        let turns = Turns::new();
        let buffer = turns.take_or_park().expect("nobody reads");
        assert_eq!(turns.leave(Some(buffer)), Successor::Found);
        // It dozes, and the first such command wakes it, once.
        assert_eq!(turns.look(0).0, Look::Changed(1));
        assert_eq!(turns.attend(), Successor::Background);
        assert_eq!(turns.attend(), Successor::Found);
        // It reads at once, however recently others did.
        assert_eq!(turns.look(0).0, Look::Idle);
        assert_eq!(turns.attend(), Successor::Found, "it reads, so nobody has to wake it");
        let buffer = turns.take_or_park().expect("nobody reads");
        assert_eq!(turns.look(0).0, Look::Busy);
        assert_eq!(turns.leave(Some(buffer)), Successor::Background, "the reader wakes it");
        (0..3).for_each(|_| turns.unattend());
        assert_eq!(turns.look(0).0, Look::Changed(2));
    }
}
