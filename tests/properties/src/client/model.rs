//! The contract of a connection as a slow and simple program: every command ever accepted stays in
//! one list, and every byte ever claimed in one vector.

mod agent;
mod inputs;

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};
use qmp_proto::{CloseReason, CommandId, Phase, Refusal};

use crate::peer::Told;

/// How a command travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    InBand,
    OutOfBand,
    WithDescriptor,
    Quit,
    WithoutReply,
}

/// What there was before there were commands without a reply, so that inputs of then mean the same.
impl Arbitrary<'_> for Kind {
    fn arbitrary(u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let kinds = [Self::InBand, Self::OutOfBand, Self::WithDescriptor, Self::Quit];
        let choice = (u64::from(u.arbitrary::<u32>()?) * kinds.len() as u64) >> 32;
        Ok(kinds[choice as usize])
    }
}

/// Where a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    /// Claimed; its first byte is at this position of the wire.
    InFlight(usize),
    Ended,
}

struct Command {
    id: CommandId,
    kind: Kind,
    text: String,
    descriptor: Option<u32>,
    cancelled: bool,
    state: State,
}

/// What the model is told about the connection that it follows.
pub struct Choices {
    pub agent: bool,
    /// A guest agent echoes ids.
    pub echoes: bool,
    pub oob: bool,
    pub descriptors: bool,
    pub window: Option<usize>,
    pub max_queued: usize,
    pub max_queued_bytes: usize,
    /// The id of the first `qmp_capabilities`; the others follow it.
    pub handshake: u64,
}

/// What a cancel should give.
#[derive(Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    NeverSent(Option<u32>),
    ReplyDiscarded,
    NoReplyOwed,
    Unknown,
}

pub struct Model {
    choices: Choices,
    phase: Phase,
    commands: Vec<Command>,
    wire: Vec<u8>,
    sent: usize,
    /// Descriptors on the wire, by the position of the byte that each rides with.
    riding: BTreeMap<usize, u32>,
    /// The next id, and the number with which a guest agent's session begins.
    next_id: u64,
    number: u64,
    /// How many greetings came, each of which `qmp_capabilities` follows.
    greetings: u64,
    /// Which of these have no reply, by their ids.
    negotiations: Vec<u64>,
    told_ready: bool,
    quit_succeeded: bool,
    attributed: bool,
    shutdown_seen: bool,
    reason: Option<CloseReason>,
    pub strays: u64,
    /// What the connection should tell.
    pub told: Vec<Told>,
}

impl Model {
    pub fn new(choices: Choices) -> Self {
        let agent = choices.agent;
        let next_id = if agent { choices.handshake + 1 } else { 1 };
        let mut model = Self {
            choices,
            phase: if agent { Phase::Syncing } else { Phase::Greeting },
            commands: Vec::new(),
            wire: Vec::new(),
            sent: 0,
            riding: BTreeMap::new(),
            next_id,
            number: 0,
            greetings: 0,
            negotiations: Vec::new(),
            told_ready: false,
            quit_succeeded: false,
            attributed: false,
            shutdown_seen: false,
            reason: None,
            strays: 0,
            told: Vec::new(),
        };
        if agent {
            model.begin_session();
        }
        model
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What `execute` should say of such a command.
    pub fn verdict(&self, kind: Kind, name: &str) -> Result<(), Refusal> {
        if let Some(reason) = &self.reason {
            return Err(Refusal::Closed(reason.clone()));
        }
        if self.phase == Phase::Closing {
            return Err(Refusal::Closing);
        }
        let unknown = matches!(kind, Kind::OutOfBand | Kind::WithDescriptor);
        if self.choices.agent && unknown {
            return Err(Refusal::NotForGuestAgent);
        }
        if kind == Kind::OutOfBand && !(self.choices.oob && self.phase == Phase::Ready) {
            return Err(Refusal::OobNotNegotiated);
        }
        if kind == Kind::WithDescriptor && !self.choices.descriptors {
            return Err(Refusal::NoDescriptors);
        }
        let outstanding = self.commands.iter().filter(|c| c.state != State::Ended).count();
        if outstanding >= self.choices.max_queued {
            return Err(Refusal::QueueFull);
        }
        if self.is_too_much(kind, name) {
            return Err(Refusal::QueueFull);
        }
        Ok(())
    }

    fn is_too_much(&self, kind: Kind, name: &str) -> bool {
        let waiting: usize = self.queued().map(|command| command.text.len()).sum();
        let bytes = waiting + text(kind, name).len();
        waiting > 0 && bytes > self.choices.max_queued_bytes
    }

    /// A command is asked for: it takes an id if it is accepted.
    pub fn ask(&mut self, kind: Kind, name: &str) {
        self.next_id += u64::from(self.verdict(kind, name).is_ok());
    }

    pub fn execute(&mut self, id: CommandId, kind: Kind, name: &str, descriptor: Option<u32>) {
        assert_eq!(id.to_string(), (self.next_id - 1).to_string());
        let (text, state) = (text(kind, name), State::Queued);
        self.commands.push(Command { id, kind, text, descriptor, cancelled: false, state });
    }

    pub fn ids(&self) -> Vec<CommandId> {
        self.commands.iter().map(|command| command.id).collect()
    }

    /// The commands that the server has got whole and not answered.
    pub fn at_the_server(&self) -> Vec<CommandId> {
        let whole = |command: &&Command| matches!(command.state, State::InFlight(start) if start + command.text.len() <= self.sent);
        self.commands.iter().filter(whole).map(|command| command.id).collect()
    }

    pub fn cancel(&mut self, id: CommandId) -> CancelOutcome {
        let Some(command) = self.commands.iter_mut().find(|command| command.id == id) else {
            return CancelOutcome::Unknown;
        };
        match command.state {
            State::Queued => {
                command.state = State::Ended;
                CancelOutcome::NeverSent(command.descriptor.take())
            }
            State::InFlight(start) if !command.cancelled => {
                command.cancelled = true;
                let whole = start + command.text.len() <= self.sent;
                let silent = command.kind == Kind::WithoutReply && whole;
                if self.choices.agent {
                    command.state = State::Ended;
                    self.give_up();
                }
                if silent { CancelOutcome::NoReplyOwed } else { CancelOutcome::ReplyDiscarded }
            }
            _ => CancelOutcome::Unknown,
        }
    }

    pub fn close(&mut self) {
        match self.phase {
            Phase::Greeting | Phase::Negotiating | Phase::Syncing | Phase::OutOfStep => {
                self.end(CloseReason::Requested);
            }
            Phase::Ready => {
                self.phase = Phase::Closing;
                self.end_queued();
                self.close_if_drained();
            }
            _ => {}
        }
    }

    /// Claims what may be sent, where all that was claimed before is sent; gives what one transmit
    /// should lend.
    pub fn transmit(&mut self) -> Option<(Vec<u8>, Option<u32>)> {
        let all_sent = self.sent == self.wire.len();
        let quitting = self.quit_succeeded || self.in_flight().any(|c| c.kind == Kind::Quit);
        if all_sent && !quitting && self.queued().next().is_some() {
            self.begin_anew();
        }
        while let Some(next) = self.next_to_claim().filter(|_| all_sent) {
            let start = self.wire.len();
            let has_id = !self.choices.agent || self.choices.echoes;
            let command = &mut self.commands[next];
            command.state = State::InFlight(start);
            command.text += &end(command.kind, has_id.then_some(command.id));
            self.wire.extend(command.text.as_bytes());
            self.riding.extend(command.descriptor.take().map(|descriptor| (start, descriptor)));
        }
        let end = self.riding.range(self.sent + 1..).next().map_or(self.wire.len(), |(at, _)| *at);
        let lent = &self.wire[self.sent..end];
        (!lent.is_empty()).then(|| (lent.to_vec(), self.riding.get(&self.sent).copied()))
    }

    /// The transport took this many bytes of what was lent, at least one.
    pub fn advance(&mut self, taken: usize) {
        self.riding.remove(&self.sent);
        self.sent += taken;
    }

    /// The rules of C10, C11 and C12.
    fn next_to_claim(&self) -> Option<usize> {
        let in_flight = |kind| self.in_flight().filter(move |c| c.kind == kind).count();
        if self.phase != Phase::Ready || self.quit_succeeded || in_flight(Kind::Quit) > 0 {
            return None;
        }
        let queued = |command: &Command| command.state == State::Queued;
        let out_of_band = |command: &Command| command.kind == Kind::OutOfBand;
        if let Some(next) = self.commands.iter().position(|c| queued(c) && out_of_band(c)) {
            return Some(next);
        }
        let next = self.commands.iter().position(|c| queued(c) && !out_of_band(c))?;
        let limit = match (self.choices.oob, self.choices.window) {
            _ if self.choices.agent => 1,
            (true, None) => 7,
            (true, Some(wanted)) => wanted.clamp(1, 8),
            (false, None) => 64,
            (false, Some(wanted)) => wanted.max(1),
        };
        let in_band = self.in_flight().count() - in_flight(Kind::OutOfBand);
        let barrier = self.choices.oob
            && self.commands[next].kind == Kind::WithDescriptor
            && in_flight(Kind::WithDescriptor) > 0;
        (in_band < limit && !barrier).then_some(next)
    }

    /// A command that has ended with a reply or is withdrawn: an id of ours all the same.
    pub fn ended_id(&self) -> Option<CommandId> {
        self.commands.iter().find(|command| command.state == State::Ended).map(|c| c.id)
    }

    /// The commands in flight of which a byte was sent.
    pub fn begun(&self) -> Vec<CommandId> {
        let begun = |command: &&Command| matches!(command.state, State::InFlight(start) if start < self.sent);
        self.commands.iter().filter(begun).map(|command| command.id).collect()
    }

    pub fn is_idle(&self) -> bool {
        let negotiating =
            matches!(self.phase, Phase::Greeting | Phase::Negotiating | Phase::Syncing);
        !negotiating && self.commands.iter().all(|command| command.state == State::Ended)
    }

    /// The descriptors that should be open: those that wait, and those whose byte is not sent.
    pub fn open(&self) -> Vec<u32> {
        let waiting = self.commands.iter().filter_map(|command| command.descriptor);
        let mut open: Vec<u32> = self.riding.values().copied().chain(waiting).collect();
        open.sort_unstable();
        open
    }

    fn quit_is_sent(&self) -> bool {
        let in_flight = self.in_flight().any(|command| command.kind == Kind::Quit);
        (self.quit_succeeded || in_flight) && self.sent == self.wire.len()
    }

    fn in_flight(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().filter(|command| matches!(command.state, State::InFlight(_)))
    }

    fn queued(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().filter(|command| command.state == State::Queued)
    }
}

/// How a command ends.
/// A queued command. Its end is written when it is committed.
fn text(kind: Kind, name: &str) -> String {
    let verb = if kind == Kind::OutOfBand { "exec-oob" } else { "execute" };
    format!("{{\"{verb}\":\"{name}\"")
}

fn end(kind: Kind, id: Option<impl ToString>) -> String {
    let id = id.map(|id| format!(",\"id\":{}", id.to_string())).unwrap_or_default();
    let end = if kind == Kind::Quit { "" } else { "\n" };
    format!("{id}}}{end}")
}
