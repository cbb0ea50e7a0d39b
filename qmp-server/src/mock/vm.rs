//! The machine that the built-in commands are about, and those commands.

use alloc::vec::Vec;
use core::fmt;

use qmp_proto::commands::{
    Cont, QueryStatus, QueryVersion, Quit, RunState, Stop, SystemPowerdown, SystemReset,
};
use qmp_proto::events::{self, ShutdownCause};
use qmp_proto::{Command, CommandError, Empty, Event, Raw, Timestamp, TypedEvent, Version};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::monitor::Monitor;

/// What a command's function may do to the machine that it runs in.
pub struct Vm<'a, F> {
    state: &'a mut VmState,
    monitor: &'a mut dyn Monitor<F>,
    now: Timestamp,
    later: &'a mut Vec<Event>,
}

/// What a machine is like between two commands.
#[derive(Debug)]
pub(super) struct VmState {
    pub(super) status: RunState,
    pub(super) version: Version,
    pub(super) ended: bool,
}

impl Default for VmState {
    fn default() -> Self {
        Self { status: RunState::Prelaunch, version: Version::new(7, 2, 0), ended: false }
    }
}

impl<'a, F> Vm<'a, F> {
    pub(super) fn new(
        state: &'a mut VmState,
        monitor: &'a mut dyn Monitor<F>,
        now: Timestamp,
        later: &'a mut Vec<Event>,
    ) -> Self {
        Self { state, monitor, now, later }
    }

    /// Whether the machine runs, and if not, why.
    pub fn status(&self) -> &RunState {
        &self.state.status
    }

    /// Changes what `query-status` tells. The event that goes with it is the caller's to send.
    pub fn set_status(&mut self, status: RunState) {
        self.state.status = status;
    }

    /// Sends an event before the command's reply. Data that cannot be written as JSON is left out.
    pub fn event<T: Serialize>(&mut self, name: &str, data: Option<&T>) {
        let event = self.make_event(name, data);
        self.monitor.event(&event);
    }

    /// As [`event`](Self::event), behind the command's reply.
    pub fn event_later<T: Serialize>(&mut self, name: &str, data: Option<&T>) {
        let event = self.make_event(name, data);
        self.later.push(event);
    }

    /// The descriptor that came along, for a command such as `getfd`.
    pub fn take_descriptor(&mut self) -> Option<F> {
        self.monitor.take_descriptor()
    }

    /// Ends the machine, as `quit` does: after this command's reply the connection closes.
    pub fn end(&mut self) {
        self.state.ended = true;
    }

    fn make_event<T: Serialize>(&self, name: &str, data: Option<&T>) -> Event {
        let data = data.and_then(|data| Raw::new(data).ok());
        Event::new(name, data.as_ref(), self.now)
    }

    fn plain_event<E: TypedEvent>(&mut self) {
        self.event::<Empty>(E::NAME, None);
    }

    fn event_with_cause<E: TypedEvent>(&mut self, reason: ShutdownCause) {
        #[derive(Serialize)]
        struct Data {
            guest: bool,
            reason: ShutdownCause,
        }
        self.event(E::NAME, Some(&Data { guest: false, reason }));
    }
}

/// Without the monitor, which shows itself elsewhere.
impl<F> fmt::Debug for Vm<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").field("state", &self.state).finish_non_exhaustive()
    }
}

/// The arguments of a command that takes none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoArguments {}

/// Adds a built-in command, none of which takes arguments.
fn add<C: Command, T: Serialize, F: 'static>(
    machine: &mut Machine<F>,
    mut function: impl FnMut(&mut Vm<'_, F>) -> T + Send + 'static,
) {
    machine.on(C::NAME, move |vm, arguments| -> Result<T, CommandError> {
        arguments.parse::<NoArguments>()?;
        Ok(function(vm))
    });
}

/// As QEMU does them with `-machine none -S`.
pub(super) fn add_commands<F: 'static>(machine: &mut Machine<F>) {
    add::<QueryStatus, _, _>(machine, |vm| status(vm.state));
    add::<QueryVersion, _, _>(machine, |vm| vm.state.version.clone());
    add::<Cont, _, _>(machine, cont);
    add::<Stop, _, _>(machine, stop);
    add::<SystemReset, _, _>(machine, reset);
    add::<SystemPowerdown, _, _>(machine, |vm| {
        vm.plain_event::<events::Powerdown>();
        Empty {}
    });
    add::<Quit, _, _>(machine, |vm| {
        vm.event_with_cause::<events::Shutdown>(ShutdownCause::HostQmpQuit);
        vm.end();
        Empty {}
    });
}

/// What `query-status` returns; `singlestep` is a member before QEMU 9.
fn status(state: &VmState) -> impl Serialize + use<> {
    #[derive(Serialize)]
    struct StatusInfo {
        status: RunState,
        #[serde(skip_serializing_if = "Option::is_none")]
        singlestep: Option<bool>,
        running: bool,
    }
    let running = state.status == RunState::Running;
    let singlestep = (state.version.qemu.major < 9).then_some(false);
    StatusInfo { status: state.status.clone(), singlestep, running }
}

fn cont<F>(vm: &mut Vm<'_, F>) -> Empty {
    if *vm.status() != RunState::Running {
        vm.set_status(RunState::Running);
        vm.plain_event::<events::Resume>();
    }
    Empty {}
}

/// A machine that does not run is not stopped again, and one not started yet stays so.
fn stop<F>(vm: &mut Vm<'_, F>) -> Empty {
    if *vm.status() == RunState::Running {
        vm.set_status(RunState::Paused);
        vm.plain_event::<events::Stop>();
    }
    Empty {}
}

/// A machine that runs goes on running; any other is as before its start.
fn reset<F>(vm: &mut Vm<'_, F>) -> Empty {
    if *vm.status() != RunState::Running {
        vm.set_status(RunState::Prelaunch);
    }
    vm.event_with_cause::<events::Reset>(ShutdownCause::HostQmpSystemReset);
    Empty {}
}
