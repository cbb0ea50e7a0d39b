//! Why goals are not reached: written by hand, after a look at what a figure is made of.
//!
//! A line for each, `ROW: reason` or `ROW (WHAT): reason`; what begins with `#` is a comment.

use std::path::Path;
use std::{fs, io};

/// All of them.
pub struct Reasons(Vec<(String, String)>);

impl Reasons {
    pub fn read(file: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(file)?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let reasons = lines.filter_map(|line| line.split_once(": "));
        let owned = |(row, reason): (&str, &str)| (row.trim().to_owned(), reason.trim().to_owned());
        Ok(Self(reasons.map(owned).collect()))
    }

    /// That of a figure, or else of its row.
    pub fn of(&self, row: &str, what: &str) -> Option<&str> {
        let find = |key: &str| self.0.iter().find(|(row, _)| row == key);
        find(&format!("{row} ({what})")).or_else(|| find(row)).map(|(_, reason)| reason.as_str())
    }
}
