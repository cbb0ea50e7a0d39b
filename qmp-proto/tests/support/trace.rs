//! Whole sessions as text, in the form of QEMU's own documents:
//!
//! ```text
//! do execute query-status        what the application does: execute, oob, cancel, close
//! -> {"execute": …, "id": $1}    what the server gets, exactly and in full
//! <- {"return": {}, "id": $1}    what it sends; \r, \n and \xff are bytes
//! == reply $1 {}                 what the application is told, in full
//! -- eof                         the end of the stream, or `reset`
//! ```
//!
//! `$0` is the id of `qmp_capabilities`, `$1` that of the first command, and so on.

use qmp_proto::{CommandId, Config, IoFailure, Request};

use super::peer::{Peer, Told, oob};

/// How a trace's bytes are cut, both ways.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// Each `<-` in two pieces, the first of so many bytes.
    Split(usize),
    /// Everything in pieces of so many bytes.
    Every(usize),
}

/// Plays a trace once for each split point of what the server sends, and byte by byte.
pub fn play(trace: &str) {
    let longest = trace.lines().map(str::len).max().expect("a line");
    (0..longest).map(Cut::Split).chain([Cut::Every(1), Cut::Every(3)]).for_each(|cut| {
        let mut player = Player::new(cut, trace.contains("exec-oob"));
        for line in trace.lines().map(str::trim).filter(|line| !line.is_empty()) {
            player.play(line);
        }
        player.nothing_is_left("the end");
    });
}

struct Player {
    peer: Peer,
    cut: Cut,
    ids: Vec<String>,
    commands: Vec<CommandId>,
    told: std::collections::VecDeque<String>,
    sent: std::collections::VecDeque<serde_json::Value>,
}

impl Player {
    fn new(cut: Cut, with_oob: bool) -> Self {
        let config = if with_oob { oob() } else { Config::default() };
        Self {
            peer: Peer::new(config),
            cut,
            ids: Vec::new(),
            commands: Vec::new(),
            told: Default::default(),
            sent: Default::default(),
        }
    }

    fn play(&mut self, line: &str) {
        let (direction, rest) = line.split_at(2);
        let rest = rest.trim();
        match direction {
            "do" => self.act(rest),
            "->" => {
                let got = self.sent.pop_front().map(|json| json.to_string());
                let expected: Option<serde_json::Value> =
                    serde_json::from_str(&self.with_ids(rest)).ok();
                let expected = expected.unwrap_or_else(|| panic!("no JSON: {line}"));
                assert_eq!(got, Some(expected.to_string()), "{line} ({:?})", self.cut);
            }
            "<-" => {
                self.nothing_is_left(line);
                self.receive(&self.with_ids(rest));
            }
            "==" => {
                let expected = self.with_ids(rest);
                assert_eq!(self.told.pop_front(), Some(expected), "{line} ({:?})", self.cut);
            }
            "--" => {
                self.nothing_is_left(line);
                match rest {
                    "eof" => self.peer.connection.handle_eof(),
                    "reset" => self.peer.connection.handle_failure(IoFailure::Reset),
                    other => panic!("{other}"),
                }
                self.drain();
            }
            other => panic!("{other}"),
        }
    }

    fn act(&mut self, action: &str) {
        let (verb, name) = action.split_once(' ').unwrap_or((action, ""));
        let request = Request::new(name.to_owned());
        let request = if verb == "oob" { request.out_of_band() } else { request };
        match verb {
            "execute" | "oob" => {
                let id = self.peer.connection.execute(request, None).expect(action);
                self.commands.push(id);
            }
            "cancel" => {
                let index: usize = name[1..].parse().expect("$N");
                drop(self.peer.connection.cancel(self.commands[index - 1]));
            }
            "close" => self.peer.connection.close(),
            other => panic!("{other}"),
        }
        self.drain();
    }

    fn receive(&mut self, text: &str) {
        let text = text.replace("\\r", "\r").replace("\\n", "\n");
        let mut bytes = Vec::new();
        for (at, part) in text.split("\\xff").enumerate() {
            bytes.extend((at > 0).then_some(0xFF));
            bytes.extend(part.as_bytes());
        }
        let pieces: Vec<&[u8]> = match self.cut {
            Cut::Split(at) => <[_; 2]>::from(bytes.split_at(at.min(bytes.len()))).to_vec(),
            Cut::Every(length) => bytes.chunks(length).collect(),
        };
        for piece in pieces {
            self.peer.feed(piece);
            self.drain();
        }
    }

    /// Sends what there is to send, and listens to what there is to hear.
    fn drain(&mut self) {
        let most = if let Cut::Every(length) = self.cut { length } else { usize::MAX };
        let mut text = Vec::new();
        while let Some((bytes, _)) = self.peer.take(most) {
            text.extend(bytes);
        }
        for command in serde_json::Deserializer::from_slice(&text).into_iter() {
            let command: serde_json::Value = command.expect("whole commands");
            if command["execute"] == "qmp_capabilities" {
                self.ids = vec![command["id"].to_string()];
            }
            self.sent.push_back(command);
        }
        let told = self.peer.told();
        let told = told.iter().map(|told| match told {
            Told::Ready => "ready".to_owned(),
            Told::Event(name) => format!("event {name}"),
            Told::Return(id, json) => format!("reply {id} {json}"),
            Told::Error(id, desc) => format!("error {id} {desc}"),
            Told::NotSent(id) => format!("not sent {id}"),
            Told::Unanswered(id) => format!("unanswered {id}"),
            Told::TimedOut(id, sent) => format!("timed out {id}, sent: {sent}"),
            Told::Stray => "stray".to_owned(),
            Told::Closed(reason) => format!("closed: {reason}"),
        });
        let told = told.map(|told| told.replace('\r', "\\r").replace('\n', "\\n"));
        self.told.extend(told.map(|told| told.trim_end().to_owned()));
    }

    fn with_ids(&self, text: &str) -> String {
        let commands = self.commands.iter().map(ToString::to_string);
        let ids: Vec<String> = self.ids.iter().cloned().chain(commands).collect();
        // The longest first, so that $1 is not found in $10.
        (0..ids.len())
            .rev()
            .fold(text.to_owned(), |text, n| text.replace(&format!("${n}"), &ids[n]))
    }

    fn nothing_is_left(&self, line: &str) {
        assert!(self.sent.is_empty(), "before {line}: {:?} ({:?})", self.sent, self.cut);
        assert!(self.told.is_empty(), "before {line}: {:?} ({:?})", self.told, self.cut);
    }
}
