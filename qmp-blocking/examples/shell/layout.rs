//! JSON as people read it: indented, in colours, or in one line. Values stay as they were written.

use std::fmt::{self, Display, Formatter, Write};

use qmp_blocking::printable;

/// How JSON is shown.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) colour: bool,
    /// What fits into so many characters stays in one line.
    pub(crate) width: usize,
}

/// What is deeper is indented no further: a deep reply would become a thousand times as long.
const DEEPEST: usize = 32;

const KEY: &str = "\x1b[34m";
const STRING: &str = "\x1b[32m";
const WORD: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

impl Layout {
    /// Shows JSON that is given in parts. It is written piece by piece, and not copied.
    pub(crate) fn apply<const PARTS: usize>(self, parts: [&str; PARTS]) -> Shown<'_, PARTS> {
        Shown { layout: self, parts }
    }
}

/// JSON in parts that end between tokens.
pub(crate) struct Shown<'a, const PARTS: usize> {
    layout: Layout,
    parts: [&'a str; PARTS],
}

impl<const PARTS: usize> Display for Shown<'_, PARTS> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let fits = self.layout.width == usize::MAX
            || self.write(&mut Room(self.layout.width), false, false).is_ok();
        self.write(f, !fits, self.layout.colour)
    }
}

impl<const PARTS: usize> Shown<'_, PARTS> {
    /// Writes the tokens, at any depth. Text that is not JSON is written too.
    fn write(&self, to: &mut dyn Write, indent: bool, colour: bool) -> fmt::Result {
        let mut depth = 0_usize;
        let mut tokens = self.parts.iter().flat_map(|part| Tokens(part)).peekable();
        let mut empty = false;
        while let Some(token) = tokens.next() {
            match token {
                "{" | "[" => {
                    depth += 1;
                    to.write_str(token)?;
                    empty = matches!(tokens.peek(), Some(&("}" | "]")));
                    if !empty {
                        new_line(to, depth, indent, "")?;
                    }
                }
                "}" | "]" => {
                    depth = depth.saturating_sub(1);
                    if !empty {
                        new_line(to, depth, indent, "")?;
                    }
                    empty = false;
                    to.write_str(token)?;
                }
                "," => {
                    to.write_str(token)?;
                    new_line(to, depth, indent, " ")?;
                }
                ":" => to.write_str(": ")?,
                _ => {
                    let is_key = tokens.peek() == Some(&":");
                    let painted = match (token.starts_with('"'), is_key) {
                        (_, true) => KEY,
                        (true, false) => STRING,
                        (false, false) => WORD,
                    };
                    paint(to, token, colour.then_some(painted))?;
                }
            }
        }
        Ok(())
    }
}

/// A writer that accepts a number of characters.
struct Room(usize);

impl Write for Room {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.chars().count()).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn new_line(to: &mut dyn Write, depth: usize, indent: bool, otherwise: &str) -> fmt::Result {
    match indent {
        true => write!(to, "\n{:1$}", "", 4 * depth.min(DEEPEST)),
        false => to.write_str(otherwise),
    }
}

/// Control characters and invisible ones are escaped, as JSON escapes them.
fn paint(to: &mut dyn Write, token: &str, colour: Option<&str>) -> fmt::Result {
    let behind = colour.map_or("", |_| PLAIN);
    write!(to, "{}{}{behind}", colour.unwrap_or(""), printable(token))
}

/// The tokens of a JSON text.
pub(crate) struct Tokens<'a>(pub(crate) &'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let length = match text.chars().next()? {
            '"' => crate::value::string_length(text),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            first => {
                let ends = |c: char| c.is_whitespace() || "{}[],:\"".contains(c);
                text.find(ends).unwrap_or(text.len()).max(first.len_utf8())
            }
        };
        let (token, rest) = text.split_at(length);
        self.0 = rest;
        Some(token)
    }
}
