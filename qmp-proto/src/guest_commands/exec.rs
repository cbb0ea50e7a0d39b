//! Programs in the guest.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::payload::command::Command;

/// `guest-exec`: starts a program in the guest. `guest_exec` of the adapters' clients waits for its
/// end, too.
///
/// ```
/// use qmp_proto::guest_commands::GuestExec;
///
/// let list = GuestExec { arg: &["-l", "/"], capture_output: true, ..GuestExec::new("ls") };
/// let json = r#"{"path":"ls","arg":["-l","/"],"capture-output":true}"#;
/// assert_eq!(serde_json::to_string(&list)?, json);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuestExec<'a> {
    /// The program: a path, or a name to be found in the `PATH` of the agent.
    pub path: &'a str,
    /// Its arguments, without its name.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub arg: &'a [&'a str],
    /// Its whole environment, each as `NAME=value`; the agent's own if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<&'a [&'a str]>,
    /// What it reads from its standard input, in base64; nothing if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_data: Option<&'a str>,
    /// Whether `guest-exec-status` is to tell what it wrote.
    pub capture_output: bool,
}

impl<'a> GuestExec<'a> {
    /// A program without arguments, whose output nobody wants.
    pub const fn new(path: &'a str) -> Self {
        Self { path, arg: &[], env: None, input_data: None, capture_output: false }
    }
}

impl Command for GuestExec<'_> {
    const NAME: &'static str = "guest-exec";
    type Return = GuestExecStarted;
}

/// The program alone: the rest may hold secrets.
impl fmt::Debug for GuestExec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestExec").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What `guest-exec` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct GuestExecStarted {
    /// By what `guest-exec-status` knows it: on Unix, its process id.
    pub pid: i64,
}

/// `guest-exec-status`: how it stands with a program that `guest-exec` started.
///
/// That it has ended is told once: the agent then forgets it, its output too, and asked again it
/// fails. So a reply that is lost cannot be asked for again.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GuestExecStatus {
    /// What `guest-exec` returned.
    pub pid: i64,
}

impl Command for GuestExecStatus {
    const NAME: &'static str = "guest-exec-status";
    type Return = GuestExecStatusInfo;
}

/// What `guest-exec-status` returns. All but `exited` is there at the end alone.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct GuestExecStatusInfo {
    /// Whether it has ended. Where its output is captured, that is when all who hold it have closed
    /// it, its own children included.
    pub exited: bool,
    /// Its exit status, unless a signal ended it.
    pub exitcode: Option<i64>,
    /// The signal that ended it; on Windows, the code of the exception.
    pub signal: Option<i64>,
    /// What it wrote to its standard output, in base64; `None` where that is nothing.
    pub out_data: Option<String>,
    /// What it wrote to its standard error, in base64; `None` where that is nothing.
    pub err_data: Option<String>,
    /// Whether `out_data` is the beginning alone: agents keep 16 MiB. Some (10.0.2) say `false` where it
    /// is, and nothing where it is whole.
    pub out_truncated: Option<bool>,
    /// Whether `err_data` is the beginning alone: agents keep 16 MiB. Some (10.0.2) say `false` where it
    /// is, and nothing where it is whole.
    pub err_truncated: Option<bool>,
}

/// Without the output: it may hold secrets, and 32 MiB.
impl fmt::Debug for GuestExecStatusInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestExecStatusInfo")
            .field("exited", &self.exited)
            .field("exitcode", &self.exitcode)
            .field("signal", &self.signal)
            .finish_non_exhaustive()
    }
}
