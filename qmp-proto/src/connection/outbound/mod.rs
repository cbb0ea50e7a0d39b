//! Commands on their way out: they wait in `queue`, are claimed when `in_flight` admits them, and lie in `send_buffer` until
//! the transport took them.
//!
//! This file moves them from one to the next, and ends those that are not sent.

pub(crate) mod queue;
pub(crate) mod in_flight;
pub(crate) mod send_buffer;

use alloc::vec::Vec;

use crate::connection::Connection;
use crate::connection::close::CloseReason;
use crate::connection::outbound::queue::Queue;
use crate::connection::output::Output;
use crate::connection::phase::Phase;
use crate::payload::command::CommandId;
use crate::payload::error::{ExecuteError, Refusal};

impl<F> Connection<F> {
    pub(crate) fn check_acceptable(
        &self,
        out_of_band: bool,
        descriptor: bool,
    ) -> Result<(), Refusal> {
        match &self.close_reason {
            Some(reason) => return Err(Refusal::Closed(reason.clone())),
            None if self.phase == Phase::Closing => return Err(Refusal::Closing),
            None => {}
        }
        if (out_of_band || descriptor) && self.speaks_to_agent() {
            return Err(Refusal::NotForGuestAgent);
        }
        if out_of_band && !self.window.oob() {
            return Err(Refusal::OobNotNegotiated);
        }
        if descriptor && !self.config.descriptors {
            return Err(Refusal::NoDescriptors);
        }
        if descriptor && out_of_band {
            return Err(Refusal::DescriptorOutOfBand);
        }
        if self.queued_commands() + self.window.len() >= self.config.max_queued {
            return Err(Refusal::QueueFull);
        }
        Ok(())
    }

    pub(crate) fn queue(&mut self, out_of_band: bool) -> &mut Queue<F> {
        if out_of_band { &mut self.out_of_band } else { &mut self.in_band }
    }

    /// The command with the next id stands in its queue: does it fit there?
    pub(crate) fn accepted(&mut self, id: u64) -> Result<CommandId, Refusal> {
        self.next_id += 1;
        if self.queued_bytes() > self.config.max_queued_bytes && self.queued_commands() > 1 {
            let _ = self.withdraw(id);
            return Err(Refusal::QueueFull);
        }
        Ok(CommandId(id))
    }

    pub(crate) fn queued_commands(&self) -> usize {
        self.in_band.commands() + self.out_of_band.commands()
    }

    fn queued_bytes(&self) -> usize {
        self.in_band.bytes() + self.out_of_band.bytes()
    }

    pub(crate) fn withdraw(&mut self, id: u64) -> Option<Option<F>> {
        self.in_band.withdraw(id).or_else(|| self.out_of_band.withdraw(id))
    }

    /// Moves the command whose turn it is to the wire.
    pub(crate) fn claim_next(&mut self) -> bool {
        if self.phase != Phase::Ready {
            return false;
        }
        let mut queues = [&mut self.out_of_band, &mut self.in_band].into_iter();
        let admitted = |queue: &&mut Queue<F>| {
            queue.front().is_some_and(|command| self.window.admits(command))
        };
        let Some(queue) = queues.find(admitted) else {
            return false;
        };
        let start = self.wire.end();
        let Some(command) = queue.pop_into(self.wire.text(), self.sync.echoes_ids()) else {
            return false;
        };
        self.window.enter(&command, start..self.wire.end());
        if let Some(descriptor) = command.descriptor {
            self.wire.attach(descriptor, start);
        }
        true
    }

    pub(crate) fn end_queued(&mut self, reason: &CloseReason) {
        let mut ids: Vec<u64> = Vec::with_capacity(self.queued_commands());
        ids.extend(self.in_band.clear());
        ids.extend(self.out_of_band.clear());
        ids.sort_unstable();
        self.outputs
            .extend(ids.into_iter().map(|id| {
                Output::Reply(CommandId(id), Err(ExecuteError::NotSent(reason.clone())))
            }));
    }
}
