//! `qmp-shell`, typed at.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Output};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use serde_json::{Deserializer, Value};

use super::{Kill, errors, finish};
use crate::qemu::DEADLINE;

const PROMPT: &[u8] = b"(QEMU) ";

/// A `qmp-shell` at its prompt. Dropped, it is killed.
#[derive(Debug)]
pub struct Shell {
    banner: String,
    input: ChildStdin,
    /// What it says before each prompt.
    answers: mpsc::Receiver<String>,
    /// What it has said of events, and nobody has asked for yet.
    events: VecDeque<String>,
    child: Child,
    kill: Kill,
}

impl Shell {
    #[track_caller]
    pub(super) fn new(mut child: Child) -> Self {
        let kill = Kill::new(&child);
        let input = child.stdin.take().expect("a pipe");
        let output = child.stdout.take().expect("a pipe");
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || split(output, &sender));
        let (banner, events) = (String::new(), VecDeque::new());
        let mut shell = Self { banner, input, answers, events, child, kill };
        shell.banner = shell.answer();
        shell
    }

    /// What it said before the first prompt.
    pub fn banner(&self) -> &str {
        &self.banner
    }

    /// Types a line. Gives what is said to it.
    #[track_caller]
    pub fn say(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("it reads");
        self.answer()
    }

    /// Types a command. Gives the reply.
    #[track_caller]
    pub fn reply(&mut self, command: &str) -> Value {
        serde_json::from_str(&self.say(command)).expect("one message")
    }

    /// Types a command to a shell that is verbose. Gives what was sent, and the reply.
    #[track_caller]
    pub fn exchange(&mut self, command: &str) -> [Value; 2] {
        let said = self.say(command);
        let values: Result<Vec<_>, _> = Deserializer::from_str(&said).into_iter().collect();
        values.expect("JSON").try_into().expect("two messages")
    }

    /// Waits for this event, which has to be the next one.
    #[track_caller]
    pub fn hears(&mut self, event: &str) {
        let since = Instant::now();
        while self.events.is_empty() {
            assert!(since.elapsed() < DEADLINE, "no event {event}");
            // To an empty line it says what events there are, one a line.
            self.events = self.say("").lines().map(str::to_owned).collect();
        }
        let heard = self.events.pop_front().unwrap_or_default();
        assert!(heard.contains(&format!("'event': '{event}'")), "{heard}");
    }

    /// Ends the input, so that it leaves.
    #[track_caller]
    pub fn leave(self) {
        let output = self.end();
        assert!(output.status.success(), "{}", errors(&output));
    }

    /// Ends it when the server has hung up, which makes it fail or not, as it happens.
    #[track_caller]
    pub fn leave_ended(self) {
        let output = self.end();
        let errors = errors(&output);
        let last = errors.lines().last().unwrap_or_default();
        let told = ["EOFError", "ConnectionResetError"].iter().any(|end| last.starts_with(end));
        assert!(output.status.success() || told, "{errors}");
    }

    fn end(self) -> Output {
        let Self { input, child, kill: _kill, .. } = self;
        drop(input);
        finish(child)
    }

    #[track_caller]
    fn answer(&mut self) -> String {
        match self.answers.recv_timeout(DEADLINE) {
            Ok(answer) => answer,
            Err(_) => panic!("no prompt: {}", self.last_words()),
        }
    }

    fn last_words(&mut self) -> String {
        self.kill.now();
        let mut said = String::new();
        let errors = self.child.stderr.as_mut().expect("a pipe");
        errors.read_to_string(&mut said).expect("UTF-8");
        said
    }
}

/// Splits what `qmp-shell` says at its prompts.
fn split(mut output: ChildStdout, answers: &mpsc::Sender<String>) {
    let mut said = Vec::new();
    let mut some = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut some) {
        said.extend_from_slice(&some[..count]);
        if let Some(answer) = said.strip_suffix(PROMPT) {
            // Nobody may listen any more.
            let _ = answers.send(String::from_utf8_lossy(answer).into_owned());
            said.clear();
        }
    }
}
