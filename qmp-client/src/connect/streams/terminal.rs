//! A terminal or serial line, as QEMU's `-qmp pty` makes one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Opens it for both directions without blocking, and has it pass on every byte as it is.
///
/// A serial line without a carrier does not keep us waiting. It does not become this process's
/// controlling terminal.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    let terminal = options.read(true).write(true).custom_flags(flags.bits() as i32).open(path)?;
    // What is no terminal answers ENOTTY.
    let mut attributes = tcgetattr(&terminal)?;
    attributes.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &attributes)?;
    Ok(terminal)
}
