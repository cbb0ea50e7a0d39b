//! What a guest agent's connection does otherwise: it has ids only if the agent echoes them, and a
//! session that begins anew.

use qmp_proto::{CommandId, Phase};

use super::{Model, State};
use crate::peer::Told;

impl Model {
    /// The number of a guest agent's session.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn begin_session(&mut self) {
        self.number = self.next_id;
        self.next_id += 1;
        self.wire.push(0xFF);
        let number = self.number;
        let arguments = format!("{{\"id\":{number}}},\"id\":{number}");
        let text = format!("{{\"execute\":\"guest-sync-delimited\",\"arguments\":{arguments}}}\n");
        self.wire.extend(text.as_bytes());
    }

    /// A 0xFF comes, and an answer with this number.
    pub fn synchronise(&mut self, number: u64) {
        match self.phase {
            Phase::Syncing if number == self.number => {
                self.phase = Phase::Ready;
                self.told.extend((!self.told_ready).then_some(Told::Ready));
                self.told_ready = true;
            }
            Phase::Syncing | Phase::OutOfStep => {}
            _ if !self.choices.echoes => self.return_without_id(&number.to_string()),
            // Numbers and ids are of one sequence.
            _ => match self.begun()[..] {
                [id] if id.to_string() == number.to_string() => {
                    self.settle_with(id, Ok(&number.to_string()));
                }
                _ => self.stray(),
            },
        }
    }

    /// With no command in flight, what comes is dropped, and a new session is needed.
    pub(super) fn is_unasked(&mut self) -> bool {
        let unasked =
            self.choices.agent && self.phase == Phase::Ready && self.in_flight().next().is_none();
        if unasked {
            self.fall_out_of_step();
        }
        unasked
    }

    /// An error without an id, where ids are echoed: it could not read something.
    pub(super) fn was_unreadable(&mut self, id: CommandId) {
        self.told.push(Told::Unanswered(id));
        if let Some(command) = self.commands.iter_mut().find(|command| command.id == id) {
            command.state = State::Ended;
        }
        self.give_up();
    }

    /// A guest agent's late reply is dropped with all else before a new session.
    pub(super) fn give_up(&mut self) {
        self.fall_out_of_step();
        self.begin_anew();
        self.close_if_drained();
    }

    pub(super) fn fall_out_of_step(&mut self) {
        if self.phase == Phase::Ready {
            self.phase = Phase::OutOfStep;
        }
    }

    pub(super) fn begin_anew(&mut self) {
        if self.phase == Phase::OutOfStep {
            self.phase = Phase::Syncing;
            self.begin_session();
        }
    }

    /// A success without an id: with a guest agent, that of the command of which it has got something.
    pub fn return_without_id(&mut self, value: &str) {
        match self.begun()[..] {
            [id] if self.choices.agent && !self.choices.echoes => self.settle_with(id, Ok(value)),
            _ => self.stray(),
        }
    }
}
