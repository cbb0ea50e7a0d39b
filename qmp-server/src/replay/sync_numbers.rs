//! The numbers with which sessions with a guest agent begin: as ids, they are new each time.

use alloc::borrow::{Cow, ToOwned};
use alloc::collections::VecDeque;
use alloc::string::String;
use core::ops::Range;

use qmp_proto::__server::tokens;

/// Recorded numbers that were not answered, each with that of the client in its place.
#[derive(Default)]
pub(super) struct SyncNumbers(VecDeque<(String, String)>);

impl SyncNumbers {
    /// A recorded command with the client's number, where both are to begin a session. One that was
    /// recorded without an id, as an earlier client's, stands for one with an id too.
    pub(super) fn ask<'a>(&mut self, recorded: &'a str, command: &str) -> Cow<'a, str> {
        let (Some(old), Some(new)) = (number(recorded), number(command)) else {
            return Cow::Borrowed(recorded);
        };
        let new = &command[new];
        self.0.push_back((recorded[old.clone()].to_owned(), new.to_owned()));
        let expected = replace(recorded, old, new);
        Cow::Owned(match (has_id(recorded), has_id(command)) {
            (false, true) => expected.replacen('{', "{\"id\":null,", 1),
            _ => expected,
        })
    }

    /// A recorded message of the server's with the client's number, where it is such an answer.
    pub(super) fn answer<'a>(&mut self, json: Cow<'a, str>) -> Cow<'a, str> {
        let Some(value) = tokens::members(&json, "return").last() else { return json };
        let Some(at) = self.0.iter().position(|(old, _)| *old == json[value.clone()]) else {
            return json;
        };
        match self.0.drain(..=at).next_back() {
            Some((_, new)) => Cow::Owned(replace(&json, value, &new)),
            None => json,
        }
    }
}

/// Where the number stands in a command that begins a session.
fn number(json: &str) -> Option<Range<usize>> {
    let name = tokens::members(json, "execute").last()?;
    if &json[name] != "\"guest-sync-delimited\"" {
        return None;
    }
    let arguments = tokens::members(json, "arguments").last()?;
    let number = tokens::members(&json[arguments.clone()], "id").last()?;
    Some(arguments.start + number.start..arguments.start + number.end)
}

fn has_id(json: &str) -> bool {
    tokens::members(json, "id").next().is_some()
}

fn replace(json: &str, range: Range<usize>, with: &str) -> String {
    [&json[..range.start], with, &json[range.end..]].concat()
}
