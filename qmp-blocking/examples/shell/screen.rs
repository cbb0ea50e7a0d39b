//! The line at the bottom of a terminal, and the text above it.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use qmp_blocking::printable;
use unicode_width::UnicodeWidthChar;

use crate::line::Line;
use crate::terminal;

/// A terminal shows the text between these two at once.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";

/// The bottom of a terminal. Threads may share it.
#[derive(Default)]
pub(crate) struct Screen {
    /// `None` between two lines.
    shown: Mutex<Option<Shown>>,
}

/// A line as it is shown. Its places count from the start of its first row.
#[derive(Clone, Default, PartialEq)]
struct Shown {
    text: String,
    end: Place,
    cursor: Place,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    row: usize,
    column: usize,
}

impl Screen {
    /// Draws a prompt and a line.
    pub(crate) fn draw(&self, prompt: &str, line: &Line) -> io::Result<()> {
        let mut shown = self.lock();
        let new = Shown::new(prompt, line, terminal::width());
        let mut output = io::stdout().lock();
        match &*shown {
            Some(old) if *old == new => {}
            Some(old) if new.goes_on_from(old) => {
                write!(output, "{}", &new.text[old.text.len()..])?
            }
            Some(old) => write!(output, "{BEGIN}{}{}{END}", erase(old), new.drawn())?,
            None => write!(output, "{BEGIN}{}{END}", new.drawn())?,
        }
        *shown = Some(new);
        output.flush()
    }

    /// Finishes the line. The next output is below it.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let Some(shown) = self.lock().take() else { return Ok(()) };
        let mut output = io::stdout().lock();
        writeln!(output, "{}", go(shown.cursor, shown.end))?;
        output.flush()
    }

    /// Prints a text and a line end, above the line that is being typed.
    pub(crate) fn print(&self, text: impl Display) -> io::Result<()> {
        let shown = self.lock();
        let mut output = BufWriter::new(io::stdout().lock());
        match &*shown {
            Some(shown) => write!(output, "{BEGIN}{}{text}\n{}{END}", erase(shown), shown.drawn())?,
            None => writeln!(output, "{text}")?,
        }
        output.flush()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn new(prompt: &str, line: &Line, width: usize) -> Self {
        let visible = |text: &str| printable(text).to_string();
        let (before, behind) = line.text().split_at(line.cursor());
        let mut text = format!("{prompt}{}", visible(before));
        let cursor = place(&text, width);
        text += &visible(behind);
        let end = place(&text, width);
        Self { text, end, cursor }
    }

    /// Whether it is the other line with one more character at the end of the same row.
    fn goes_on_from(&self, other: &Self) -> bool {
        let at_the_end = self.cursor == self.end && other.cursor == other.end;
        let more = self.text.strip_prefix(&other.text).map_or(0, |more| more.chars().count());
        at_the_end && self.end.row == other.end.row && more == 1
    }

    /// The output that draws it from the start of a row.
    fn drawn(&self) -> String {
        // After the last column, a terminal moves to the next row only with the next character.
        let line_end = if self.end.column == 0 && self.end.row > 0 { "\n" } else { "" };
        format!("{}{line_end}{}", self.text, go(self.end, self.cursor))
    }
}

/// The output that erases a line. It leaves the cursor at the line's start.
fn erase(shown: &Shown) -> String {
    format!("{}\x1b[J", go(shown.cursor, Place::default()))
}

/// The output that moves the cursor.
fn go(from: Place, to: Place) -> String {
    if from == to {
        return String::new();
    }
    let rows = match (from.row.saturating_sub(to.row), to.row.saturating_sub(from.row)) {
        (0, 0) => String::new(),
        (0, down) => format!("\x1b[{down}B"),
        (up, _) => format!("\x1b[{up}A"),
    };
    let columns = if to.column > 0 { format!("\x1b[{}C", to.column) } else { String::new() };
    format!("{rows}\r{columns}")
}

/// The place of the cursor after a text.
fn place(text: &str, width: usize) -> Place {
    let mut place = Place::default();
    for wide in text.chars().filter_map(UnicodeWidthChar::width) {
        if place.column + wide > width {
            place = Place { row: place.row + 1, column: 0 };
        }
        place.column += wide;
    }
    match place.column >= width {
        true => Place { row: place.row + 1, column: 0 },
        false => place,
    }
}
