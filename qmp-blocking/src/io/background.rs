//! The thread that reads while nobody waits, so that events flow while no one calls.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::io::Line;
use crate::io::turns::Look;

/// How long no caller must have read before the background thread does, unless there is an unattended wait.
const GRACE: Duration = Duration::from_millis(1);

/// Starts the thread. It ends with the connection.
pub(crate) fn start(line: Arc<Line>) -> io::Result<()> {
    thread::Builder::new().name("qmp-background".to_owned()).spawn(move || run(&line))?;
    Ok(())
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
