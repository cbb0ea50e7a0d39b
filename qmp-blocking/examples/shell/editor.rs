//! Keys to lines.

use std::io;
use std::sync::Arc;

use crate::complete::Completion;
use crate::history::History;
use crate::keyboard::Keyboard;
use crate::keys::{self, Key};
use crate::line::Line;
use crate::screen::Screen;
use crate::terminal::{KeyMode, width};

/// The result of reading a line.
pub(crate) enum Typed {
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the terminal's end.
    End,
}

/// A line editor with history and completion.
pub(crate) struct Editor {
    mode: KeyMode,
    keyboard: Arc<Keyboard>,
    screen: Arc<Screen>,
    history: History,
    line: Line,
    /// The index of the history line that is shown.
    at: usize,
    /// The line that was typed before a history line was shown.
    draft: String,
    /// The text that was deleted last.
    removed: String,
    pasting: bool,
}

impl Editor {
    pub(crate) fn new(keyboard: Arc<Keyboard>, screen: Arc<Screen>, mode: KeyMode) -> Self {
        let history = History::load();
        let (line, at, draft, removed) = (Line::default(), 0, String::new(), String::new());
        Self { mode, keyboard, screen, history, line, at, draft, removed, pasting: false }
    }

    /// Reads the next line.
    pub(crate) fn read(&mut self, prompt: &str, completion: &Completion) -> io::Result<Typed> {
        self.line.set("");
        self.at = self.history.lines().len();
        let typed = loop {
            // Keys that came in one piece are drawn once.
            if self.keyboard.is_idle() {
                self.screen.draw(prompt, &self.line)?;
            }
            let Some(mut key) = keys::next(&self.keyboard) else { break Typed::End };
            if key == Key::Control('r') && !self.pasting {
                key = self.search()?;
            }
            if let Some(typed) = self.press(key, completion)? {
                break typed;
            }
        };
        if matches!(typed, Typed::Line(_)) {
            self.line.move_to(self.line.text().len());
            self.screen.draw(prompt, &self.line)?;
        }
        self.screen.finish()?;
        if let Typed::Line(line) = &typed {
            self.history.add(line);
        }
        Ok(typed)
    }

    fn press(&mut self, key: Key, completion: &Completion) -> io::Result<Option<Typed>> {
        let line = &mut self.line;
        let (cursor, end) = (line.cursor(), line.text().len());
        match key {
            Key::Enter => return Ok(Some(Typed::Line(line.text().to_owned()))),
            Key::Control('c') => return Ok(Some(Typed::Interrupt)),
            Key::Control('d') if end == 0 => return Ok(Some(Typed::End)),
            Key::Control('z') => {
                self.screen.finish()?;
                self.mode.suspend()?;
            }
            Key::PasteBegins | Key::PasteEnds => self.pasting = key == Key::PasteBegins,
            Key::Tab if self.pasting => line.insert(" "),
            Key::Tab => self.complete(completion)?,
            Key::Char(c) => line.insert(c.encode_utf8(&mut [0; 4])),
            Key::Left | Key::Control('b') => line.move_to(line.before()),
            Key::Right | Key::Control('f') => line.move_to(line.behind()),
            Key::WordLeft | Key::Alt('b') => line.move_to(line.word_before()),
            Key::WordRight | Key::Alt('f') => line.move_to(line.word_behind()),
            Key::Home | Key::Control('a') => line.move_to(0),
            Key::End | Key::Control('e') => line.move_to(end),
            Key::Backspace => drop(line.remove(line.before()..cursor)),
            Key::Delete | Key::Control('d') => drop(line.remove(cursor..line.behind())),
            Key::Control('k') => self.removed = line.remove(cursor..end),
            Key::Control('u') => self.removed = line.remove(0..cursor),
            Key::Control('w') => self.removed = line.remove(line.word_before()..cursor),
            Key::Alt('d') => self.removed = line.remove(cursor..line.word_behind()),
            Key::Control('y') => line.insert(&self.removed),
            Key::Up | Key::Control('p') => self.recall(self.at.checked_sub(1)),
            Key::Down | Key::Control('n') => self.recall(self.at.checked_add(1)),
            Key::Control('l') => self.screen.print("\x1b[H\x1b[2J")?,
            Key::Control(_) | Key::Alt(_) | Key::Escape | Key::Unknown => {}
        }
        Ok(None)
    }

    /// Shows another line of the history. The line that was being typed is the one after the last.
    fn recall(&mut self, at: Option<usize>) {
        let last = self.history.lines().len();
        let Some(at) = at.filter(|at| *at <= last) else { return };
        if self.at == last {
            self.line.text().clone_into(&mut self.draft);
        }
        self.line.set(self.history.lines().get(at).unwrap_or(&self.draft));
        self.at = at;
    }

    /// Inserts the prefix that all candidates share, and lists them if there are several.
    fn complete(&mut self, completion: &Completion) -> io::Result<()> {
        let (start, candidates) = completion.candidates(&self.line.text()[..self.line.cursor()]);
        let Some((first, others)) = candidates.split_first() else { return Ok(()) };
        let common =
            others.iter().fold(&*first.text, |common, other| in_common(common, &other.text));
        if common.len() > self.line.cursor() - start {
            self.line.replace_from(start, common);
        }
        if !others.is_empty() {
            let shown: Vec<_> = candidates.iter().map(|candidate| &*candidate.shown).collect();
            self.screen.print(columns(&shown, width()))?;
        }
        Ok(())
    }

    /// Searches the history while a part of a line is typed. Returns the key that ended the search.
    fn search(&mut self) -> io::Result<Key> {
        let (before, mut part, mut at) = (self.line.text().to_owned(), String::new(), self.at);
        loop {
            self.screen.draw(&format!("(search) {part}: "), &self.line)?;
            let mut until = self.history.lines().len();
            match keys::next(&self.keyboard) {
                Some(Key::Char(c)) => part.push(c),
                Some(Key::Backspace) => drop(part.pop()),
                Some(Key::Control('r')) => until = at,
                None | Some(Key::Control('c' | 'g') | Key::Escape) => {
                    self.line.set(&before);
                    return Ok(Key::Unknown);
                }
                Some(key) => return Ok(key),
            }
            let earlier = &self.history.lines()[..until];
            if let Some(found) = earlier.iter().rposition(|line| line.contains(&part)) {
                at = found;
                self.line.set(&earlier[found]);
            }
        }
    }
}

fn in_common<'a>(one: &'a str, other: &str) -> &'a str {
    let differs = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    let end = differs.map_or(one.len().min(other.len()), |((at, _), _)| at);
    &one[..end]
}

/// Arranges texts in columns.
fn columns(texts: &[&str], width: usize) -> String {
    let widest = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0) + 2;
    let rows: Vec<_> = texts
        .chunks((width / widest).max(1))
        .map(|row| {
            let cells: String = row.iter().map(|text| format!("{text:widest$}")).collect();
            cells.trim_end().to_owned()
        })
        .collect();
    rows.join("\n")
}
