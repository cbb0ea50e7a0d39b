//! The thread that reads while nobody waits, so that events flow while no one calls.
//!
//! It is started at once where something is left to it: events for a subscriber, replies that no thread waits for.
//! If not, it is started soon.

mod soon;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use qmp_client::Received;
use rustix::event::PollFlags;

use crate::line::Line;
use crate::lock;
use crate::nudge::Nudge;
use crate::turns::Look;

/// How long nobody must have read before the background thread does.
const GRACE: Duration = Duration::from_millis(1);

/// The thread of one connection's.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// Wakes it. There is one once the thread is started.
    nudge: OnceLock<Nudge>,
    starting: Mutex<()>,
}

impl Background {
    pub(crate) fn nudge(&self) {
        if let Some(nudge) = self.nudge.get() {
            nudge.nudge();
        }
    }

    /// For the thread itself: waits for a nudge, or for the socket.
    pub(crate) fn wait_at(
        &self,
        socket: &OwnedFd,
        wanted: PollFlags,
        timeout: Option<Duration>,
    ) -> PollFlags {
        self.nudge.get().map_or(PollFlags::empty(), |nudge| nudge.wait_at(socket, wanted, timeout))
    }
}

impl Line {
    /// Sees that the background thread is there, which ends with the connection. Where the system
    /// refuses it, the connection ends with that failure.
    pub(crate) fn need_background(self: &Arc<Self>) {
        if self.background.nudge.get().is_some() {
            return;
        }
        if let Err(error) = self.start_background() {
            self.hub.receive(Received::Failed((&error).into()));
            self.finish();
        }
    }

    /// Sees that the background thread is there soon: whether somebody looks at this connection or
    /// nobody does, what the server sends is read.
    pub(crate) fn need_background_soon(self: &Arc<Self>) {
        if soon::start_soon(self).is_err() {
            self.need_background();
        }
    }

    fn start_background(self: &Arc<Self>) -> io::Result<()> {
        let _starting = lock(&self.background.starting);
        if self.background.nudge.get().is_some() || self.hub.is_closed() {
            return Ok(());
        }
        let nudge = Nudge::new()?;
        let line = self.clone();
        thread::Builder::new().name("qmp-background".to_owned()).spawn(move || run(&line))?;
        // It waits for this at once if it is quicker.
        self.background.nudge.get_or_init(|| nudge);
        Ok(())
    }
}

/// It does not hold the turn while it listens: a caller that comes then reads its reply itself.
fn run(line: &Line) {
    // Whoever starts it has the nudge ready by the time that this is let go.
    drop(lock(&line.background.starting));
    let mut seen = 0;
    while !line.hub.is_closed() {
        let (look, put_off) = line.turns.look(seen);
        let moment = put_off.then_some(GRACE);
        match look {
            Look::Changed(count) => {
                seen = count;
                line.doze(Some(GRACE));
            }
            Look::Busy => line.doze(moment),
            Look::Idle => line.listen(moment),
        }
        if put_off {
            line.send_put_off();
        }
    }
}
