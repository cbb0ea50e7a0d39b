//! A small object inside a message, read without validating what is not asked for.

use alloc::borrow::Cow;

use serde::Deserialize;

use crate::codec::scanner::{MAX_DEPTH, Scanner};
use crate::codec::text::{from_first, trim};

/// Shows `visit` the name and the JSON text of each member. Names that do not decode are passed
/// over. `None` where the text is no object.
pub(crate) fn for_each_member(json: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Option<()> {
    let mut scanner = Scanner::new(MAX_DEPTH);
    let end = json.starts_with(b"{").then(|| scanner.scan(json, 0))?.ok()?;
    if end != Some(json.len()) {
        return None;
    }
    for member in scanner.members() {
        let (name, value) = (trim(&json[member.name.range()]), trim(&json[member.value.range()]));
        if let Some(name) = plain_string(name) {
            visit(name, value);
        } else if let Some(name) = string(name) {
            visit(name.as_bytes(), value);
        }
    }
    Some(())
}

/// A JSON string's value, borrowed where it has no escapes.
pub fn string(json: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
    match plain_string(json) {
        Some(text) => core::str::from_utf8(text).ok().map(Cow::Borrowed),
        None => serde_json::from_slice(json).map(|Borrowed(string)| string).ok(),
    }
}

/// The same, as bytes, for a string of printable ASCII without escapes: most are. `None` for any
/// other.
pub(crate) fn plain_string(json: &[u8]) -> Option<&[u8]> {
    let [b'"', text @ .., b'"'] = json else {
        return None;
    };
    is_plain(text).then_some(text)
}

/// Whether a string's text is printable ASCII without escapes.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    from_first(text, |byte| !PLAIN[usize::from(*byte)]).is_empty()
}

/// Printable ASCII without quote and backslash.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'"' | b'\\');
        byte += 1;
    }
    plain
};
