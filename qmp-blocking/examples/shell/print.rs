//! What is shown, and where.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use qmp_blocking::{CommandError, Event, Raw, printable};
use serde_json::{Value, json};

use crate::layout::Layout;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::parse::Call;
use crate::screen::Screen;
use crate::terminal;

/// Where replies and events go. Threads may share it.
pub(crate) struct Printer {
    layout: Layout,
    /// Only what commands return, not in their messages; errors go to standard error.
    returns_alone: bool,
    /// The terminal at which lines are typed. Without it, standard output is written.
    screen: Option<Arc<Screen>>,
    /// Why the output goes no further.
    failure: OnceLock<Outcome>,
}

impl Printer {
    /// For `-e`.
    pub(crate) fn returns(options: &Options) -> Self {
        Self { returns_alone: true, ..Self::messages(options) }
    }

    /// For a pipe, or a terminal.
    pub(crate) fn messages(options: &Options) -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let width = if options.pretty { 0 } else { usize::MAX };
        let (layout, returns_alone) = (Layout { colour, width }, options.hmp);
        Self { layout, returns_alone, screen: None, failure: OnceLock::new() }
    }

    /// Prints above a line that is being typed.
    pub(crate) fn beside(self, screen: Arc<Screen>) -> Self {
        let layout = Layout { width: self.layout.width.min(terminal::width()), ..self.layout };
        Self { screen: Some(screen), layout, ..self }
    }

    /// How long events may take to be shown.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(if self.screen.is_some() { 1 } else { 60 })
    }

    /// Whether all could be written so far.
    pub(crate) fn outcome(&self) -> Outcome {
        self.failure.get().copied().unwrap_or(Outcome::Done)
    }

    /// Shows a command's reply. A reply that is not UTF-8 is not a success.
    pub(crate) fn returned(&self, returned: &Raw) -> Outcome {
        let json = text_of(returned);
        match self.returns_alone {
            true => self.line(self.layout.apply([&*json])),
            false => self.line(self.layout.apply(["{\"return\": ", &*json, "}"])),
        }
        match returned.as_str() {
            Ok(_) => Outcome::Done,
            Err(_) => {
                self.problem("the reply is not UTF-8: a byte that is not is shown as \\xff");
                Outcome::Unreadable
            }
        }
    }

    /// An error reply.
    pub(crate) fn error(&self, error: &CommandError) {
        if self.returns_alone {
            return self.problem(&error.to_string());
        }
        let message = json!({"error": {"class": error.class.as_str(), "desc": *error.desc}});
        self.line(self.layout.apply([&*message.to_string()]));
    }

    /// An event, which may come while a line is being typed.
    pub(crate) fn event(&self, event: &Event) {
        let mut message = String::from("{");
        if let Some(at) = event.timestamp() {
            let (seconds, micro) = (at.seconds, at.microseconds);
            let stamp = format!("{{\"seconds\": {seconds}, \"microseconds\": {micro}}}");
            message += &format!("\"timestamp\": {stamp}, ");
        }
        message += &format!("\"event\": {}", Value::from(event.name()));
        match event.data() {
            Some(data) => {
                self.line(self.layout.apply([&*message, ", \"data\": ", &*text_of(&data), "}"]))
            }
            None => self.line(self.layout.apply([&*message, "}"])),
        }
    }

    /// What the human monitor says.
    pub(crate) fn text(&self, text: &str) {
        let text = text.replace("\r\n", "\n");
        let text = text.trim_end_matches('\n');
        if !text.is_empty() {
            self.line(printable(text).with_lines());
        }
    }

    /// A command as it is sent.
    pub(crate) fn sent(&self, call: &Call) {
        let execute = if call.out_of_band { "exec-oob" } else { "execute" };
        let mut message = format!("{{\"{execute}\": {}", Value::from(&*call.name));
        if !call.arguments.is_empty() {
            message += &format!(", \"arguments\": {}", Value::from(call.arguments.clone()));
        }
        complain(Layout { colour: false, ..self.layout }.apply([&*message, "}"]));
    }

    /// What is wrong here, and not at the server.
    pub(crate) fn problem(&self, problem: &str) {
        complain(format_args!("error: {}", printable(problem)));
    }

    /// A remark on standard error.
    pub(crate) fn note(&self, note: &str) {
        complain(printable(note));
    }

    pub(crate) fn line(&self, text: impl Display) {
        let written = match &self.screen {
            Some(screen) => screen.print(text),
            None => {
                let mut output = BufWriter::new(io::stdout().lock());
                writeln!(output, "{text}").and_then(|()| output.flush())
            }
        };
        let Err(error) = written else { return };
        let unread = error.kind() == io::ErrorKind::BrokenPipe;
        let failure = if unread { Outcome::Unread } else { Outcome::Unwritten };
        // Once, and not where whoever read the output has read enough.
        if self.failure.set(failure).is_ok() && !unread {
            self.problem(&format!("the output cannot be written: {error}"));
        }
    }
}

/// A line on standard error. Unlike with `eprintln!`, there may be nobody who reads it.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn text_of(raw: &Raw) -> Cow<'_, str> {
    raw.as_str().map_or_else(|_| Cow::from(raw.display().to_string()), Cow::from)
}
