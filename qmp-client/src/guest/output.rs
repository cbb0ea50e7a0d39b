//! How a program in the guest ended, and what it wrote.

use std::fmt;

use qmp_proto::guest_commands::GuestExecStatusInfo;

use crate::guest::base64::{self, NotBase64};

/// What an agent keeps of each output, in bytes.
const KEPT: usize = 16 << 20;

/// What became of a program in the guest.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestOutput {
    /// How it ended.
    pub status: GuestExitStatus,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
    /// Whether it wrote more to its standard output than is here: agents keep the first 16 MiB.
    ///
    /// Output of just that length may be whole: of it an agent that has lost the rest (10.0.2) and
    /// one that has not can say the same, so it counts as truncated.
    pub stdout_truncated: bool,
    /// The same of its standard error.
    pub stderr_truncated: bool,
}

impl GuestOutput {
    pub(super) fn new(info: &GuestExecStatusInfo) -> Result<Self, NotBase64> {
        let decode = |text: &Option<String>| text.as_deref().map_or(Ok(Vec::new()), base64::decode);
        let (stdout, stderr) = (decode(&info.out_data)?, decode(&info.err_data)?);
        Ok(Self {
            status: GuestExitStatus { code: info.exitcode, signal: info.signal },
            stdout_truncated: is_truncated(info.out_truncated, stdout.len()),
            stderr_truncated: is_truncated(info.err_truncated, stderr.len()),
            stdout,
            stderr,
        })
    }
}

/// Agents without a mend of QEMU's tell `false` where they kept the beginning, and nothing elsewhere.
fn is_truncated(told: Option<bool>, length: usize) -> bool {
    told.is_some_and(|truncated| truncated || length == KEPT)
}

/// The lengths alone: output may hold a secret, and 16 MiB.
impl fmt::Debug for GuestOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestOutput")
            .field("status", &self.status)
            .field("stdout", &format_args!("{} bytes", self.stdout.len()))
            .field("stderr", &format_args!("{} bytes", self.stderr.len()))
            .field("stdout_truncated", &self.stdout_truncated)
            .field("stderr_truncated", &self.stderr_truncated)
            .finish()
    }
}

/// How a program in the guest ended, as [`std::process::ExitStatus`] tells it of one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestExitStatus {
    code: Option<i64>,
    signal: Option<i64>,
}

impl GuestExitStatus {
    /// Whether it ended by itself, with the status 0.
    pub fn success(self) -> bool {
        self.code == Some(0)
    }

    /// Its exit status, unless a signal ended it.
    pub fn code(self) -> Option<i64> {
        self.code
    }

    /// The signal that ended it; on Windows, the code of the exception.
    pub fn signal(self) -> Option<i64> {
        self.signal
    }
}

impl fmt::Display for GuestExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit status: {code}"),
            (None, Some(signal)) => write!(f, "signal: {signal}"),
            (None, None) => f.write_str("neither exit status nor signal"),
        }
    }
}
