//! The two fifos of `-chardev pipe`: the client writes into `PATH.in` and reads from `PATH.out`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Opens both, if QEMU has: the one to read from and the one to write to. Neither blocks.
///
/// QEMU may open the first a moment later, and until then a read finds its end. One must poll before
/// reading: poll reports the end of a fifo only if a writer was there.
pub(super) fn try_open(path: &Path) -> io::Result<(File, File)> {
    let mut nonblocking = OpenOptions::new();
    nonblocking.custom_flags(OFlags::NONBLOCK.bits() as i32);
    // For writing, a fifo opens only when somebody reads it: that is QEMU.
    let writer = nonblocking.clone().write(true).open(with(path, ".in")).map_err(not_there_yet)?;
    let reader = nonblocking.read(true).open(with(path, ".out"))?;
    Ok((reader, writer))
}

fn not_there_yet(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => Errno::CONNREFUSED.into(),
        _ => error,
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
