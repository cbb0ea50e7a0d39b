//! The thread that reads while nobody waits, so that events flow while no one calls.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::io::ThreadIo;
use crate::io::turns::Look;

/// How long no caller must have read before the background thread does, unless there is an unattended wait.
const GRACE: Duration = Duration::from_millis(1);

/// Starts the thread. It ends with the connection.
pub(crate) fn start(io: Arc<ThreadIo>) -> io::Result<()> {
    thread::Builder::new().name("qmp-background".to_owned()).spawn(move || run(&io))?;
    Ok(())
}

/// It does not hold the turn while it listens: a caller that comes then reads its reply itself.
fn run(io: &ThreadIo) {
    let mut seen = 0;
    while !io.shared.is_closed() {
        let (look, put_off) = io.turns.look(seen);
        let moment = put_off.then_some(GRACE);
        match look {
            Look::Changed(count) => {
                seen = count;
                io.doze(Some(GRACE));
            }
            Look::Busy => io.doze(moment),
            Look::Idle => io.listen(moment),
        }
        if put_off {
            io.send_put_off();
        }
    }
}
