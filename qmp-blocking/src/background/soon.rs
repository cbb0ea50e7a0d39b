//! Background threads that are to be started soon, but need not be at once: to start a thread takes as long as all
//! else that connecting does, and many a connection is over before anybody misses it.

use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use crate::line::Line;
use crate::lock;

/// How old a connection has to be, and at most twice that.
const AGE: Duration = Duration::from_millis(10);

static YOUNG: Mutex<Young> = Mutex::new(Young { lines: Vec::new(), watched: false });

/// The connections of this process that are younger.
struct Young {
    lines: Vec<Weak<Line>>,
    /// There is a thread that looks after them.
    watched: bool,
}

/// Has a new connection's background thread started when it has lived for a moment.
pub(super) fn start_soon(line: &Arc<Line>) -> io::Result<()> {
    let mut young = lock(&YOUNG);
    if !young.watched {
        thread::Builder::new().name("qmp-starter".to_owned()).spawn(watch)?;
        young.watched = true;
    }
    young.lines.push(Arc::downgrade(line));
    Ok(())
}

/// Ends when there are none.
fn watch() {
    loop {
        let mut young = lock(&YOUNG);
        let lines = std::mem::take(&mut young.lines);
        if lines.is_empty() {
            young.watched = false;
            return;
        }
        drop(young);
        thread::sleep(AGE);
        lines.iter().filter_map(Weak::upgrade).for_each(|line| line.need_background());
    }
}
