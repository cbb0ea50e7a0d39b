//! A small object inside a message, read without validating what is not asked for.

use alloc::borrow::Cow;

use serde::Deserialize;

use crate::framer::{Framer, MAX_DEPTH};

/// Shows `visit` the name and the JSON text of each member. Names that do not decode are passed
/// over. `None` where the text is no object.
pub(crate) fn for_each_member(json: &[u8], mut visit: impl FnMut(&str, &[u8])) -> Option<()> {
    let mut framer = Framer::new(json.len() + 1, MAX_DEPTH);
    let mut rest = json;
    let frame = framer.next(&mut rest).ok().flatten()?;
    if !(json.starts_with(b"{") && rest.is_empty()) {
        return None;
    }
    for member in frame.members {
        let (name, value) = (member.name.trim(json), member.value.trim(json));
        if let Some(name) = string(&json[name.range()]) {
            visit(&name, &json[value.range()]);
        }
    }
    Some(())
}

/// A JSON string's value, borrowed where it has no escapes.
pub(crate) fn string(json: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_slice(json).map(|Borrowed(string)| string).ok()
}
