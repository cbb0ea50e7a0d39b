//! Which members' values are secrets, and taking them out.

use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::tokens::{self, Tokens};

/// What stands in a redacted trace in place of a secret, as a JSON string or as bytes.
pub const REDACTED: &str = "(redacted)";

/// Whatever their values are. Beside passwords and keys these are what QEMU or the guest agent
/// hands on to a shell, a program or a file, which may be anything.
const NAMES: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "key",
    "keys",
    "cookie",
    "command-line",
    "arg",
    "env",
    "input-data",
    "out-data",
    "err-data",
    "buf-b64",
];

/// Where their values are strings: the `data` of a secret's object, the `value` of `qom-set`, and
/// the `return` of `qom-get` or `human-monitor-command`. As objects they are on every page.
const STRINGS: [&str; 3] = ["data", "value", "return"];

/// Which values are secrets, by the names of their members at any depth.
///
/// The defaults are `password`, `passwd`, `passphrase`, `secret`, `key`, `keys` and `cookie`; what may
/// be anything: `command-line` (of `human-monitor-command`), `arg`, `env`, `input-data`, `out-data`,
/// `err-data` (of `guest-exec`) and `buf-b64` (of the guest's files); and, where they are strings,
/// `data` (of a secret's object), `value` (of `qom-set`) and `return`. The values are replaced by
/// [`REDACTED`], whole. What a [`Recorder`](super::Recorder) takes for no message is replaced as well,
/// line by line, but for the byte 0xFF: QEMU reads much that is no JSON.
///
/// An error's `desc` is the server's own text and stays. It goes by names alone: a secret elsewhere,
/// in a file's name for example, is not known as one. And it goes by messages: a client that lets a
/// quote in a secret end its string writes another message, for QEMU too.
///
/// ```
/// use qmp_proto::trace::Redaction;
///
/// let redaction = Redaction::default().also("serial").except("key");
/// let json = r#"{"password": ["a", 1], "serial": 7, "key": "q"}"#;
/// let redacted = r#"{"password": "(redacted)", "serial": "(redacted)", "key": "q"}"#;
/// assert_eq!(redaction.apply(json), redacted);
/// assert_eq!(redaction.apply("password: a"), "\"(redacted)\"");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    names: BTreeSet<Cow<'static, str>>,
    strings: BTreeSet<Cow<'static, str>>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self { names: NAMES.map(Cow::Borrowed).into(), strings: STRINGS.map(Cow::Borrowed).into() }
    }
}

impl Redaction {
    /// Takes the values of that member for secrets too, whatever they are.
    #[must_use]
    pub fn also(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.names.insert(name.into());
        self
    }

    /// Leaves the values of that member as they are.
    #[must_use]
    pub fn except(mut self, name: &str) -> Self {
        self.names.remove(name);
        self.strings.remove(name);
        self
    }

    /// A JSON text with its secrets replaced. A text that is no JSON is replaced as a whole.
    pub fn apply(&self, json: &str) -> String {
        if serde_json::from_str::<serde::de::IgnoredAny>(json).is_err() {
            return quoted();
        }
        let mut redacted = String::with_capacity(json.len());
        let mut copied = 0;
        let mut name = "";
        let mut tokens = Tokens::new(json);
        while let Some(token) = tokens.next() {
            if token != ":" {
                name = token;
            } else if self.hides(name, tokens.peek()) {
                let value = tokens.skip_value();
                redacted += &json[copied..value.start];
                redacted += &quoted();
                copied = value.end;
            }
        }
        redacted + &json[copied..]
    }

    /// What is no JSON may be anything.
    pub(super) fn apply_to_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        let says_nothing = |byte: &u8| matches!(byte, 0xFF | b'\r' | b'\n');
        if bytes.iter().all(says_nothing) { bytes } else { REDACTED.as_bytes().to_owned() }
    }

    /// Whether a value that begins so is a secret. A name that cannot be read may be anything.
    fn hides(&self, name: &str, value: Option<u8>) -> bool {
        tokens::string(name).is_none_or(|name| {
            self.names.contains(&*name) || value == Some(b'"') && self.strings.contains(&*name)
        })
    }
}

fn quoted() -> String {
    ["\"", REDACTED, "\""].concat()
}

#[cfg(test)]
mod tests;
