//! What holds at any time of a connection's commands, by what was accepted, sent and told, and
//! without knowing what the server said.

use std::collections::{BTreeMap, HashMap};

use qmp_proto::{CloseReason, CommandId, Phase};
use serde_json::Value;

use super::model::{CancelOutcome, Kind};
use crate::peer::{Peer, Told};

/// How a command ended, as the application was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Return,
    Error,
    NotSent,
    Unanswered,
    /// It was cancelled before anything of it was claimed.
    Withdrawn,
    /// It was cancelled after that.
    Discarded,
}

struct Command {
    name: String,
    kind: Kind,
    ended: Option<Ended>,
    sent: bool,
}

pub(super) struct Ledger {
    agent: bool,
    /// The last one with which a guest agent's session begins.
    pub(super) number: u64,
    oob: bool,
    limit: usize,
    commands: BTreeMap<CommandId, Command>,
    /// The ids as they stand on the wire.
    ids: HashMap<String, CommandId>,
    /// What was sent and is no whole command yet.
    unread: Vec<u8>,
    reason: Option<CloseReason>,
}

impl Ledger {
    pub(super) fn new(agent: bool, oob: bool, window: Option<usize>) -> Self {
        let limit = match oob {
            _ if agent => 1,
            true => window.unwrap_or(7).clamp(1, 8),
            false => window.unwrap_or(64).max(1),
        };
        let (commands, ids) = (BTreeMap::new(), HashMap::new());
        Self { agent, number: 1, oob, limit, commands, ids, unread: Vec::new(), reason: None }
    }

    pub(super) fn ids(&self) -> Vec<CommandId> {
        self.commands.keys().copied().collect()
    }

    /// An id is never given twice.
    pub(super) fn accept(&mut self, id: CommandId, kind: Kind, name: &str) {
        let last = self.commands.last_key_value().map(|(id, _)| *id);
        assert!(Some(id) > last, "{id} was given before");
        self.ids.insert(id.to_string(), id);
        self.commands.insert(id, Command { name: name.to_owned(), kind, ended: None, sent: false });
    }

    pub(super) fn cancel(&mut self, id: CommandId, outcome: &CancelOutcome) {
        match outcome {
            CancelOutcome::NeverSent(_) => self.end(id, Ended::Withdrawn),
            CancelOutcome::ReplyDiscarded | CancelOutcome::NoReplyOwed => {
                self.end(id, Ended::Discarded)
            }
            CancelOutcome::Unknown => {
                assert!(self.commands[&id].ended.is_some(), "{id} is forgotten")
            }
        }
    }

    /// C8: only whole commands go out, each once, in the order of their ids but for those that are
    /// out-of-band, and never one that was withdrawn.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let is_json = |byte: &&u8| !self.agent || **byte != 0xFF;
        self.unread.extend(bytes.iter().filter(is_json));
        let unread = std::mem::take(&mut self.unread);
        let mut values = serde_json::Deserializer::from_slice(&unread).into_iter::<Value>();
        loop {
            match values.next() {
                Some(Ok(command)) => self.has_sent(&command),
                Some(Err(error)) if error.is_eof() => break,
                Some(Err(error)) => panic!("torn, {error}: {}", unread.escape_ascii()),
                None => break,
            }
        }
        self.unread = unread[values.byte_offset()..].to_vec();
        assert!(!self.is_quitting() || unread.ends_with(b"}"), "C12: bytes behind quit");
    }

    /// `quit` was sent, and not refused. Of a cancelled one this cannot be told.
    fn is_quitting(&self) -> bool {
        let accepted = |ended| matches!(ended, None | Some(Ended::Return));
        self.commands.values().any(|c| c.kind == Kind::Quit && c.sent && accepted(c.ended))
    }

    fn has_sent(&mut self, json: &Value) {
        if json["execute"] == "guest-sync-delimited" {
            let number = json["arguments"]["id"].as_u64().expect("a number");
            assert!(self.agent && json.get("id").is_none_or(|id| *id == number), "{json}");
            assert!(number > self.number, "C23: the number of before");
            self.number = number;
            return;
        }
        let Some(id) = self.id_of(json) else {
            return assert_eq!(json["execute"], "qmp_capabilities", "{json} was not accepted");
        };
        assert!(!self.is_quitting(), "C12: {id} is sent behind quit");
        let command = self.commands.get_mut(&id).expect("it is known");
        assert!(!command.sent, "{id} is sent twice");
        assert!(!matches!(command.ended, Some(Ended::Withdrawn | Ended::NotSent)), "{id} is sent");
        assert_eq!(json.get("exec-oob").is_some(), command.kind == Kind::OutOfBand);
        command.sent = true;
    }

    /// A guest agent's command may have no id; it is the first of its name that was not sent.
    fn id_of(&self, json: &Value) -> Option<CommandId> {
        if !self.agent || json.get("id").is_some() {
            return self.ids.get(&json["id"].to_string()).copied();
        }
        let unsent = |command: &Command| {
            !command.sent && !matches!(command.ended, Some(Ended::Withdrawn | Ended::NotSent))
        };
        let mut commands = self.commands.iter();
        commands.find(|(_, c)| json["execute"] == c.name && unsent(c)).map(|(id, _)| *id)
    }

    /// C17: every command ends once, the connection after all of them, and that for good.
    pub(super) fn listen(&mut self, told: &[Told]) {
        for told in told {
            assert_eq!(self.reason, None, "{told:?} after the end");
            match told {
                Told::Return(id, _) => self.end(*id, Ended::Return),
                Told::Error(id, _) => self.end(*id, Ended::Error),
                Told::NotSent(id) => self.end(*id, Ended::NotSent),
                Told::Unanswered(id) => self.end(*id, Ended::Unanswered),
                Told::TimedOut(id, _) => panic!("{id} had no deadline"),
                Told::Closed(reason) => self.reason = Some(reason.clone()),
                Told::Ready | Told::Event(_) | Told::Stray => {}
            }
        }
    }

    fn end(&mut self, id: CommandId, ended: Ended) {
        let command = self.commands.get_mut(&id).unwrap_or_else(|| panic!("{id} was not accepted"));
        assert_eq!(command.ended, None, "{id} has ended, and now {ended:?}");
        assert!(!(command.sent && ended == Ended::NotSent), "{id} was sent");
        command.ended = Some(ended);
    }

    pub(super) fn check(&self, peer: &Peer) {
        let connection = &peer.connection;
        assert_eq!(connection.close_reason(), self.reason.as_ref());
        assert_eq!(connection.phase() == Phase::Closed, self.reason.is_some());
        let begun = || self.commands.iter().filter(|(id, _)| connection.has_begun(**id));
        let of = |kind| begun().filter(move |(_, command)| command.kind == kind).count();
        assert!(begun().count() - of(Kind::OutOfBand) <= self.limit, "C10: the window");
        assert!(!self.oob || of(Kind::WithDescriptor) <= 1, "C11: the barrier");
        assert!(of(Kind::Quit) <= 1, "C12: something was sent behind quit");
        for (id, command) in begun() {
            let open = matches!(command.ended, None | Some(Ended::Discarded));
            assert!(open, "{id} is {:?}, and in flight", command.ended);
        }
    }

    /// C17, C11: nothing is left of any of them.
    pub(super) fn check_end(&self, peer: &mut Peer) {
        for (id, command) in &self.commands {
            assert!(command.ended.is_some(), "{id} has not ended");
        }
        assert!(self.reason.is_some() && peer.connection.is_idle());
        assert!(peer.connection.transmit().is_none() && peer.open().is_empty());
    }
}
