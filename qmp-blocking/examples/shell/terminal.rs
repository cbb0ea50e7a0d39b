//! The terminal's modes and its width.

use std::io::{self, Write};

use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize,
    tcsetattr,
};

/// Makes a terminal mark pasted text, so that a tab in it is not a key.
const MARK_PASTES: &str = "\x1b[?2004h";
const MARK_NO_PASTES: &str = "\x1b[?2004l";

/// A terminal's mode for line editing: no echo, no line buffering, and Ctrl-C is a key. Dropping it restores the mode.
pub(crate) struct KeyMode {
    before: Termios,
    keys: Termios,
}

impl KeyMode {
    pub(crate) fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        keys.input_modes -=
            InputModes::BRKINT | InputModes::ICRNL | InputModes::ISTRIP | InputModes::IXON;
        keys.local_modes -=
            LocalModes::ECHO | LocalModes::ICANON | LocalModes::IEXTEN | LocalModes::ISIG;
        keys.special_codes[SpecialCodeIndex::VMIN] = 1;
        keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        let mode = Self { before, keys };
        mode.enter()?;
        Ok(mode)
    }

    /// Stops this program as Ctrl-Z does, until SIGCONT.
    pub(crate) fn suspend(&self) -> io::Result<()> {
        self.leave()?;
        kill_current_process_group(Signal::TSTP)?;
        self.enter()
    }

    fn enter(&self) -> io::Result<()> {
        tcsetattr(io::stdin(), OptionalActions::Now, &self.keys)?;
        write(MARK_PASTES)
    }

    fn leave(&self) -> io::Result<()> {
        write(MARK_NO_PASTES)?;
        Ok(tcsetattr(io::stdin(), OptionalActions::Drain, &self.before)?)
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = self.leave();
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// The number of columns.
pub(crate) fn width() -> usize {
    let columns = tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
    if columns == 0 { 80 } else { columns.into() }
}
