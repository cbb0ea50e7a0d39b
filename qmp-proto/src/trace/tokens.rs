//! The tokens of a text that is known to be JSON. Whatever the text, it ends, and takes linear time.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::{String, ToString};
use core::ops::Range;

use memchr::memchr2;
use serde_json::Value;

/// Gives brackets, colons, commas, strings with their quotes, and what else there is.
#[derive(Clone)]
pub struct Tokens<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(json: &'a str) -> Self {
        Self { json, at: 0 }
    }

    /// Where it stands; the white space before the next token may be passed already.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Of the same text, at another place.
    pub fn at(&self, at: usize) -> Self {
        Self { json: self.json, at }
    }

    /// The first byte of the next token.
    pub fn peek(&mut self) -> Option<u8> {
        let rest = &self.json.as_bytes()[self.at..];
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.at += rest.iter().position(|byte| !is_space(byte)).unwrap_or(rest.len());
        self.json.as_bytes().get(self.at).copied()
    }

    /// Passes over a value, and tells where it is.
    pub fn skip_value(&mut self) -> Range<usize> {
        self.peek();
        let start = self.at;
        let mut depth = 0_usize;
        for token in self.by_ref() {
            match token {
                "{" | "[" => depth += 1,
                "}" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        start..self.at
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let rest = &self.json[self.at..];
        let length = match first {
            b'"' => string_length(rest.as_bytes()),
            b'{' | b'}' | b'[' | b']' | b':' | b',' => 1,
            _ => scalar_length(rest.as_bytes()),
        };
        self.at += length;
        Some(&rest[..length])
    }
}

/// How long the string is that a text begins with.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if text[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    text.len()
}

fn scalar_length(text: &[u8]) -> usize {
    let is_end = |byte: &u8| b" \t\r\n,:{}[]\"".contains(byte);
    text.iter().position(is_end).unwrap_or(text.len())
}

/// The same token for the same value, however it is written.
pub fn normalised(token: &str) -> String {
    if let Some(text) = string(token) {
        return Value::from(text).to_string();
    }
    double(token).map_or_else(|| token.to_owned(), |number| Value::from(number).to_string())
}

/// The value of a number that is no integer, where a double has one.
pub fn double(token: &str) -> Option<f64> {
    let is_integer = !token.contains(['.', 'e', 'E']);
    let number: Option<f64> = if is_integer { None } else { token.parse().ok() };
    number.filter(|number| number.is_finite())
}

/// The text that a string's token stands for; `None` where it stands for none.
pub fn string(token: &str) -> Option<Cow<'_, str>> {
    let text = token.strip_prefix('"')?.strip_suffix('"')?;
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str(token).ok().map(Cow::Owned)
}

/// Where in an object the values of its own members of that name are.
pub fn members(json: &str, name: &str) -> impl Iterator<Item = Range<usize>> {
    let mut tokens = Tokens::new(json);
    tokens.next();
    core::iter::from_fn(move || {
        loop {
            let token = tokens.next()?;
            if token == "," {
                continue;
            }
            // The colon.
            tokens.next();
            let value = tokens.skip_value();
            if string(token).is_some_and(|text| text == name) {
                return Some(value);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn tokens_are_found() {
        let tokens: Vec<_> = Tokens::new(r#" {"a\"}":[1, -2e3 ,"\\"],"ä" : null}"#).collect();
        let expected = r#"{ "a\"}" : [ 1 , -2e3 , "\\" ] , "ä" : null }"#;
        assert_eq!(tokens.join(" "), expected);
    }

    #[test]
    fn what_is_no_json_ends_too() {
        for text in ["\"", "\"\\", "\"ä", "ä\"", "{]]}", "{\"a\":", ":::", "tru\"e"] {
            let tokens: Vec<_> = Tokens::new(text).collect();
            assert_eq!(tokens.concat(), text);
            Tokens::new(text).skip_value();
            members(text, "a").last();
        }
    }

    #[test]
    fn members_are_found_at_the_top_alone() {
        let json = r#"{"a": {"id": 1}, "\u0069d" : [2, {}] , "b": "id"}"#;
        assert_eq!(members(json, "id").map(|range| &json[range]).collect::<Vec<_>>(), ["[2, {}]"]);
        assert!(members(r#"{"id":1,"id":2}"#, "id").eq([6..7, 13..14]));
        assert!(members("{}", "id").eq([]));
    }
}
