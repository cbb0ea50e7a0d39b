//! Values, as one types them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::layout::Tokens;

/// A number, `true`, `false`, `null`, a text in quotes, JSON in brackets; all else is text as it is.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    match text.chars().next() {
        Some('{' | '[') => {
            let value = json(text).or_else(|_| json(&as_json(text)));
            value.map_err(|error| format!("{text} is no JSON ({error}); quote it if it is a text"))
        }
        Some(quote @ ('"' | '\'')) => {
            let string = serde_json::from_str(&as_json(text)).ok().filter(Value::is_string);
            string.ok_or_else(|| format!("{text} does not end with the {quote} that ends the text"))
        }
        Some('-' | '0'..='9') => {
            if is_too_large(text) {
                return Err(format!(
                    "{text} does not fit into a number of 64 bits; quote it if it is a text"
                ));
            }
            Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)))
        }
        _ if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        _ if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        _ if text == "null" => Ok(Value::Null),
        _ => Ok(Value::from(text)),
    }
}

/// JSON, which must not have to be rounded.
pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    match Tokens(text).find(|token| is_too_large(token)) {
        Some(number) => Err(format!("{number} does not fit into a number of 64 bits")),
        None => serde_json::from_str(text).map_err(|error| error.to_string()),
    }
}

/// Whether it is a number that neither an integer of 64 bits nor a float holds.
fn is_too_large(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // One that begins with zeros is no number.
        true if digits.starts_with('0') || digits.is_empty() => false,
        true => word.parse::<i64>().is_err() && word.parse::<u64>().is_err(),
        false => {
            digits.starts_with(|c: char| c.is_ascii_digit())
                && word.parse().is_ok_and(f64::is_infinite)
        }
    }
}

/// What Python writes, as JSON: its quotes, `True`, `False` and `None`.
fn as_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => string_length(rest),
            _ if first.is_alphabetic() => {
                rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        match token {
            "True" => json += "true",
            "False" => json += "false",
            "None" => json += "null",
            _ if first == '\'' => json += &requote(token),
            _ => json += token,
        }
        rest = behind;
    }
    json
}

/// How long the string is that stands first, its quotes included.
pub(crate) fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let mut quotes = text.char_indices();
    let Some((_, quote)) = quotes.next() else { return 0 };
    let end = quotes.find(|&(_, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// A string in single quotes, in double quotes.
fn requote(string: &str) -> String {
    // One that does not end stays as it is, and is no JSON.
    let inside = string.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let Some(inside) = inside else { return string.to_owned() };
    let mut json = String::from("\"");
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        match (c, c == '\\') {
            (_, true) => match characters.next() {
                Some('\'') => json.push('\''),
                next => json.extend(['\\'].into_iter().chain(next)),
            },
            ('"', _) => json += "\\\"",
            _ => json.push(c),
        }
    }
    json + "\""
}
