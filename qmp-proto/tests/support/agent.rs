//! A guest agent as `qemu-ga` behaves, as far as a client can see: it runs one command at a time, and
//! what its parser has got of a command, and what nobody has read of its answers, outlives clients.

use std::collections::VecDeque;

use serde_json::Value;

/// What it answers to what it cannot read.
pub const AGENT_ERROR: &str =
    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, stray '\\uFFFD'\"}}\n";

/// What an agent of before QEMU 2.12 answers to a command with an id.
pub const ID_REFUSED: &str = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"QMP input object member 'id' is unexpected\"}}\n";

/// Agents of before QEMU 2.12 refuse a command with an id, and those of before 4.0 do not echo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    Refused,
    Ignored,
    Echoed,
}

pub struct Agent {
    ids: Ids,
    /// It says each answer twice.
    stutters: bool,
    /// What its parser has got of an object.
    begun: Vec<u8>,
    /// What it has not looked at: while a command runs it reads nothing.
    unread: VecDeque<u8>,
    /// The command that runs.
    running: Option<Value>,
    /// What nobody has read.
    answers: VecDeque<u8>,
}

impl Agent {
    pub fn new(ids: Ids) -> Self {
        let (unread, answers) = (VecDeque::new(), VecDeque::new());
        Self { ids, stutters: false, begun: Vec::new(), unread, running: None, answers }
    }

    /// One that says each answer twice, as one that was restored from a snapshot may do once.
    pub fn stuttering(self) -> Self {
        Self { stutters: true, ..self }
    }

    /// From now on it says each answer once.
    #[allow(dead_code, reason = "only the properties need it")]
    pub fn stop_stuttering(&mut self) {
        self.stutters = false;
    }

    /// Takes in bytes from whoever is there.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend(bytes);
        self.work();
    }

    /// The command that runs, if one does.
    pub fn running(&self) -> Option<&Value> {
        self.running.as_ref()
    }

    /// The command that runs succeeds, and says so.
    pub fn succeed(&mut self, value: &str) {
        self.finish(&format!("{{\"return\": {value}"));
    }

    /// The command that runs fails.
    pub fn fail(&mut self, desc: &str) {
        self.finish(&format!("{{\"error\": {{\"class\": \"GenericError\", \"desc\": \"{desc}\"}}"));
    }

    /// The command that runs succeeds, and has nothing to say.
    pub fn stay_silent(&mut self) {
        self.running = None;
        self.work();
    }

    /// It is killed and started anew: what it had begun is lost, also what it had to say.
    pub fn restart(&mut self) {
        let (unread, stutters) = (std::mem::take(&mut self.unread), self.stutters);
        *self = Self { unread, stutters, ..Self::new(self.ids) };
        self.work();
    }

    /// Gives at most so many bytes of its answers.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        self.answers.drain(..most.min(self.answers.len())).collect()
    }

    fn work(&mut self) {
        while self.running.is_none() {
            match self.unread.pop_front() {
                Some(byte) => self.parse(byte),
                None => return,
            }
        }
    }

    /// Its parser starts afresh at a 0xFF, and says that it does not like it.
    fn parse(&mut self, byte: u8) {
        if byte == 0xFF {
            self.begun.clear();
            return self.say(AGENT_ERROR);
        }
        self.begun.push(byte);
        if self.begun.trim_ascii_start().starts_with(b"{") && byte != b'}' {
            return;
        }
        let mut values = serde_json::Deserializer::from_slice(&self.begun).into_iter::<Value>();
        match values.next() {
            Some(Err(error)) if error.is_eof() => {}
            None => self.begun.clear(),
            Some(value) => {
                self.begun.clear();
                match value {
                    Ok(command) if command["execute"].is_string() => self.run(command),
                    _ => self.say(AGENT_ERROR),
                }
            }
        }
    }

    fn run(&mut self, command: Value) {
        if self.ids == Ids::Refused && command.get("id").is_some() {
            return self.say(ID_REFUSED);
        }
        let number = command["arguments"]["id"].as_i64();
        let delimited = command["execute"] == "guest-sync-delimited";
        self.running = Some(command);
        match number.filter(|_| delimited) {
            Some(number) => {
                self.answers.push_back(0xFF);
                self.succeed(&number.to_string());
            }
            None if delimited => self.fail("Parameter 'id' is missing"),
            None => {}
        }
    }

    fn finish(&mut self, answer: &str) {
        let command = self.running.take().expect("a command runs");
        let id = command.get("id").filter(|_| self.ids == Ids::Echoed);
        let id = id.map(|id| format!(", \"id\": {id}")).unwrap_or_default();
        let answer = format!("{answer}{id}}}\n");
        self.say(&answer);
        if self.stutters {
            self.say(&answer);
        }
        self.work();
    }

    fn say(&mut self, text: &str) {
        self.answers.extend(text.bytes());
    }
}
