//! Lines, as one types them, to commands.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::value;

/// A command that a line asks for.
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) out_of_band: bool,
}

/// A command as it is on the wire. Its id is ours to give.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    execute: Option<String>,
    #[serde(rename = "exec-oob")]
    exec_oob: Option<String>,
    #[serde(default)]
    arguments: Map<String, Value>,
    #[serde(rename = "id")]
    _id: Option<Value>,
}

/// `NAME KEY=VALUE...`, or a command as JSON.
pub(crate) fn call(line: &str) -> Result<Call, String> {
    if line.trim_start().starts_with('{') {
        return whole(line);
    }
    let words = words(line);
    let (name, pairs) = words.split_first().ok_or("there is no command")?;
    let arguments = arguments(pairs)?;
    Ok(Call { name: (*name).to_owned(), arguments, out_of_band: false })
}

fn whole(line: &str) -> Result<Call, String> {
    let whole: Whole = value::json(line)?;
    let (name, out_of_band) = match (whole.execute, whole.exec_oob) {
        (Some(name), None) => (name, false),
        (None, Some(name)) => (name, true),
        _ => return Err("a command has either \"execute\" or \"exec-oob\"".to_owned()),
    };
    Ok(Call { name, arguments: whole.arguments, out_of_band })
}

/// `KEY=VALUE` pairs as an object; `a.b=1` is `{"a": {"b": 1}}`.
pub(crate) fn arguments(pairs: &[&str]) -> Result<Map<String, Value>, String> {
    let mut arguments = Map::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair} is no KEY=VALUE"))?;
        insert(&mut arguments, key, value::read(value)?)?;
    }
    Ok(arguments)
}

/// Objects deeper than that are refused by what sends them; many more would not even be dropped.
const DEEPEST_KEY: usize = 100;

fn insert(arguments: &mut Map<String, Value>, key: &str, value: Value) -> Result<(), String> {
    if key.matches('.').count() > DEEPEST_KEY {
        return Err(format!("a key has at most {DEEPEST_KEY} dots"));
    }
    let mut object = arguments;
    let mut rest = key;
    while let Some((name, behind)) = rest.split_once('.') {
        let inner = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
        object = inner
            .as_object_mut()
            .ok_or_else(|| format!("{key}: {name} has a value already, so it has no members"))?;
        rest = behind;
    }
    match object.insert(rest.to_owned(), value) {
        _ if rest.is_empty() => Err(format!("{key}= names no member")),
        Some(_) => Err(format!("{key} is given twice")),
        None => Ok(()),
    }
}

/// The words of a line. White space within quotes, or within the brackets of a value, ends none.
pub(crate) fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(word_length(rest));
        words.push(word);
        rest = behind.trim_start();
    }
    words
}

fn word_length(text: &str) -> usize {
    let (mut at, mut depth, mut value_begins) = (0, 0_usize, false);
    while let Some(c) = text[at..].chars().next() {
        match c {
            '"' | '\'' => at += value::string_length(&text[at..]),
            _ if c.is_whitespace() && depth == 0 => break,
            _ => at += c.len_utf8(),
        }
        match c {
            '{' | '[' if value_begins || depth > 0 => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        value_begins = c == '=';
    }
    at
}
