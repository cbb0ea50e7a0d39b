//! Who is woken when there is something to receive.

use std::fmt;
// A waker is made of std's.
use std::sync::Arc as StdArc;
use std::task::{Wake, Waker};

use crate::shared::SharedConnection;
use crate::shared::sync::{Arc, Mutex, MutexGuard, PoisonError};
use crate::shared::waiting::wake;

/// Rung when there is something to receive: wakes the caller whose turn it is, or the driver.
pub(crate) struct Bell {
    shared: Arc<SharedConnection>,
    driver: Mutex<State>,
}

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    /// It has to receive when it is polled next.
    called: bool,
}

impl Bell {
    pub(crate) fn new(shared: Arc<SharedConnection>) -> StdArc<Self> {
        StdArc::new(Self { shared, driver: Mutex::default() })
    }

    /// Says whom to wake for the driver, which looks at everything then. Tells whether it was called.
    pub(crate) fn register_driver(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut driver = self.lock();
        let called = std::mem::take(&mut driver.called);
        let replaced = driver.waker.replace(waker);
        // With it a task may go that holds the last client.
        drop(driver);
        drop(replaced);
        called
    }

    /// There is something to do for the driver, as receiving is.
    pub(crate) fn call_driver(&self) {
        let mut driver = self.lock();
        driver.called = true;
        let waker = driver.waker.take();
        drop(driver);
        waker.into_iter().for_each(wake);
    }

    /// The driver has to look after callers. It leaves receiving to them.
    pub(crate) fn rouse_driver(&self) {
        let waker = self.lock().waker.take();
        waker.into_iter().for_each(wake);
    }

    /// Called by a task that has left its waker for something other than a reply: the driver receives it.
    pub(crate) fn expect_more(&self) {
        if self.shared.is_left_to_callers() {
            self.call_driver();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

impl Wake for Bell {
    fn wake(self: StdArc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &StdArc<Self>) {
        match self.shared.summon() {
            Some(caller) => wake(caller),
            None => self.call_driver(),
        }
    }
}
