//! Files in the guest.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::payload::command::{Command, Empty};

/// `guest-file-open`: opens a file in the guest; returns a handle.
///
/// A handle outlives the connection, up to `guest-file-close` or the agent's end.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestFileOpen<'a> {
    /// Its path.
    pub path: &'a str,
    /// As C's `fopen` takes it, `w+` for instance; `r` if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'a str>,
}

impl Command for GuestFileOpen<'_> {
    const NAME: &'static str = "guest-file-open";
    type Return = i64;
}

/// `guest-file-read`: reads from where the file stands.
///
/// ```
/// use qmp_proto::{Command, Raw, guest_commands::{GuestFileRead, GuestFileReadInfo}};
///
/// let read = GuestFileRead { handle: 1000, count: Some(1 << 20) };
/// assert_eq!(serde_json::to_string(&read)?, r#"{"handle":1000,"count":1048576}"#);
/// let raw = Raw::from_static(r#"{"count": 5, "buf-b64": "aGVsbG8=", "eof": false}"#);
/// let GuestFileReadInfo { count, eof, .. } = GuestFileRead::decode(raw)?;
/// assert_eq!((count, eof), (5, false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestFileRead {
    /// What `guest-file-open` returned.
    pub handle: i64,
    /// How many bytes at most; 4,096 if `None`. Agents refuse more than 48 MiB. A reply with more than
    /// 35 MiB needs a larger [`max_message`](crate::Config::max_message) than a guest agent's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
}

impl Command for GuestFileRead {
    const NAME: &'static str = "guest-file-read";
    type Return = GuestFileReadInfo;
}

/// What `guest-file-read` returns.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct GuestFileReadInfo {
    /// How many bytes were read.
    pub count: i64,
    /// The bytes, in base64.
    pub buf_b64: String,
    /// Whether the end was met.
    pub eof: bool,
}

/// Without the content: it may be a secret, and 64 MB.
impl fmt::Debug for GuestFileReadInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestFileReadInfo")
            .field("count", &self.count)
            .field("eof", &self.eof)
            .finish_non_exhaustive()
    }
}

/// `guest-file-write`: writes to where the file stands. The agent may keep it in its own buffer up
/// to `guest-file-flush` or `guest-file-close`.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuestFileWrite<'a> {
    /// What `guest-file-open` returned.
    pub handle: i64,
    /// The bytes, in base64. Less than 48 MiB of them fit into a command.
    pub buf_b64: &'a str,
    /// How many of the bytes; all if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
}

impl Command for GuestFileWrite<'_> {
    const NAME: &'static str = "guest-file-write";
    type Return = GuestFileWriteInfo;
}

/// Without the content: it may be a secret.
impl fmt::Debug for GuestFileWrite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestFileWrite").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// What `guest-file-write` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct GuestFileWriteInfo {
    /// How many bytes were written: fewer than given where the guest had no room for more.
    pub count: i64,
    /// Whether the end was met.
    pub eof: bool,
}

/// `guest-file-seek`: moves to where the next read or write begins.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestFileSeek {
    /// What `guest-file-open` returned.
    pub handle: i64,
    /// How far, in bytes.
    pub offset: i64,
    /// From where.
    pub whence: GuestFileWhence,
}

impl Command for GuestFileSeek {
    const NAME: &'static str = "guest-file-seek";
    type Return = GuestFileSeekInfo;
}

/// From where `guest-file-seek` moves. Agents before 2.6 do not know the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestFileWhence {
    /// From the beginning.
    Set,
    /// From where it stands.
    Cur,
    /// From the end.
    End,
}

/// What `guest-file-seek` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct GuestFileSeekInfo {
    /// Where it stands now, in bytes from the beginning.
    pub position: i64,
    /// Whether the end was met.
    pub eof: bool,
}

/// `guest-file-flush`: hands what was written to the guest's system.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestFileFlush {
    /// What `guest-file-open` returned.
    pub handle: i64,
}

impl Command for GuestFileFlush {
    const NAME: &'static str = "guest-file-flush";
    type Return = Empty;
}

/// `guest-file-close`: closes a file.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestFileClose {
    /// What `guest-file-open` returned.
    pub handle: i64,
}

impl Command for GuestFileClose {
    const NAME: &'static str = "guest-file-close";
    type Return = Empty;
}
