//! What a server is, and how much it takes on.

use alloc::string::String;
use alloc::vec::Vec;

use qmp_proto::__server::{MAX_BYTES, Rules};
use qmp_proto::Version;

/// The choices for a server's connection. The defaults are QEMU's.
///
/// ```
/// use qmp_proto::Version;
/// use qmp_server::Config;
///
/// let mut config = Config::default();
/// config.version = Version::new(9, 2, 0);
/// config.capabilities.clear();
/// config.pretty = true;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The version in the greeting. Input that is not JSON is answered as this version does: since 11.1
    /// a fault is reported where it is found, before that where its message ends. See
    /// [What is enforced](crate#what-is-enforced).
    pub version: Version,
    /// The capabilities offered: `oob` by default. A client that enables `oob` may execute commands
    /// out-of-band; what the others mean is the application's.
    pub capabilities: Vec<String>,
    /// Writes each message over many lines, as QEMU does with `pretty=on`. Off by default.
    pub pretty: bool,
    /// How many in-band commands the application is given at once. With one, the default, they run
    /// in order, as in QEMU; with more they may be answered in any order. 0 is read as 1. The one
    /// place for a descriptor is shared then: of two commands in a row that each bring one, the first
    /// may find the second's.
    pub concurrent: usize,
    /// How many in-band commands may wait behind those where out-of-band execution is on, 8 by
    /// default. With so many waiting nothing more is read, out-of-band commands included. Without
    /// out-of-band execution nothing is read while the application has as many as it is given at
    /// once.
    pub queue: usize,
    /// How many bytes a command may have, without the white space between its tokens: 64 MiB by default
    /// and at most, as in QEMU. A larger command is answered with one `GenericError` without an id as soon as it has
    /// passed the limit. Its other bytes are read and dropped. With out-of-band execution, nothing is
    /// read while so many bytes of commands wait.
    pub max_command: usize,
    /// How many bytes may wait for a client that does not read, 1 MiB by default. Beyond it events
    /// are dropped, and no further command is started. At least 1, so that 0 is read as 1: nothing
    /// new is said before everything was sent.
    pub max_output: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: Version::new(7, 2, 0),
            capabilities: Vec::from(["oob".into()]),
            pretty: false,
            concurrent: 1,
            queue: 8,
            max_command: MAX_BYTES,
            max_output: 1 << 20,
        }
    }
}

impl Config {
    pub(super) fn rules(&self) -> Rules {
        let qemu = &self.version.qemu;
        Rules { at_once: (qemu.major, qemu.minor) >= (11, 1), max_bytes: self.max_command }
    }
}
