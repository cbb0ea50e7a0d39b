//! Whether two JSON texts say the same.
//!
//! They may be nested to any depth, so nothing here calls itself, and as large as messages get, so
//! they are compared where they stand: side by side as long as members come in the same order, and by
//! a list of where the members are for the rest of an object in which they do not.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use qmp_proto::__server::tokens::{self, Tokens};
use qmp_proto::trace::REDACTED;

/// Whether they are equal but for the order of members, white space, and the value of their own `id`
/// where each has one; where the first is redacted, its replaced values equal everything.
pub(super) fn same_message(expected: &str, got: &str, redacted: bool) -> bool {
    let mut comparison = Comparison {
        expected: Cursor(Tokens::new(expected)),
        got: Cursor(Tokens::new(got)),
        redacted,
        levels: Vec::new(),
        sorted: Vec::new(),
    };
    comparison.open_message() && comparison.run()
}

/// Integers by their digits, however many; others as doubles, which they are to QEMU.
fn same_scalar(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let is_string = |token: &str| token.starts_with('"');
    if is_string(one) || is_string(other) {
        let text = tokens::string(one);
        return text.is_some() && text == tokens::string(other);
    }
    match (tokens::double(one), tokens::double(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// Stands in a JSON text. Commas and colons say nothing there that brackets and order do not.
#[derive(Clone)]
struct Cursor<'a>(Tokens<'a>);

impl<'a> Cursor<'a> {
    fn peek(&mut self) -> Option<u8> {
        while let Some(b',' | b':') = self.0.peek() {
            self.0.next();
        }
        self.0.peek()
    }

    fn next(&mut self) -> Option<&'a str> {
        self.peek();
        self.0.next()
    }

    fn skip_value(&mut self) {
        self.peek();
        self.0.skip_value();
    }

    /// Where the names of an object's remaining members are, sorted by name. Goes behind the object.
    fn members(&mut self) -> Vec<usize> {
        let mut members = Vec::new();
        while !matches!(self.peek(), None | Some(b'}')) {
            members.push(self.0.position());
            self.0.next();
            self.skip_value();
        }
        self.0.next();
        members.sort_unstable_by(|one, other| {
            self.name(*one).cmp(&self.name(*other)).then(one.cmp(other))
        });
        members
    }

    /// The name that stands there; its token where it stands for no text.
    fn name(&self, at: usize) -> Result<Cow<'a, str>, &'a str> {
        let token = self.0.at(at).next().unwrap_or_default();
        tokens::string(token).ok_or(token)
    }
}

/// What both texts stand in.
#[derive(Clone, Copy)]
enum Level {
    Array,
    /// So far the members came in the same order.
    Object,
    /// The rest of an object: the last of the lists is its.
    Sorted,
}

/// The members of an object that are left, the last ones first, and where it ends.
struct Sorted {
    expected: Vec<usize>,
    got: Vec<usize>,
    end: (usize, usize),
}

struct Comparison<'a> {
    expected: Cursor<'a>,
    got: Cursor<'a>,
    redacted: bool,
    levels: Vec<Level>,
    sorted: Vec<Sorted>,
}

impl Comparison<'_> {
    fn open_message(&mut self) -> bool {
        if (self.expected.next(), self.got.next()) != (Some("{"), Some("{")) {
            return false;
        }
        let Some(mut members) = self.rest() else { return false };
        let is_id = |cursor: &Cursor<'_>, at| cursor.name(at).is_ok_and(|name| name == "id");
        let has_one = |cursor, members: &[usize]| {
            members.iter().filter(|at| is_id(cursor, **at)).count() == 1
        };
        if has_one(&self.expected, &members.expected) && has_one(&self.got, &members.got) {
            members.expected.retain(|at| !is_id(&self.expected, *at));
            members.got.retain(|at| !is_id(&self.got, *at));
        }
        self.levels.push(Level::Sorted);
        self.sorted.push(members);
        true
    }

    /// The members that are left of the objects in which both stand; `None` if not as many.
    fn rest(&mut self) -> Option<Sorted> {
        let (expected, got) = (self.expected.members(), self.got.members());
        let end = (self.expected.0.position(), self.got.0.position());
        (expected.len() == got.len()).then_some(Sorted { expected, got, end })
    }

    fn run(&mut self) -> bool {
        while let Some(level) = self.levels.last().copied() {
            let same = match level {
                Level::Array if self.is_at(b']') => self.close(),
                Level::Object if self.is_at(b'}') => self.close(),
                Level::Array => self.value(),
                Level::Object => self.member(),
                Level::Sorted => self.sorted_member(),
            };
            if !same {
                return false;
            }
        }
        true
    }

    fn is_at(&mut self, bracket: u8) -> bool {
        self.expected.peek() == Some(bracket) || self.got.peek() == Some(bracket)
    }

    fn close(&mut self) -> bool {
        self.levels.pop();
        self.expected.next() == self.got.next()
    }

    fn member(&mut self) -> bool {
        let before = (self.expected.clone(), self.got.clone());
        match (self.expected.next(), self.got.next()) {
            (Some(one), Some(other)) if same_scalar(one, other) => self.value(),
            _ => {
                (self.expected, self.got) = before;
                let Some(rest) = self.rest() else { return false };
                self.levels.pop();
                self.levels.push(Level::Sorted);
                self.sorted.push(rest);
                true
            }
        }
    }

    fn sorted_member(&mut self) -> bool {
        let Some(members) = self.sorted.last_mut() else { return false };
        let (here, there) = match (members.expected.pop(), members.got.pop()) {
            (Some(here), Some(there)) => (here, there),
            _ => {
                self.levels.pop();
                let end = members.end;
                self.sorted.pop();
                self.seek(end);
                return true;
            }
        };
        self.seek((here, there));
        let (one, other) = (self.expected.next(), self.got.next());
        one.zip(other).is_some_and(|(one, other)| same_scalar(one, other)) && self.value()
    }

    fn seek(&mut self, (here, there): (usize, usize)) {
        self.expected.0 = self.expected.0.at(here);
        self.got.0 = self.got.0.at(there);
    }

    /// Compares scalars; enters arrays and objects.
    fn value(&mut self) -> bool {
        let Some(expected) = self.expected.next() else { return false };
        if self.redacted && tokens::string(expected).is_some_and(|text| text == REDACTED) {
            self.got.skip_value();
            return true;
        }
        let level = match (expected, self.got.next()) {
            ("[", Some("[")) => Level::Array,
            ("{", Some("{")) => Level::Object,
            (expected, got) => return got.is_some_and(|got| same_scalar(expected, got)),
        };
        self.levels.push(level);
        true
    }
}

#[cfg(test)]
mod tests;
