//! QEMU's option lists: `name=value,flag,noflag`, where `,,` in a value stands for one comma.

use super::{AddressError, AddressProblem};

/// One option, with the byte of the whole text at which its name and its value begin.
pub(super) struct Given<'a> {
    pub(super) name: &'a str,
    pub(super) value: String,
    pub(super) at: usize,
    pub(super) value_at: usize,
}

/// Reads the options of `text` from byte `at` on. The first may be a value alone if `implied` names it.
pub(super) fn read<'a>(text: &'a str, at: usize, implied: Option<&'a str>) -> Vec<Given<'a>> {
    let mut given = Vec::new();
    let mut at = at;
    if let Some(name) = implied {
        let item = first_item(&text[at..]);
        if !is_named(item) {
            given.push(Given::new(name, item, at, at));
            at += item.len() + 1;
        }
    }
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let item = first_item(rest);
        given.push(Given::read(item, at));
        at += item.len() + 1;
    }
    given
}

/// What stands before the first comma that is not doubled.
pub(super) fn first_item(text: &str) -> &str {
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        if byte == b',' && bytes.next_if(|(_, next)| *next == b',').is_none() {
            return &text[..at];
        }
    }
    text
}

/// Whether an item has the form `name=value`. What has a slash or a comma before its `=` is a path,
/// though QEMU takes the slash for part of a name.
pub(super) fn is_named(item: &str) -> bool {
    item.split_once('=').is_some_and(|(name, _)| !name.contains(['/', ',']))
}

/// The last option of that name: it is the one that counts.
pub(super) fn last<'g, 'a>(given: &'g [Given<'a>], name: &str) -> Option<&'g Given<'a>> {
    given.iter().rev().find(|option| option.name == name)
}

/// The value of an option that is on or off.
pub(super) fn switch(
    given: &[Given<'_>],
    name: &'static str,
    default: bool,
) -> Result<bool, AddressError> {
    let Some(option) = last(given, name) else {
        return Ok(default);
    };
    match option.value.as_str() {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(AddressError::new(option.value_at, AddressProblem::Switch(name))),
    }
}

impl<'a> Given<'a> {
    /// An option whose value is still as written.
    pub(super) fn new(name: &'a str, written: &str, at: usize, value_at: usize) -> Self {
        Given { name, value: written.replace(",,", ","), at, value_at }
    }

    /// Reads `name=value`, `name` (on) or `noname` (off).
    fn read(item: &'a str, at: usize) -> Self {
        match item.split_once('=') {
            Some((name, value)) => Given::new(name, value, at, at + name.len() + 1),
            None => match item.strip_prefix("no") {
                Some(name) => Given::new(name, "off", at, at),
                None => Given::new(item, "on", at, at),
            },
        }
    }
}
