//! Some commands with types of their own, to start with. [`Command`] shows how to add one.
//!
//! Every name and member is as QEMU's QMP reference gives it. Values of an enumeration that are
//! not known here are kept as they came, as `Other`.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::codec::message::Version;
use crate::payload::command::{Command, Empty};
use crate::payload::decode::DecodeError;
use crate::payload::open_enum::open_enum;
use crate::payload::raw::Raw;

/// `query-status`: whether the machine runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueryStatus;

impl Command for QueryStatus {
    const NAME: &'static str = "query-status";
    type Return = StatusInfo;
}

/// What `query-status` returns.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct StatusInfo {
    /// Whether the machine's processors run.
    pub running: bool,
    /// In which state it is, in more detail.
    pub status: RunState,
}

open_enum! {
    /// The state of a machine.
    pub enum RunState {
        /// Stopped by a debugger.
        Debug = "debug",
        /// An incoming migration goes on or is awaited.
        Inmigrate = "inmigrate",
        /// An internal error stopped it.
        InternalError = "internal-error",
        /// A failed I/O operation stopped it.
        IoError = "io-error",
        /// Stopped by `stop`.
        Paused = "paused",
        /// An outgoing migration is done.
        Postmigrate = "postmigrate",
        /// Not started yet (`-S`).
        Prelaunch = "prelaunch",
        /// Stopped to finish a migration.
        FinishMigrate = "finish-migrate",
        /// Stopped to restore a snapshot.
        RestoreVm = "restore-vm",
        /// It runs.
        Running = "running",
        /// Stopped to save a snapshot.
        SaveVm = "save-vm",
        /// The guest has shut down (`-no-shutdown`).
        Shutdown = "shutdown",
        /// Suspended (ACPI S3).
        Suspended = "suspended",
        /// The watchdog stopped it.
        Watchdog = "watchdog",
        /// The guest's kernel panicked.
        GuestPanicked = "guest-panicked",
        /// Stopped for a COLO checkpoint.
        Colo = "colo",
    }
}

/// `query-version`: the version of QEMU.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueryVersion;

impl Command for QueryVersion {
    const NAME: &'static str = "query-version";
    type Return = Version;
}

/// `query-name`: the machine's name.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueryName;

impl Command for QueryName {
    const NAME: &'static str = "query-name";
    type Return = NameInfo;
}

/// What `query-name` returns.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct NameInfo {
    /// The name given with `-name`.
    pub name: Option<String>,
}

/// `query-commands`: which commands there are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueryCommands;

impl Command for QueryCommands {
    const NAME: &'static str = "query-commands";
    type Return = Vec<CommandInfo>;
}

/// One command that the server knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct CommandInfo {
    /// Its name.
    pub name: String,
}

/// `query-qmp-schema`: every command, event and type of the server, as raw JSON of 110 KB and more.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueryQmpSchema;

impl Command for QueryQmpSchema {
    const NAME: &'static str = "query-qmp-schema";
    type Return = Raw;

    fn decode(raw: Raw) -> Result<Raw, DecodeError> {
        Ok(raw)
    }
}

/// `stop`: stops the machine's processors.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stop;

impl Command for Stop {
    const NAME: &'static str = "stop";
    type Return = Empty;
}

/// `cont`: starts the machine, or lets it go on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cont;

impl Command for Cont {
    const NAME: &'static str = "cont";
    type Return = Empty;
}

/// `system_reset`: resets the machine, as its reset button would.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SystemReset;

impl Command for SystemReset {
    const NAME: &'static str = "system_reset";
    type Return = Empty;
}

/// `system_powerdown`: asks the guest to shut down, as its power button would.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SystemPowerdown;

impl Command for SystemPowerdown {
    const NAME: &'static str = "system_powerdown";
    type Return = Empty;
}

/// `quit`: ends QEMU. Nothing is sent behind it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quit;

impl Command for Quit {
    const NAME: &'static str = "quit";
    type Return = Empty;
}

/// `human-monitor-command`: runs a command of the human monitor and returns what it prints.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HumanMonitorCommand<'a> {
    /// The command, as one types it there.
    pub command_line: &'a str,
    /// The processor that it is about; the first one if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_index: Option<i64>,
}

impl Command for HumanMonitorCommand<'_> {
    const NAME: &'static str = "human-monitor-command";
    type Return = String;
}

/// `device_add`: plugs in a device.
///
/// ```
/// use qmp_proto::commands::DeviceAdd;
///
/// let mut add = DeviceAdd { driver: "virtio-net-pci", id: Some("net0"), ..Default::default() };
/// add.properties.insert("mac".into(), "52:54:00:12:34:56".into());
/// ```
#[derive(Clone, Debug, Default, Serialize)]
pub struct DeviceAdd<'a> {
    /// The device's type, `virtio-net-pci` for instance.
    pub driver: &'a str,
    /// The name by which it can be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// The bus that it goes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<&'a str>,
    /// Whatever else the device's type takes.
    #[serde(flatten)]
    pub properties: Map<String, Value>,
}

impl Command for DeviceAdd<'_> {
    const NAME: &'static str = "device_add";
    type Return = Empty;
}

/// `device_del`: asks for a device's removal; the event `DEVICE_DELETED` tells that it is gone.
///
/// A PCI device goes when the guest agrees, which it does not while it does not run; a USB device
/// goes at once.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DeviceDel<'a> {
    /// The device's id, or its path.
    pub id: &'a str,
}

impl Command for DeviceDel<'_> {
    const NAME: &'static str = "device_del";
    type Return = Empty;
}

/// `getfd`: keeps the descriptor that comes along under a name.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Getfd<'a> {
    /// The name.
    pub fdname: &'a str,
}

impl Command for Getfd<'_> {
    const NAME: &'static str = "getfd";
    type Return = Empty;
}

/// `closefd`: closes a descriptor that `getfd` kept.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Closefd<'a> {
    /// The name.
    pub fdname: &'a str,
}

impl Command for Closefd<'_> {
    const NAME: &'static str = "closefd";
    type Return = Empty;
}

/// `add-fd`: adds the descriptor that comes along to a set, usable as `/dev/fdset/N`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AddFd<'a> {
    /// The set; a new one if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fdset_id: Option<i64>,
    /// A text to know it by in `query-fdsets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opaque: Option<&'a str>,
}

impl Command for AddFd<'_> {
    const NAME: &'static str = "add-fd";
    type Return = AddFdInfo;
}

/// What `add-fd` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct AddFdInfo {
    /// The set.
    pub fdset_id: i64,
    /// The descriptor's number in QEMU.
    pub fd: i64,
}

/// `query-fdsets`: the sets that `add-fd` made.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueryFdsets;

impl Command for QueryFdsets {
    const NAME: &'static str = "query-fdsets";
    type Return = Vec<FdsetInfo>;
}

/// A set of descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct FdsetInfo {
    /// Its number, the `N` of `/dev/fdset/N`.
    pub fdset_id: i64,
    /// What is in it.
    pub fds: Vec<FdsetFdInfo>,
}

/// A descriptor in a set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FdsetFdInfo {
    /// Its number in QEMU.
    pub fd: i64,
    /// The text given with it.
    pub opaque: Option<String>,
}
