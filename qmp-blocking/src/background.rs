//! The thread that reads while nobody waits, so that events flow while no one calls.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::line::Line;
use crate::turns::{Look, ReadBuffer, Successor};

/// How long nobody must have read before the background thread does.
const GRACE: Duration = Duration::from_millis(1);

/// Starts the thread. It ends with the connection.
pub(crate) fn start(line: Arc<Line>) -> io::Result<()> {
    thread::Builder::new().name("qmp-background".to_owned()).spawn(move || run(&line))?;
    Ok(())
}

fn run(line: &Line) {
    let mut seen = 0;
    while !line.hub.is_closed() {
        match line.turns.look(seen) {
            Look::Changed(count) => {
                seen = count;
                line.wait_in_background(None, Some(GRACE));
            }
            Look::Idle(buffer) => {
                read_until_wanted(line, buffer);
                line.wait_in_background(None, Some(GRACE));
            }
            Look::Busy => line.wait_in_background(None, None),
        }
    }
}

/// Reads until a caller would rather do so itself.
fn read_until_wanted(line: &Line, mut buffer: ReadBuffer) {
    while !line.hub.is_closed() && !line.turns.is_wanted() {
        line.wait_in_background(Some(&mut buffer), None);
    }
    if line.turns.leave(Some(buffer)) == Successor::Background {
        line.nudge();
    }
}
