//! Which lines are kept for another time, and where.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use qmp_blocking::trace::Redaction;
use serde_json::Value;

use crate::parse;

/// The file, in a folder that is made where it is missing; none where there is no home.
pub(crate) fn file() -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let folder = state?.join("qmp-shell");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    Some(folder.join("history"))
}

/// Whether a line may be kept: none that a recording would take something out of, or that says so.
pub(crate) fn may_keep(line: &str) -> bool {
    let low = line.to_lowercase();
    if low.starts_with(char::is_whitespace) || low.contains("passw") || low.contains("secret") {
        return false;
    }
    match parse::call(line) {
        Ok(call) => {
            let json = Value::Object(call.arguments).to_string();
            Redaction::default().apply(&json) == json
        }
        // What it was meant to be is not known, but it has no such word in it.
        Err(_) => true,
    }
}
