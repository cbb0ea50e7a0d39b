//! The limits of sharing.

use std::io;
use std::time::Duration;

use qmp_blocking::Client;
use qmp_proto::CloseReason;

use super::{Listener, run};

/// The limits under which clients [`share`](super::share()) one server.
///
/// ```
/// use std::time::Duration;
/// use qmp_server::Machine;
/// use qmp_server::net::{Listener, ShareOptions};
/// use qmp_server::net;
///
/// let monitor = qmp_blocking::from_stream(net::connect_machine(Machine::new())?)?;
/// let listener = Listener::bind("tcp:127.0.0.1:0")?;
/// let address = listener.address().clone();
/// let options = ShareOptions::new()
///     .max_clients(4)
///     .max_command(16 << 10) // QEMU 7.2 takes 0.2 s to read one
///     .negotiation_timeout(Duration::from_secs(1));
/// let sharing = std::thread::spawn(move || options.share(monitor, &listener, drop));
/// qmp_blocking::connect(address)?.execute(&qmp_blocking::commands::Quit)?;
/// assert_eq!(sharing.join().unwrap()?, qmp_blocking::CloseReason::Quit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is shared yet"]
pub struct ShareOptions {
    pub(super) max_clients: usize,
    pub(super) max_command: usize,
    pub(super) max_unread: usize,
    pub(super) negotiation_timeout: Duration,
    pub(super) read_timeout: Duration,
}

impl Default for ShareOptions {
    fn default() -> Self {
        Self {
            max_clients: 64,
            max_command: 64 << 10,
            max_unread: 1 << 20,
            negotiation_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
        }
    }
}

impl ShareOptions {
    /// The default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many clients are served at once: 64 by default, and at least one. Each takes a thread and two file descriptors.
    /// A client that has negotiated counts until it leaves, even if it stays silent.
    pub fn max_clients(mut self, clients: usize) -> Self {
        self.max_clients = clients.max(1);
        self
    }

    /// How many bytes a command may have: 64 KiB by default, and 64 MiB at most. See
    /// [`Config::max_command`](crate::Config::max_command). While it is read, a command takes one to two times as
    /// much memory, and up to ten times if it is nothing but short members.
    ///
    /// While QEMU reads a command, it serves no other client. QEMU up to 7.2 takes up to 14 µs for each byte: 0.9 s for
    /// 64 KiB, 15 s for 1 MiB. Each other client may have one such command at the server before yours, and one more
    /// if it uses out-of-band execution. So a command waits for up to the number of other clients ×
    /// `max_command` × 14 µs, or twice that.
    pub fn max_command(mut self, bytes: usize) -> Self {
        self.max_command = bytes;
        self
    }

    /// How many bytes may wait for a client that does not read: 1 MiB by default. Beyond it the client misses events, and
    /// none of its commands is started. A reply that is larger than this is kept whole.
    pub fn max_unread(mut self, bytes: usize) -> Self {
        self.max_unread = bytes;
        self
    }

    /// How long a client may take to negotiate: 10 s by default.
    pub fn negotiation_timeout(mut self, timeout: Duration) -> Self {
        self.negotiation_timeout = timeout;
        self
    }

    /// How long a client may read nothing while [`max_unread`](Self::max_unread) bytes or more wait for it:
    /// 30 s by default.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// Shares a server under these limits: see [`share`](super::share()).
    ///
    /// # Errors
    ///
    /// As [`share`](super::share()).
    pub fn share(
        self,
        client: Client,
        listener: &Listener,
        turned_away: impl FnMut(io::Error),
    ) -> io::Result<CloseReason> {
        run(client, self, listener, turned_away)
    }
}
