//! Commands of the guest agent with types of their own. [`Command`] shows how to add one.
//!
//! Every name and member is as QEMU's reference of the guest agent gives it. Values of an
//! enumeration that are not known here are kept as they came, as `Other`. What is base64 on the
//! wire is base64 here too; the adapters have `base64` to encode and decode it.
//!
//! `exec` has the commands that run a program, `files` those that read and write files, and this file all others.

mod exec;
mod files;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::payload::command::{Command, Empty};
use crate::payload::no_reply::NoReply;
use crate::payload::open_enum::open_enum;

pub use exec::{GuestExec, GuestExecStarted, GuestExecStatus, GuestExecStatusInfo};
pub use files::{
    GuestFileClose, GuestFileFlush, GuestFileOpen, GuestFileRead, GuestFileReadInfo, GuestFileSeek,
    GuestFileSeekInfo, GuestFileWhence, GuestFileWrite, GuestFileWriteInfo,
};

/// `guest-ping`: whether the agent answers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestPing;

impl Command for GuestPing {
    const NAME: &'static str = "guest-ping";
    type Return = Empty;
}

/// `guest-info`: the agent's version, and which commands it has.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestInfo;

impl Command for GuestInfo {
    const NAME: &'static str = "guest-info";
    type Return = GuestAgentInfo;
}

/// What `guest-info` returns.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct GuestAgentInfo {
    /// The agent's version, `7.2.22` for instance.
    pub version: String,
    /// The commands that it knows, those included that are switched off.
    #[serde(default)]
    pub supported_commands: Vec<GuestAgentCommandInfo>,
}

/// One command that the agent knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct GuestAgentCommandInfo {
    /// Its name.
    pub name: String,
    /// Whether it may be executed: who runs the guest can switch commands off.
    pub enabled: bool,
    /// Whether its success is answered. Agents before 1.7 do not say.
    pub success_response: Option<bool>,
}

/// `guest-sync-delimited`: the agent answers with the number, behind a byte 0xFF.
///
/// A connection does this by itself, when it begins and after a command that timed out.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestSyncDelimited {
    /// The number.
    pub id: i64,
}

impl Command for GuestSyncDelimited {
    const NAME: &'static str = "guest-sync-delimited";
    type Return = i64;
}

/// `guest-get-osinfo`: the guest's operating system.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestGetOsinfo;

impl Command for GuestGetOsinfo {
    const NAME: &'static str = "guest-get-osinfo";
    type Return = GuestOsInfo;
}

/// What `guest-get-osinfo` returns: `uname` and `/etc/os-release` on Unix, their like on Windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct GuestOsInfo {
    /// The release of the kernel, `6.1.0-18-amd64` for instance.
    pub kernel_release: Option<String>,
    /// The version of the kernel; on Windows, the build.
    pub kernel_version: Option<String>,
    /// The processor's architecture, `x86_64` for instance.
    pub machine: Option<String>,
    /// The system in lower case, `debian` or `mswindows` for instance.
    pub id: Option<String>,
    /// The system's name, `Debian GNU/Linux` for instance.
    pub name: Option<String>,
    /// Its name for people, with the version.
    pub pretty_name: Option<String>,
    /// Its version, with the code name.
    pub version: Option<String>,
    /// Its version in lower case and without spaces, `12` for instance.
    pub version_id: Option<String>,
    /// The edition, `Server Edition` for instance.
    pub variant: Option<String>,
    /// The edition in lower case; on Windows, `client` or `server`.
    pub variant_id: Option<String>,
}

/// `guest-get-host-name`: the guest's name.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestGetHostName;

impl Command for GuestGetHostName {
    const NAME: &'static str = "guest-get-host-name";
    type Return = GuestHostName;
}

/// What `guest-get-host-name` returns.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct GuestHostName {
    /// The name.
    pub host_name: String,
}

/// `guest-network-get-interfaces`: the guest's network interfaces and their addresses.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestNetworkGetInterfaces;

impl Command for GuestNetworkGetInterfaces {
    const NAME: &'static str = "guest-network-get-interfaces";
    type Return = Vec<GuestNetworkInterface>;
}

/// A network interface of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct GuestNetworkInterface {
    /// Its name, `eth0` for instance.
    pub name: String,
    /// Its hardware address, `52:54:00:12:34:56` for instance.
    pub hardware_address: Option<String>,
    /// Its addresses.
    #[serde(default)]
    pub ip_addresses: Vec<GuestIpAddress>,
    /// What went through it.
    pub statistics: Option<GuestNetworkInterfaceStat>,
}

/// An address of a network interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct GuestIpAddress {
    /// The address, `192.0.2.15` for instance.
    pub ip_address: String,
    /// Of which kind it is.
    pub ip_address_type: GuestIpAddressType,
    /// How many bits of it stand for the network.
    pub prefix: i64,
}

open_enum! {
    /// The kind of an address.
    pub enum GuestIpAddressType {
        /// IPv4.
        Ipv4 = "ipv4",
        /// IPv6.
        Ipv6 = "ipv6",
    }
}

/// What went through a network interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct GuestNetworkInterfaceStat {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bad packets received.
    pub rx_errs: u64,
    /// Packets dropped that came.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that were not sent for an error.
    pub tx_errs: u64,
    /// Packets dropped that were to be sent.
    pub tx_dropped: u64,
}

/// `guest-get-time`: the guest's clock, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestGetTime;

impl Command for GuestGetTime {
    const NAME: &'static str = "guest-get-time";
    type Return = i64;
}

/// `guest-shutdown`: shuts the guest down. Its success has no reply: see [`NoReply`].
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GuestShutdown {
    /// How; `powerdown` if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<GuestShutdownMode>,
}

impl Command for GuestShutdown {
    const NAME: &'static str = "guest-shutdown";
    const NO_REPLY: bool = true;
    type Return = NoReply;
}

/// How a guest is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GuestShutdownMode {
    /// Its system stops.
    Halt,
    /// It is switched off.
    Powerdown,
    /// It starts again.
    Reboot,
}
