//! A line under the cursor.

use std::ops::Range;

use unicode_width::UnicodeWidthChar;

/// A text and a cursor in it.
#[derive(Default)]
pub(crate) struct Line {
    text: String,
    cursor: usize,
}

impl Line {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The cursor's place, in bytes.
    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Replaces the text, and moves the cursor to its end.
    pub(crate) fn set(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.cursor = text.len();
    }

    pub(crate) fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Replaces the text from `start` to the cursor.
    pub(crate) fn replace_from(&mut self, start: usize, text: &str) {
        self.remove(start..self.cursor);
        self.insert(text);
    }

    pub(crate) fn move_to(&mut self, place: usize) {
        self.cursor = place;
    }

    /// Removes a range, and moves the cursor there.
    pub(crate) fn remove(&mut self, range: Range<usize>) -> String {
        self.cursor = range.start;
        self.text.drain(range).collect()
    }

    /// The start of the character before the cursor. Accents belong to their letter.
    pub(crate) fn before(&self) -> usize {
        let mut characters = self.text[..self.cursor].char_indices().rev();
        characters.find(|(_, c)| c.width() != Some(0)).map_or(0, |(at, _)| at)
    }

    /// The end of the character at the cursor.
    pub(crate) fn behind(&self) -> usize {
        let mut characters = self.text[self.cursor..].char_indices().skip(1);
        let next = characters.find(|(_, c)| c.width() != Some(0));
        next.map_or(self.text.len(), |(at, _)| self.cursor + at)
    }

    /// The start of the word before the cursor.
    pub(crate) fn word_before(&self) -> usize {
        let before = self.text[..self.cursor].trim_end();
        before
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8))
    }

    /// The end of the word after the cursor.
    pub(crate) fn word_behind(&self) -> usize {
        let behind = &self.text[self.cursor..];
        let word = behind.trim_start();
        let end = word.find(char::is_whitespace).unwrap_or(word.len());
        self.cursor + behind.len() - word.len() + end
    }
}
