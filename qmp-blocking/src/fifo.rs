//! The two fifos of `-chardev pipe`: the client writes into `PATH.in` and reads from `PATH.out`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use qmp_client::Address;
use qmp_client::connect::{Attempts, SocketError};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Opens both, once QEMU has.
pub(crate) fn open(path: &Path, deadline: Instant) -> Result<(FifoReader, File), SocketError> {
    let mut attempts = Attempts::new(Address::Pipe(path.to_owned()), deadline);
    loop {
        match try_open(path) {
            Ok(both) => return Ok(both),
            Err(error) => thread::sleep(attempts.again(error)?),
        }
    }
}

fn try_open(path: &Path) -> io::Result<(FifoReader, File)> {
    let mut nonblocking = OpenOptions::new();
    nonblocking.custom_flags(OFlags::NONBLOCK.bits() as i32);
    // For writing, a fifo opens only when somebody reads it: that is QEMU.
    let writer = nonblocking.clone().write(true).open(with(path, ".in")).map_err(not_there_yet)?;
    let reader = FifoReader::open(&with(path, ".out"))?;
    rustix::io::ioctl_fionbio(&writer, false)?;
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

/// The end of a fifo from which the client reads.
///
/// A fifo that nobody has open for writing reads as ended. Until the first bytes come we hold it
/// open ourselves; from then on, its end is QEMU's.
#[derive(Debug)]
pub(crate) struct FifoReader {
    file: File,
    held_open: Option<File>,
}

impl FifoReader {
    fn open(path: &Path) -> io::Result<Self> {
        let held_open = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file: File::open(path)?, held_open: Some(held_open) })
    }
}

impl Read for FifoReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.held_open = None;
        Ok(length)
    }
}
