//! What has an address and is no socket of its own: a pair of fifos, a terminal, what this process was started with.

mod fifo;
mod terminal;
mod file;

use std::io::{self, Write};
use std::os::fd::AsFd;

use super::Opened;
use crate::{Address, descriptors};

/// What this process has open already, for which there is nothing to wait.
pub(crate) fn open_inherited(address: &Address) -> Option<io::Result<Opened>> {
    match address {
        Address::Fd(number) => Some(descriptors::duplicate_inherited(*number).map(Opened::direct)),
        Address::Stdio => Some(standard_streams()),
        _ => None,
    }
}

/// One attempt, which never blocks, at what has a path.
pub(super) fn try_open(address: &Address) -> io::Result<Opened> {
    match address {
        Address::Pipe(path) => {
            let (reader, writer) = fifo::try_open(path)?;
            file::socket_for(reader, writer)
        }
        Address::Terminal(path) => {
            let terminal = terminal::open(path)?;
            file::socket_for(terminal.try_clone()?, terminal)
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn standard_streams() -> io::Result<Opened> {
    // Not `Stdin` and `Stdout` themselves: poll does not see what their buffers hold.
    let mut stdout = io::stdout();
    stdout.flush()?;
    let reader = io::stdin().as_fd().try_clone_to_owned()?;
    let writer = stdout.as_fd().try_clone_to_owned()?;
    file::socket_for(reader.into(), writer.into())
}
