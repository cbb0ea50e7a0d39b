//! A client, as others see it: they wake its thread, or send it away.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use qmp_blocking::__server::Notifier;

#[derive(Debug)]
pub(super) struct Presence {
    notifier: Notifier,
    negotiated: AtomicBool,
    sent_away: AtomicBool,
}

impl Presence {
    pub(super) fn new() -> io::Result<Self> {
        let [negotiated, sent_away] = [(); 2].map(|()| AtomicBool::new(false));
        Ok(Self { notifier: Notifier::new()?, negotiated, sent_away })
    }

    /// What the client's thread waits at.
    pub(super) fn notify(&self) -> &Notifier {
        &self.notifier
    }

    pub(super) fn has_negotiated(&self) -> bool {
        self.negotiated.load(Ordering::Relaxed)
    }

    pub(super) fn negotiated(&self) {
        self.negotiated.store(true, Ordering::Relaxed);
    }

    /// Another client takes its place.
    pub(super) fn send_away(&self) {
        self.sent_away.store(true, Ordering::Relaxed);
        self.notifier.notify();
    }

    pub(super) fn is_sent_away(&self) -> bool {
        self.sent_away.load(Ordering::Relaxed)
    }
}

/// Replies and events of the server wake the client's thread.
impl Wake for Presence {
    fn wake(self: Arc<Self>) {
        self.notifier.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notifier.notify();
    }
}
