//! The thread that reads while nobody waits, so that events flow while no one calls.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::event::PollFlags;

use crate::line::Line;
use crate::nudge::Nudge;
use crate::turns::Look;

/// How long nobody must have read before the background thread does.
const GRACE: Duration = Duration::from_millis(1);

/// The thread of one connection's.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// Wakes it. There is one once the thread is started.
    nudge: OnceLock<Nudge>,
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
    /// Starts the background thread, which ends with the connection.
    pub(crate) fn start_background(self: &Arc<Self>) -> io::Result<()> {
        let nudge = Nudge::new()?;
        self.background.nudge.get_or_init(|| nudge);
        let line = self.clone();
        thread::Builder::new().name("qmp-background".to_owned()).spawn(move || run(&line))?;
        Ok(())
    }
}

/// It does not hold the turn while it listens: a caller that comes then reads its reply itself.
fn run(line: &Line) {
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
