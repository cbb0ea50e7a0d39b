//! Text of a peer, made safe for a terminal or a log.

use core::fmt::{self, Write};
use core::ops::RangeInclusive;

/// Shows a peer's text or bytes without control characters and invisible characters.
///
/// The text of a server or a guest may hold escape sequences, which erase or retitle a terminal, and bidirectional
/// overrides, which change the order of letters. Each such character is escaped as in JSON (`\u001b`), so JSON stays
/// equal. A byte that is not UTF-8 is written as `\xff`, which is not valid in JSON. Backslashes are not escaped,
/// so the result cannot always be read back.
///
/// The result is one line: line ends and tabs are escaped too, unless [`Printable::with_lines`] keeps them. The
/// `Display` of this crate's errors is filtered already.
///
/// ```
/// use qmp_proto::printable;
///
/// assert_eq!(printable("red: \u{1b}[31m").to_string(), r"red: \u001b[31m");
/// assert_eq!(printable(b"a\xff\nb").to_string(), r"a\xff\u000ab");
/// assert_eq!(printable(b"a\xff\nb").with_lines().to_string(), "a\\xff\nb");
/// ```
pub fn printable<T: AsRef<[u8]> + ?Sized>(text: &T) -> Printable<'_> {
    Printable { text: text.as_ref(), lines: false }
}

/// A peer's text, filtered by its `Display`: see [`printable`].
#[derive(Clone, Copy)]
pub struct Printable<'a> {
    text: &'a [u8],
    lines: bool,
}

impl Printable<'_> {
    /// Keeps line ends and tabs, for the output of a program. A peer can forge whole lines then.
    #[must_use]
    pub fn with_lines(self) -> Self {
        Self { lines: true, ..self }
    }

    fn keeps(self, c: char) -> bool {
        match c {
            '\n' | '\t' => self.lines,
            c => !c.is_control() && !HIDDEN.iter().any(|range| range.contains(&c)),
        }
    }
}

/// Invisible characters that are not control characters: bidirectional controls, line separators, fillers and tags.
/// The two joiners and U+FE0F, the variation selector of emoji, stay: some scripts and emoji need them.
const HIDDEN: [RangeInclusive<char>; 19] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200b}',
    '\u{200e}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0e}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.text.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(at) = rest.find(|c| !self.keeps(c)) {
                f.write_str(&rest[..at])?;
                rest = match rest[at..].strip_prefix("\r\n") {
                    Some(behind) if self.lines => {
                        f.write_str("\r\n")?;
                        behind
                    }
                    _ => escape_first(&rest[at..], f)?,
                };
            }
            f.write_str(rest)?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Escapes the first character as in JSON; returns the rest.
fn escape_first<'a>(text: &'a str, f: &mut fmt::Formatter<'_>) -> Result<&'a str, fmt::Error> {
    let mut rest = text.chars();
    for c in rest.by_ref().take(1) {
        c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(f, "\\u{unit:04x}"))?;
    }
    Ok(rest.as_str())
}

/// A text, cut off after so many bytes at most.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        fmt::Display::fmt(self, f)?;
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::payload::raw::Raw;

    #[test]
    fn c22_nothing_that_a_terminal_acts_on_is_kept() {
        for c in ('\0'..=char::MAX).filter(|c| c.is_control()) {
            assert_eq!(
                printable(c.encode_utf8(&mut [0; 4])).to_string(),
                alloc::format!("\\u{:04x}", u32::from(c))
            );
        }
        for c in "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}\u{2028}\u{feff}\u{200b}"
            .chars()
        {
            let shown = printable(c.encode_utf8(&mut [0; 4])).to_string();
            assert!(shown.is_ascii() && shown.starts_with("\\u"), "{shown}");
        }
        assert_eq!(printable("\u{e0041}").to_string(), r"\udb40\udc41");
    }

    #[test]
    fn c22_invisible_characters_are_escaped() {
        let invisible = [
            '\u{ad}'..='\u{ad}',
            '\u{34f}'..='\u{34f}',
            '\u{115f}'..='\u{1160}',
            '\u{17b4}'..='\u{17b5}',
            '\u{180b}'..='\u{180f}',
            '\u{2800}'..='\u{2800}',
            '\u{3164}'..='\u{3164}',
            '\u{fe00}'..='\u{fe0e}',
            '\u{ffa0}'..='\u{ffa0}',
            '\u{fff0}'..='\u{fffb}',
            '\u{e0000}'..='\u{e0fff}',
        ];
        for c in invisible.into_iter().flatten() {
            let shown = printable(c.encode_utf8(&mut [0; 4])).to_string();
            assert!(shown.is_ascii() && shown.starts_with("\\u"), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn c22_text_of_people_stays_as_it_is() {
        for text in
            ["", "a \"b\" \\ ü 漢字 \u{301}e", "نمی\u{200c}خواهم", "👩\u{200d}💻", "❤\u{fe0f}"]
        {
            assert_eq!(printable(text).to_string(), text);
        }
        let lines = printable("a\tb\n\r\r\nc").with_lines();
        assert_eq!(lines.to_string(), "a\tb\n\\u000d\r\nc");
        assert_eq!(printable("a\tb\n").to_string(), r"a\u0009b\u000a");
    }

    #[test]
    fn c22_json_stays_the_same_json() {
        let hidden = Raw::from_static("{\"a\u{202e}\": \"\u{e0041}\u{85}\u{7f}\"}");
        let shown = printable(hidden.as_bytes()).to_string();
        assert!(shown.is_ascii(), "{shown}");
        let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(value(&shown), value(hidden.as_str().unwrap()));
    }

    #[test]
    fn c22_bytes_that_are_no_text_are_seen_as_such() {
        assert_eq!(
            printable(b"\xf0\x9f\x1b\xff\xfe!\xc3").to_string(),
            r"\xf0\x9f\u001b\xff\xfe!\xc3"
        );
        assert!(
            serde_json::from_str::<serde_json::Value>(&printable(b"\"\xff\"").to_string()).is_err()
        );
    }

    #[test]
    fn c22_a_text_is_cut_between_characters() {
        assert_eq!((cut("ab", 2), cut("ab", 1), cut("", 3)), ("ab", "a", ""));
        assert_eq!((cut("äöü", 3), cut("äöü", 4), cut("ä", 1)), ("ä", "äö", ""));
    }
}
