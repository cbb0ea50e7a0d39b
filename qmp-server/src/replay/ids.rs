//! The ids of a recorded session, and those that a client has in place of them.

use alloc::borrow::{Cow, ToOwned};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;

use qmp_proto::__server::tokens::{self, Tokens};

#[derive(Default)]
pub(super) struct Ids {
    /// By the recorded id.
    names: BTreeMap<String, Names>,
    /// By the new id: the recorded one of the commands in flight that have it, and how many they are.
    in_flight: BTreeMap<String, (String, usize)>,
}

/// What stands for a recorded id, which several commands may have had.
#[derive(Default)]
struct Names {
    /// Of commands in flight, in their order.
    in_flight: VecDeque<String>,
    /// That of the last one answered.
    answered: Option<String>,
}

impl Ids {
    /// Notes which id a command of the client's has in place of the recorded one. Tells whether it
    /// may: not where the same id stands for another recorded one, as their answers would be the same.
    pub(super) fn ask(&mut self, recorded: &str, command: &str) -> bool {
        let (Some(old), Some(new)) = (id(recorded), id(command)) else { return true };
        let old = key(old);
        let (taken_for, count) = self.in_flight.entry(key(new)).or_insert((old.clone(), 0));
        if *taken_for != old {
            return false;
        }
        *count += 1;
        self.names.entry(old).or_default().in_flight.push_back(new.to_owned());
        true
    }

    /// A recorded message of the server's with the id that the client knows: of those that stand for
    /// the same recorded one, that of the oldest command in flight.
    pub(super) fn answer<'a>(&mut self, json: &'a str) -> Cow<'a, str> {
        let Some(range) = tokens::members(json, "id").last() else { return Cow::Borrowed(json) };
        let Some(names) = self.names.get_mut(&key(&json[range.clone()])) else {
            return Cow::Borrowed(json);
        };
        if let Some(new) = names.in_flight.pop_front() {
            forget(&mut self.in_flight, &key(&new));
            names.answered = Some(new);
        }
        let id = names.answered.as_deref().unwrap_or_default();
        Cow::Owned([&json[..range.start], id, &json[range.end..]].concat())
    }
}

fn forget(in_flight: &mut BTreeMap<String, (String, usize)>, new: &str) {
    if let Some((_, count)) = in_flight.get_mut(new) {
        *count -= 1;
        if *count == 0 {
            in_flight.remove(new);
        }
    }
}

/// The id of a command. One that stands twice is none: servers refuse such a command without an id.
fn id(json: &str) -> Option<&str> {
    let mut ids = tokens::members(json, "id");
    let range = ids.next()?;
    ids.next().is_none().then(|| &json[range])
}

/// The same text for ids that are written differently.
fn key(id: &str) -> String {
    Tokens::new(id).map(tokens::normalised).collect()
}
