//! Bytes as ASCII text, and back.

use alloc::vec::Vec;
use core::fmt::{self, Write};

/// Shows bytes in one line: `\xNN` for what is no printable ASCII, `\\` for a backslash.
pub(super) fn escaped(bytes: &[u8]) -> Escaped<'_> {
    Escaped(bytes)
}

pub(super) struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| match byte {
            b'\\' => f.write_str("\\\\"),
            b' '..=b'~' => f.write_char(char::from(*byte)),
            byte => write!(f, "\\x{byte:02x}"),
        })
    }
}

/// The bytes that a text stands for; `None` where it is no such text.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        bytes.push(match byte {
            b'\\' => unescape_one(&mut rest)?,
            b' '..=b'~' => byte,
            _ => return None,
        });
    }
    Some(bytes)
}

/// The byte for which what stands behind a backslash does.
fn unescape_one(rest: &mut &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (byte, behind) = match **rest {
        [b'\\', ref behind @ ..] => (b'\\', behind),
        [b'x', high, low, ref behind @ ..] => {
            (u8::try_from(digit(high)? << 4 | digit(low)?).ok()?, behind)
        }
        _ => return None,
    };
    *rest = behind;
    Some(byte)
}
