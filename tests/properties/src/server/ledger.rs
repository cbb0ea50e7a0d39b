//! What the client asked for, and what it was answered.

use serde_json::{Value, json};

struct Command {
    out_of_band: bool,
    arguments: Value,
    called: bool,
    /// Whether it succeeds, by what the application said.
    success: Option<bool>,
    answered: bool,
}

pub(super) struct Ledger {
    /// In-band commands are answered in order.
    in_order: bool,
    /// It is known what the client asked for.
    on_track: bool,
    commands: Vec<Command>,
    ready: bool,
    greeted: bool,
    /// By their numbers, those that were sent and have not come.
    events: Vec<u64>,
    next_event: u64,
    unread: Vec<u8>,
}

impl Ledger {
    pub(super) fn new(in_order: bool) -> Self {
        Self {
            in_order,
            on_track: true,
            commands: Vec::new(),
            ready: false,
            greeted: false,
            events: Vec::new(),
            next_event: 0,
            unread: Vec::new(),
        }
    }

    /// The token of the command that comes next.
    pub(super) fn next(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn next_event(&self) -> u64 {
        self.next_event
    }

    pub(super) fn lose_track(&mut self) {
        self.on_track = false;
    }

    /// Gives the command's id.
    pub(super) fn command(&mut self, out_of_band: bool, arguments: &Value) -> Value {
        let id = json!({"token": self.commands.len()});
        let arguments = arguments.clone();
        let (called, success, answered) = (false, None, false);
        self.commands.push(Command { out_of_band, arguments, called, success, answered });
        id
    }

    /// Which command it is that the application is given; each is given once, in order.
    pub(super) fn call(&mut self, arguments: &Value, out_of_band: bool) -> Option<usize> {
        if !self.on_track {
            return None;
        }
        assert!(self.ready, "a call before the negotiation");
        let token = arguments["token"].as_u64().expect("a token") as usize;
        let (command, later) = self.commands[token..].split_first_mut().expect("it was sent");
        assert_eq!((command.out_of_band, &command.arguments), (out_of_band, arguments));
        assert!(!command.called && !command.answered, "{token} is called again");
        let too_late = later.iter().any(|later| later.called && later.out_of_band == out_of_band);
        assert!(!too_late, "{token} is called too late");
        command.called = true;
        Some(token)
    }

    pub(super) fn answer(&mut self, token: Option<usize>, success: bool) {
        if let Some(token) = token {
            self.commands[token].success = Some(success);
        }
    }

    pub(super) fn event(&mut self, sent: bool) {
        self.events.extend(sent.then_some(self.next_event));
        self.next_event += 1;
    }

    pub(super) fn ready(&mut self) {
        assert!(!self.ready, "ready twice");
        self.ready = true;
    }

    /// What goes to the client are whole messages, each with a line end.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.unread).into_iter();
            let message = match values.next() {
                Some(Ok(message)) => message,
                Some(Err(error)) if !error.is_eof() => panic!("{error}"),
                _ => return,
            };
            let end = values.byte_offset();
            let Some(line_end) = self.unread.get(end..end + 2) else { return };
            assert_eq!(line_end, b"\r\n");
            self.unread.drain(..end + 2);
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Value) {
        let greeting = message.get("QMP").is_some();
        assert_ne!(greeting, self.greeted, "the greeting comes first, and once");
        self.greeted = true;
        if message.get("event").is_some() {
            assert!(self.ready, "an event before the negotiation");
            assert_eq!(message["data"]["number"], self.events.remove(0), "events in order");
        } else if !greeting && self.on_track {
            self.hear_answer(message);
        }
    }

    fn hear_answer(&mut self, message: &Value) {
        let token = message["id"]["token"].as_u64().expect("an id of the client's") as usize;
        let command = &mut self.commands[token];
        assert!(!command.answered, "{token} is answered twice");
        command.answered = true;
        let success = message.get("return").is_some();
        assert!(!command.called || command.success == Some(success), "{token}'s answer");
        let in_band = !command.out_of_band;
        let mut later = self.commands[token + 1..].iter().filter(|later| !later.out_of_band);
        let in_order = !later.any(|later| later.answered);
        assert!(in_order || !self.in_order || !in_band, "{token} is answered too late");
    }

    /// Nothing is under way.
    pub(super) fn check_all_answered(&self) {
        assert!(self.events.is_empty() && self.unread.is_empty());
        let unanswered = self.commands.iter().position(|command| !command.answered);
        assert_eq!(unanswered.filter(|_| self.on_track), None, "it has no answer");
    }
}
