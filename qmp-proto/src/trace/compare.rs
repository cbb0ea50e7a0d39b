//! Whether two JSON texts say the same.
//!
//! They may be nested to any depth, so nothing here calls itself: values lie side by side in a list
//! and name each other by their place in it.

use alloc::string::String;
use alloc::vec::Vec;

use super::redaction::REDACTED;
use super::tokens::{self, Tokens};

/// Whether they are equal but for the order of members, white space, and their own `id`; where the
/// first is redacted, its replaced values equal everything.
pub(super) fn same_message(expected: &str, got: &str, redacted: bool) -> bool {
    let (expected, got) = (Tree::of_message(expected), Tree::of_message(got));
    let mut left = Vec::from([(0, 0)]);
    while let Some((here, there)) = left.pop() {
        let same = match (expected.nodes.get(here), got.nodes.get(there)) {
            (Some(Node::Scalar(text)), _) if redacted && is_redacted(text) => true,
            (Some(Node::Scalar(one)), Some(Node::Scalar(other))) => one == other,
            (Some(Node::Array(one)), Some(Node::Array(other))) => {
                left.extend(one.iter().copied().zip(other.iter().copied()));
                one.len() == other.len()
            }
            (Some(Node::Object(one)), Some(Node::Object(other))) => {
                left.extend(one.iter().zip(other).map(|(one, other)| (one.1, other.1)));
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.0 == b.0)
            }
            _ => false,
        };
        if !same {
            return false;
        }
    }
    true
}

fn is_redacted(token: &str) -> bool {
    tokens::string(token).is_some_and(|text| text == REDACTED)
}

/// The values of a text; the first is the whole.
#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    /// The arrays and objects that have begun and not ended.
    open: Vec<usize>,
}

enum Node {
    /// As text, the same for the same value.
    Scalar(String),
    Array(Vec<usize>),
    /// Sorted by name.
    Object(Vec<(String, usize)>),
}

impl Tree {
    /// Without the message's id.
    fn of_message(json: &str) -> Self {
        let mut tree = Self::new(json);
        if let Some(Node::Object(members)) = tree.nodes.first_mut() {
            members.retain(|(name, _)| name != "\"id\"");
        }
        tree
    }

    fn new(json: &str) -> Self {
        let mut tree = Self::default();
        let mut name = String::new();
        let mut tokens = Tokens::new(json);
        while let Some(token) = tokens.next() {
            match token {
                "," | ":" => {}
                "}" | "]" => tree.close(),
                "{" => tree.open(&mut name, Node::Object(Vec::new())),
                "[" => tree.open(&mut name, Node::Array(Vec::new())),
                _ if tokens.peek() == Some(b':') => name = tokens::normalised(token),
                _ => {
                    tree.add(&mut name, Node::Scalar(tokens::normalised(token)));
                }
            }
        }
        tree
    }

    fn open(&mut self, name: &mut String, node: Node) {
        let place = self.add(name, node);
        self.open.push(place);
    }

    /// Adds a value to what is open.
    fn add(&mut self, name: &mut String, node: Node) -> usize {
        let place = self.nodes.len();
        self.nodes.push(node);
        match self.open.last().and_then(|parent| self.nodes.get_mut(*parent)) {
            Some(Node::Array(items)) => items.push(place),
            Some(Node::Object(members)) => members.push((core::mem::take(name), place)),
            _ => {}
        }
        place
    }

    fn close(&mut self) {
        let closed = self.open.pop().and_then(|place| self.nodes.get_mut(place));
        if let Some(Node::Object(members)) = closed {
            members.sort_by(|one, other| one.0.cmp(&other.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_same(expected: &str, got: &str) {
        assert!(same_message(expected, got, false), "{expected} and {got}");
    }

    #[track_caller]
    fn assert_differ(expected: &str, got: &str) {
        assert!(!same_message(expected, got, false), "{expected} and {got}");
        assert!(!same_message(got, expected, false), "{got} and {expected}");
    }

    #[test]
    fn c21_what_says_the_same_is_the_same() {
        assert_same(r#"{"a":1,"b":[true,null]}"#, r#" { "b" : [ true , null ] , "a" : 1 } "#);
        assert_same(r#"{"\u0061":"\u00e4"}"#, r#"{"a":"ä"}"#);
        assert_same(r#"{"a":{},"id":1}"#, r#"{"id":{"x":[2]},"a":{}}"#);
        assert_same(r#"{"a":"\ud800"}"#, r#"{"a":"\ud800"}"#);
    }

    #[test]
    fn c21_what_does_not_differs() {
        assert_differ(r#"{"a":1}"#, r#"{"a":2}"#);
        assert_differ(r#"{"a":1}"#, r#"{"b":1}"#);
        assert_differ(r#"{"a":1}"#, r#"{"a":"1"}"#);
        assert_differ(r#"{"a":1}"#, "{}");
        assert_differ(r#"{"a":[1]}"#, r#"{"a":[1,2]}"#);
        assert_differ(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#);
        assert_differ(r#"{"a":[]}"#, r#"{"a":{}}"#);
        assert_differ(r#"{"a":{"id":1}}"#, r#"{"a":{"id":2}}"#);
        assert_differ(r#"{"a":1,"b":{}}"#, r#"{"a":{},"b":1}"#);
    }

    #[test]
    fn c21_what_was_redacted_equals_everything() {
        let expected = r#"{"a":"(redacted)","b":1}"#;
        for got in [r#"{"a":{"x":[1]},"b":1}"#, r#"{"b":1,"a":"s"}"#] {
            assert!(same_message(expected, got, true), "{got}");
            assert!(!same_message(expected, got, false), "{got}");
        }
        assert!(!same_message(expected, r#"{"a":"s","b":2}"#, true));
        assert!(!same_message(expected, r#"{"b":1}"#, true));
    }

    /// On a test's stack of 2 MiB.
    #[test]
    fn c21_depth_takes_no_stack() {
        let nested = |inner: &str| {
            let (open, close) = ("{\"a\":[".repeat(50_000), "]}".repeat(50_000));
            [&open, inner, &close].concat()
        };
        assert_same(&nested("1"), &nested(" 1"));
        assert_differ(&nested("1"), &nested("2"));
    }
}
