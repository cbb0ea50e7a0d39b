//! What a connection's clients and its driver share.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::task::Waker;

use super::transport::Transport;
use crate::hub::{Flushed, Hub};
use crate::sync::{Arc, Mutex, PoisonError};
use crate::waiting::wake;

/// The hub, and the transport behind it.
pub(super) struct Link {
    pub(super) hub: Arc<Hub>,
    pub(super) transport: Box<dyn Transport>,
    driver: Mutex<Option<Waker>>,
}

impl Link {
    pub(super) fn new(hub: Arc<Hub>, transport: Box<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { hub, transport, driver: Mutex::new(None) })
    }

    /// Sends from a caller's task. What is not taken at once is left to the driver.
    pub(super) fn send(&self) {
        let send = |bytes: &[u8], descriptor: Option<BorrowedFd<'_>>| {
            self.transport.try_send(bytes, descriptor)
        };
        match self.hub.flush(send) {
            Flushed::All => {}
            Flushed::Blocked => self.wake_driver(),
            Flushed::Failed => {
                // What the server said before is still read, up to the end of the stream.
                self.transport.shut_down();
                self.wake_driver();
            }
        }
    }

    /// Says whom to wake. Then the driver looks at everything once more.
    pub(super) fn register_driver(&self, waker: &Waker) {
        let waker = waker.clone();
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = driver.replace(waker);
        // With it a task may go that holds the last client.
        drop(driver);
        drop(replaced);
    }

    /// There is something to do for the driver.
    pub(super) fn wake_driver(&self) {
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        driver.into_iter().for_each(wake);
    }

    /// Ends the connection at once: the server sees it now, and everyone who waits.
    pub(super) fn finish(&self) {
        self.hub.abort();
        self.transport.shut_down();
        self.wake_driver();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("hub", &self.hub).finish_non_exhaustive()
    }
}
