//! What is shown, and where.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use qmp_blocking::{CommandError, Event, Raw};
use rustyline::ExternalPrinter;
use serde_json::{Value, json};

use crate::layout::Layout;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::parse::Call;

/// Where replies and events go. Threads may share it.
pub(crate) struct Printer {
    layout: Layout,
    /// Only what commands return, not in their messages; errors go to standard error.
    returns_alone: bool,
    /// What takes events while a line is being typed; else they go to standard output.
    prompt: Option<Mutex<Box<dyn ExternalPrinter + Send>>>,
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
        Self { layout, returns_alone, prompt: None, failure: OnceLock::new() }
    }

    /// Lets events pass by a line that is being typed, on a terminal of that width.
    pub(crate) fn beside(
        self,
        prompt: impl ExternalPrinter + Send + 'static,
        columns: usize,
    ) -> Self {
        let width = self.layout.width.min(columns);
        let layout = Layout { width, ..self.layout };
        Self { prompt: Some(Mutex::new(Box::new(prompt))), layout, ..self }
    }

    /// How long events may take to be shown: a prompt that has gone keeps one back until the next.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(if self.prompt.is_some() { 1 } else { 60 })
    }

    /// Whether all could be written so far.
    pub(crate) fn outcome(&self) -> Outcome {
        self.failure.get().copied().unwrap_or(Outcome::Done)
    }

    /// A command's reply.
    pub(crate) fn returned(&self, returned: &Raw) {
        let json = text_of(returned);
        match self.returns_alone {
            true => self.line(&self.layout.apply(json)),
            false => self.line(&self.layout.apply(&format!("{{\"return\": {json}}}"))),
        }
    }

    /// An error reply.
    pub(crate) fn error(&self, error: &CommandError) {
        if self.returns_alone {
            return self.problem(&error.to_string());
        }
        let message = json!({"error": {"class": error.class.as_str(), "desc": *error.desc}});
        self.line(&self.layout.apply(&message.to_string()));
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
        if let Some(data) = event.data() {
            message += &format!(", \"data\": {}", text_of(&data));
        }
        self.notice(&self.layout.apply(&(message + "}")));
    }

    /// A line for who types.
    pub(crate) fn notice(&self, text: &str) {
        match &self.prompt {
            Some(prompt) => {
                let mut prompt = prompt.lock().unwrap_or_else(PoisonError::into_inner);
                // A terminal that is gone needs no events.
                let _ = prompt.print(format!("{text}\n"));
            }
            None => self.line(text),
        }
    }

    /// What the human monitor says.
    pub(crate) fn text(&self, text: &str) {
        let shown = printable(text);
        if !shown.is_empty() {
            self.line(shown.trim_end_matches('\n'));
        }
    }

    /// A command as it is sent.
    pub(crate) fn sent(&self, call: &Call) {
        let execute = if call.out_of_band { "exec-oob" } else { "execute" };
        let mut message = format!("{{\"{execute}\": {}", Value::from(&*call.name));
        if !call.arguments.is_empty() {
            message += &format!(", \"arguments\": {}", Value::from(call.arguments.clone()));
        }
        complain(&Layout { colour: false, ..self.layout }.apply(&(message + "}")));
    }

    /// What is wrong here, and not at the server.
    pub(crate) fn problem(&self, problem: &str) {
        complain(&format!("error: {}", printable(problem)));
    }

    fn line(&self, text: &str) {
        let mut output = io::stdout().lock();
        let written =
            output.write_all(format!("{text}\n").as_bytes()).and_then(|()| output.flush());
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
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Control characters are not for the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

fn text_of(raw: &Raw) -> &str {
    raw.as_str().unwrap_or("\"not UTF-8\"")
}
