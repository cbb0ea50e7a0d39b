//! In the place of `streams` where that feature is off: sockets alone are opened.

use std::io;

use super::Opened;
use crate::Address;

pub(crate) fn open_inherited(_: &Address) -> Option<io::Result<Opened>> {
    None
}

pub(super) fn try_open(_: &Address) -> io::Result<Opened> {
    let text = "such addresses need the feature `streams`, which is off";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
