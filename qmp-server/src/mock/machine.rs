//! Commands by name, each a function, on top of a server's connection.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use qmp_proto::commands::{QueryCommands, RunState};
use qmp_proto::{Command, CommandError, ErrorClass, Event, Raw, Timestamp, Version};
use serde::Serialize;

use super::monitor::Monitor;
use super::vm::{self, NoArguments, Vm, VmState};
use crate::connection::config::Config;
use crate::connection::output::Call;

type Function<F> = Box<dyn FnMut(&mut Vm<'_, F>, &Raw) -> Result<Raw, CommandError> + Send>;

/// A machine without a guest, which answers as QEMU's `-machine none -S` does.
///
/// It knows `query-status`, `query-version`, `query-commands`, `stop`, `cont`, `system_reset`,
/// `system_powerdown` and `quit`, and sends their events before their replies, as QEMU does. Other
/// commands are added by name with [`on`](Self::on); what it does not know is `CommandNotFound`.
///
/// It outlives a connection: a client that comes back finds it as it was left.
///
/// ```
/// use qmp_server::{Config, Connection, Machine, Output};
/// use qmp_proto::{CommandError, DecodeError, Empty, Raw, Timestamp};
///
/// #[derive(serde::Deserialize)]
/// struct Eject { device: String }
///
/// let mut machine = Machine::new();
/// machine.on("eject", |vm, arguments| {
///     let Eject { device } = arguments.parse()?;
///     vm.event("DEVICE_TRAY_MOVED", Some(&serde_json::json!({"id": device, "tray-open": true})));
///     Ok(Empty {})
/// });
///
/// let mut connection = <Connection>::new(Config::default());
/// connection.handle_input(br#"{"execute": "qmp_capabilities"}
///     {"execute": "eject", "arguments": {"device": "cd0"}, "id": "e"}"#);
/// let now = Timestamp { seconds: 1267061043, microseconds: 0 };
/// while let Some(output) = connection.poll_output() {
///     if let Output::Call(call) = output {
///         machine.execute(&call, &mut connection, now);
///     }
/// }
/// let sent = std::str::from_utf8(connection.transmit().unwrap())?;
/// let lines: Vec<&str> = sent.lines().skip(2).collect();
/// assert!(lines[0].contains(r#""event": "DEVICE_TRAY_MOVED", "data": {"id": "cd0""#));
/// assert_eq!(lines[1], r#"{"return": {}, "id": "e"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Machine<F = Infallible> {
    state: VmState,
    commands: BTreeMap<Cow<'static, str>, Entry<F>>,
}

struct Entry<F> {
    function: Function<F>,
    out_of_band: bool,
}

impl<F: 'static> Machine<F> {
    /// A machine that was not started yet, as with `-S`.
    pub fn new() -> Self {
        let mut machine = Self { state: VmState::default(), commands: BTreeMap::new() };
        vm::add_commands(&mut machine);
        machine
    }

    /// Adds a command, or replaces the one of that name.
    ///
    /// The function is given the arguments, an object, and what it may do to the machine. What it
    /// returns is anything that serializes to JSON, [`Empty`](qmp_proto::Empty) if there is nothing to
    /// say. Arguments that do not [`parse`](Raw::parse) make a `GenericError` with `?`.
    pub fn on<T: Serialize>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        function: impl FnMut(&mut Vm<'_, F>, &Raw) -> Result<T, CommandError> + Send + 'static,
    ) -> &mut Self {
        self.add(name.into(), function, false)
    }

    /// As [`on`](Self::on), for a command that may also be executed out-of-band.
    pub fn on_out_of_band<T: Serialize>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        function: impl FnMut(&mut Vm<'_, F>, &Raw) -> Result<T, CommandError> + Send + 'static,
    ) -> &mut Self {
        self.add(name.into(), function, true)
    }

    /// Takes a command away, so that it is not found.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.commands.remove(name);
        self
    }

    /// Tells another version than the default, 7.2.0, in `query-version` and in the greeting.
    /// `query-status` has the member `singlestep` before version 9 alone, as QEMU's.
    pub fn set_version(&mut self, version: Version) -> &mut Self {
        self.state.version = version;
        self
    }

    /// For the connection of a client that comes to this machine.
    pub fn config(&self) -> Config {
        Config { version: self.state.version.clone(), ..Config::default() }
    }

    /// Whether the machine runs, and if not, why.
    pub fn status(&self) -> &RunState {
        &self.state.status
    }

    /// Whether `quit` was executed.
    pub fn has_ended(&self) -> bool {
        self.state.ended
    }

    /// Executes a command and answers it on its connection. `now` is the time of its events; after
    /// `quit` the connection is closing.
    pub fn execute(&mut self, call: &Call, monitor: &mut dyn Monitor<F>, now: Timestamp) {
        let mut later = Vec::new();
        let outcome = self.run(call, monitor, now, &mut later);
        // It fails where the call was answered already; then there is nothing to say.
        if monitor.respond(call.ticket, outcome).is_ok() {
            for event in &later {
                monitor.event(event);
            }
        }
        if self.state.ended {
            monitor.close();
        }
    }

    fn run(
        &mut self,
        call: &Call,
        monitor: &mut dyn Monitor<F>,
        now: Timestamp,
        later: &mut Vec<Event>,
    ) -> Result<Raw, CommandError> {
        let allows_out_of_band = self.allows_out_of_band(&call.name).ok_or_else(|| {
            let text = format!("there is no command {}", call.name);
            CommandError::new(ErrorClass::CommandNotFound, text)
        })?;
        if call.out_of_band && !allows_out_of_band {
            return Err(CommandError::generic("this command cannot be executed out-of-band"));
        }
        match self.commands.get_mut(&*call.name) {
            Some(entry) => {
                let mut vm = Vm::new(&mut self.state, monitor, now, later);
                (entry.function)(&mut vm, &call.arguments)
            }
            None => self.names(&call.arguments),
        }
    }

    /// Whether the command may be executed out-of-band; `None` if there is no such command.
    fn allows_out_of_band(&self, name: &str) -> Option<bool> {
        match self.commands.get(name) {
            Some(entry) => Some(entry.out_of_band),
            None => (name == QueryCommands::NAME).then_some(false),
        }
    }

    fn add<T: Serialize>(
        &mut self,
        name: Cow<'static, str>,
        mut function: impl FnMut(&mut Vm<'_, F>, &Raw) -> Result<T, CommandError> + Send + 'static,
        out_of_band: bool,
    ) -> &mut Self {
        let function: Function<F> = Box::new(move |vm, arguments| {
            Raw::new(&function(vm, arguments)?)
                .map_err(|fault| CommandError::generic(fault.to_string()))
        });
        self.commands.insert(name, Entry { function, out_of_band });
        self
    }

    fn names(&self, arguments: &Raw) -> Result<Raw, CommandError> {
        #[derive(Serialize)]
        struct Info<'a> {
            name: &'a str,
        }
        arguments.parse::<NoArguments>()?;
        let names = self.commands.keys().map(|name| &**name).chain([QueryCommands::NAME]);
        let infos: Vec<Info<'_>> = names.map(|name| Info { name }).collect();
        Ok(Raw::new(&infos).unwrap_or(Raw::from_static("[]")))
    }
}

impl<F: 'static> Default for Machine<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> fmt::Debug for Machine<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: Vec<_> = self.commands.keys().collect();
        f.debug_struct("Machine").field("state", &self.state).field("commands", &commands).finish()
    }
}
