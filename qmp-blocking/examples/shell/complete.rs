//! What the Tab key offers.

use std::collections::HashMap;

use qmp_blocking::printable;

use crate::parse;
use crate::schema::{Member, Schema};

/// What is known of the server.
#[derive(Default)]
pub(crate) struct Completion {
    pub(crate) schema: Schema,
    /// Whole commands of the human monitor, where those are typed.
    pub(crate) human: Option<Vec<String>>,
    /// Within a transaction, actions are typed.
    pub(crate) in_transaction: bool,
}

/// A word that fits at the cursor.
pub(crate) struct Candidate {
    pub(crate) text: String,
    /// As it is listed.
    pub(crate) shown: String,
}

impl Completion {
    /// Where what is completed begins, and what may stand there.
    pub(crate) fn candidates(&self, line: &str) -> (usize, Vec<Candidate>) {
        let (start, mut candidates) = self.all_candidates(line);
        // Names come from the server or the guest: one that a terminal would show as another is left out.
        candidates.retain(|it| printable(&it.text).to_string() == it.text);
        (start, candidates)
    }

    fn all_candidates(&self, line: &str) -> (usize, Vec<Candidate>) {
        if let Some(commands) = &self.human {
            let begun = line.trim_start();
            let matching = commands.iter().filter(|command| command.starts_with(begun));
            return (line.len() - begun.len(), matching.map(|it| candidate(it, it)).collect());
        }
        let (opens, typed) = match line.trim_start().strip_prefix("transaction(") {
            Some(rest) => (true, rest),
            None => (false, line.trim_start().strip_prefix("help ").unwrap_or(line)),
        };
        let action = self.schema.action().filter(|_| opens || self.in_transaction);
        let mut words = parse::words(typed);
        let word = if typed.ends_with(char::is_whitespace) { None } else { words.pop() };
        let word = word.unwrap_or("");
        let start = line.len() - word.len();
        let Some((command, pairs)) = words.split_first() else {
            return (start, self.names(word, action));
        };
        match (self.arguments(command, pairs, action), word.split_once('=')) {
            (None, _) => (start, Vec::new()),
            (Some(argument), Some((key, value))) => {
                (line.len() - value.len(), argument.values(key, value))
            }
            (Some(argument), None) => (start, argument.keys(word)),
        }
    }

    /// The arguments of a command or an action, some of which are given.
    pub(crate) fn arguments<'a>(
        &'a self,
        command: &'a str,
        pairs: &[&'a str],
        action: Option<&'a str>,
    ) -> Option<Argument<'a>> {
        let kind = action.or_else(|| self.schema.arguments_of(command))?;
        // An action is an object of a `type`, whose arguments are the members of its `data`.
        let folder = if action.is_some() { "data." } else { "" };
        let mut given = HashMap::from([("type".to_owned(), command)]);
        given.retain(|_, _| action.is_some());
        let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
        given.extend(pairs.map(|(key, value)| (format!("{folder}{key}"), value)));
        Some(Argument { schema: &self.schema, kind, folder, given })
    }

    /// Of commands, or of what may stand in a transaction.
    fn names(&self, begun: &str, action: Option<&str>) -> Vec<Candidate> {
        let mut names: Vec<_> = match action {
            Some(action) => {
                let members = self.schema.members(action, &|_| None);
                let kind = members.iter().find(|member| member.name == "type");
                kind.map_or(Vec::new(), |member| self.schema.values(member.kind))
            }
            None => self.schema.commands().collect(),
        };
        names.retain(|name| name.starts_with(begun));
        names.sort_unstable();
        names.into_iter().map(|name| candidate(name, &format!("{name} "))).collect()
    }
}

/// The argument that is being typed, and what is known by then.
pub(crate) struct Argument<'a> {
    schema: &'a Schema,
    /// The type of what it is a part of.
    kind: &'a str,
    /// The way from there to what is typed.
    folder: &'static str,
    given: HashMap<String, &'a str>,
}

impl Argument<'_> {
    fn keys(&self, begun: &str) -> Vec<Candidate> {
        let key = format!("{}{begun}", self.folder);
        let (folders, last) = key.rsplit_once('.').unwrap_or(("", &key));
        let members = self.members(folders).into_iter().filter(|it| it.name.starts_with(last));
        let mut keys = Vec::new();
        for member in members {
            let whole = format!("{}{}", &begun[..begun.len() - last.len()], member.name);
            let scalar = self.schema.is_scalar(member.kind).then_some("=");
            let object = self.schema.is_object(member.kind).then_some(".");
            for key in scalar.into_iter().chain(object).map(|sign| format!("{whole}{sign}")) {
                let shown = if member.optional { format!("[{key}]") } else { key.clone() };
                keys.push(candidate(&shown, &key));
            }
        }
        keys
    }

    fn values(&self, key: &str, begun: &str) -> Vec<Candidate> {
        let key = format!("{}{key}", self.folder);
        let (folders, last) = key.rsplit_once('.').unwrap_or(("", &key));
        let members = self.members(folders);
        let Some(member) = members.iter().find(|member| member.name == last) else {
            return Vec::new();
        };
        let mut values = self.schema.values(member.kind);
        values.retain(|value| value.starts_with(begun));
        values.sort_unstable();
        values.into_iter().map(|value| candidate(value, &format!("{value} "))).collect()
    }

    /// What may still be given in the object that the folders lead to.
    pub(crate) fn members(&self, folders: &str) -> Vec<Member<'_>> {
        let (mut kind, mut path) = (self.kind, String::new());
        for name in folders.split('.').filter(|name| !name.is_empty()) {
            let members = self.schema.members(kind, &|name| self.value(&path, name));
            let Some(member) = members.iter().find(|member| member.name == name) else {
                return Vec::new();
            };
            kind = member.kind;
            path = format!("{path}{name}.");
        }
        let mut members = self.schema.members(kind, &|name| self.value(&path, name));
        members.retain(|member| self.value(&path, member.name).is_none());
        members
    }

    /// The argument that decides on more arguments, unless it is given.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.schema.tag(self.kind).filter(|tag| self.value(self.folder, tag).is_none())
    }

    fn value(&self, path: &str, name: &str) -> Option<&str> {
        self.given.get(&format!("{path}{name}")).copied()
    }
}

fn candidate(shown: &str, text: &str) -> Candidate {
    Candidate { text: text.to_owned(), shown: shown.to_owned() }
}
