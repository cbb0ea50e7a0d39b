//! The history of lines, and its file.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use qmp_blocking::trace::Redaction;
use serde_json::Value;

use crate::parse;

/// The number of lines that are kept.
const MOST: usize = 1000;

/// The lines of this session and of earlier ones.
#[derive(Default)]
pub(crate) struct History {
    lines: Vec<String>,
    /// `None` without a home folder.
    file: Option<PathBuf>,
}

impl History {
    pub(crate) fn load() -> Self {
        let file = file();
        let text = file.as_ref().and_then(|file| fs::read(file).ok()).unwrap_or_default();
        let mut lines: Vec<_> = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        let surplus = lines.len().saturating_sub(MOST);
        lines.drain(..surplus);
        if let Some(file) = file.as_ref().filter(|_| surplus > MOST) {
            // On failure the file only stays long.
            let _ = shorten(file, &lines);
        }
        Self { lines, file }
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Keeps a line, if it may be kept. It is written at once, as a shell that is killed has a history too.
    pub(crate) fn add(&mut self, line: &str) {
        if line.is_empty() || !may_keep(line) || self.lines.last().is_some_and(|last| last == line)
        {
            return;
        }
        self.lines.push(line.to_owned());
        // The session works without a history file.
        let _ = self.file.as_ref().map(|file| append(file, line));
    }
}

fn append(file: &Path, line: &str) -> std::io::Result<()> {
    let mut file = File::options().append(true).create(true).mode(0o600).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}

fn shorten(file: &Path, lines: &[String]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let mut written =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    lines.iter().try_for_each(|line| writeln!(written, "{line}"))?;
    fs::rename(new, file)
}

/// The history file; its folder is created. `None` without a home folder.
fn file() -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let folder = state?.join("qmp-shell");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    Some(folder.join("history"))
}

/// Whether a line may be kept. Lines that hold a secret, or begin with a space, may not.
fn may_keep(line: &str) -> bool {
    let low = line.to_lowercase();
    if low.starts_with(char::is_whitespace) || low.contains("passw") || low.contains("secret") {
        return false;
    }
    match parse::call(line) {
        Ok(call) => {
            let json = Value::Object(call.arguments).to_string();
            Redaction::default().apply(&json) == json
        }
        // A broken line has no such word in it, so it is kept.
        Err(_) => true,
    }
}
