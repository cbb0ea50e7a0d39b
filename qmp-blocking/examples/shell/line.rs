//! A line that is being typed.

use std::ops::Range;

use unicode_width::UnicodeWidthChar;

/// A text and a place in it.
#[derive(Default)]
pub(crate) struct Line {
    text: String,
    cursor: usize,
}

impl Line {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where the cursor is, in bytes.
    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Another text, with the cursor at its end.
    pub(crate) fn set(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.cursor = text.len();
    }

    pub(crate) fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Puts a text in the place of what is from `start` to the cursor.
    pub(crate) fn replace_from(&mut self, start: usize, text: &str) {
        self.remove(start..self.cursor);
        self.insert(text);
    }

    pub(crate) fn move_to(&mut self, place: usize) {
        self.cursor = place;
    }

    /// Takes out what is there; the cursor is where it was.
    pub(crate) fn remove(&mut self, range: Range<usize>) -> String {
        self.cursor = range.start;
        self.text.drain(range).collect()
    }

    /// Where the character before the cursor begins, with what is shown in one place with it.
    pub(crate) fn before(&self) -> usize {
        let mut characters = self.text[..self.cursor].char_indices().rev();
        characters.find(|(_, c)| c.width() != Some(0)).map_or(0, |(at, _)| at)
    }

    /// Where the character behind the cursor ends.
    pub(crate) fn behind(&self) -> usize {
        let mut characters = self.text[self.cursor..].char_indices().skip(1);
        let next = characters.find(|(_, c)| c.width() != Some(0));
        next.map_or(self.text.len(), |(at, _)| self.cursor + at)
    }

    /// Where the word before the cursor begins.
    pub(crate) fn word_before(&self) -> usize {
        let before = self.text[..self.cursor].trim_end();
        before
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8))
    }

    /// Where the word behind the cursor ends.
    pub(crate) fn word_behind(&self) -> usize {
        let behind = &self.text[self.cursor..];
        let word = behind.trim_start();
        let end = word.find(char::is_whitespace).unwrap_or(word.len());
        self.cursor + behind.len() - word.len() + end
    }
}
