//! Some events with types of their own, to start with.
//!
//! ```
//! use qmp_proto::{Event, events::Shutdown};
//!
//! fn why(event: &Event) -> Option<String> {
//!     let shutdown = event.parse_as::<Shutdown>()?.ok()?;
//!     Some(format!("{:?}", shutdown.reason))
//! }
//! ```
//!
//! An event of another name, or one that QEMU adds tomorrow, is an [`Event`](crate::Event) like
//! any other.

use alloc::string::String;

use serde::Deserialize;

use crate::payload::event::TypedEvent;
use crate::payload::open_enum::open_enum;

/// `SHUTDOWN`: the machine has shut down, or is about to with QEMU.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Shutdown {
    /// Whether the guest asked for it.
    pub guest: bool,
    /// Why.
    pub reason: ShutdownCause,
}

impl TypedEvent for Shutdown {
    const NAME: &'static str = "SHUTDOWN";
}

/// `STOP`: the machine has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Stop {}

impl TypedEvent for Stop {
    const NAME: &'static str = "STOP";
}

/// `RESUME`: the machine runs, or runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Resume {}

impl TypedEvent for Resume {
    const NAME: &'static str = "RESUME";
}

/// `RESET`: the machine was reset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Reset {
    /// Whether the guest asked for it.
    pub guest: bool,
    /// Why.
    pub reason: ShutdownCause,
}

impl TypedEvent for Reset {
    const NAME: &'static str = "RESET";
}

/// `POWERDOWN`: the guest was asked to shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Powerdown {}

impl TypedEvent for Powerdown {
    const NAME: &'static str = "POWERDOWN";
}

/// `DEVICE_DELETED`: a device is gone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct DeviceDeleted {
    /// The device's id, where it had one.
    pub device: Option<String>,
    /// Its path in QEMU's object tree.
    pub path: String,
}

impl TypedEvent for DeviceDeleted {
    const NAME: &'static str = "DEVICE_DELETED";
}

open_enum! {
    /// Why a machine shut down or was reset.
    pub enum ShutdownCause {
        /// Nothing was asked.
        None = "none",
        /// QEMU met an error.
        HostError = "host-error",
        /// The command `quit`.
        HostQmpQuit = "host-qmp-quit",
        /// The command `system_reset`.
        HostQmpSystemReset = "host-qmp-system-reset",
        /// A signal, SIGTERM for instance.
        HostSignal = "host-signal",
        /// The window was closed.
        HostUi = "host-ui",
        /// The guest shut down.
        GuestShutdown = "guest-shutdown",
        /// The guest was reset and `-no-reboot` made a shutdown of it.
        GuestReset = "guest-reset",
        /// The guest's kernel panicked.
        GuestPanic = "guest-panic",
        /// A part of the machine was reset.
        SubsystemReset = "subsystem-reset",
        /// A snapshot was loaded.
        SnapshotLoad = "snapshot-load",
    }
}
