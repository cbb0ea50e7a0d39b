//! A QMP server that says what a script tells it.
//!
//! A script is a closure in a thread of its own, to which each client is a [`Peer`]. Every wait of
//! the script's ends after [`PATIENCE`] with a panic that says what was awaited, and a panic of the
//! script's is the test's.
//!
//! ```
//! use qmp_tests::scripted::Server;
//!
//! let server = Server::unix(|peer| {
//!     peer.greet();
//!     let command = peer.expect("query-status");
//!     peer.reply(&command, r#"{"status": "running", "running": true}"#);
//!     peer.expect_eof();
//! });
//! let client = qmp_blocking::connect(server.address())?;
//! assert!(client.execute(&qmp_blocking::commands::QueryStatus)?.running);
//! drop(client);
//! server.join();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use qmp_blocking::{Client, Error, Raw, Request};
use rustix::event::{PollFd, PollFlags, Timespec};
use tempfile::TempDir;

pub use peer::{Command, GREETING, Peer, event_text};

mod peer;

/// How long anything is waited for before the test fails. On a busy machine things take their time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// After this, a test that still runs is taken for dead.
const TOO_LONG: Duration = Duration::from_secs(120);

/// A server somewhere, and the script behind it.
#[derive(Debug)]
#[must_use = "dropping it waits for the end of the script"]
pub struct Server {
    address: String,
    // In this order: the script ends before its folder goes.
    script: Script,
    folder: TempDir,
}

impl Server {
    /// On a Unix socket, for one client.
    pub fn unix(script: impl FnOnce(&mut Peer) + Send + 'static) -> Self {
        Self::unix_listener(|listener| script(&mut listener.accept()))
    }

    /// On a TCP port, for one client.
    pub fn tcp(script: impl FnOnce(&mut Peer) + Send + 'static) -> Self {
        Self::tcp_listener(|listener| script(&mut listener.accept()))
    }

    /// On a TCP port, for as many clients as the script takes.
    pub fn tcp_listener(script: impl FnOnce(&Listener) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("tcp:{}", listener.local_addr().expect("its number"));
        let listener = Listener { socket: listener.into() };
        Self::start(new_folder(), address, move || script(&listener))
    }

    /// On a Unix socket, for as many clients as the script takes.
    pub fn unix_listener(script: impl FnOnce(&Listener) + Send + 'static) -> Self {
        let folder = new_folder();
        let path = folder.path().join("qmp.sock");
        let listener = Listener::bind(&path);
        Self::start(folder, format!("unix:{}", path.display()), move || script(&listener))
    }

    /// At `pipe:PATH`, as QEMU's `-chardev pipe`: two fifos in a folder.
    pub fn fifos(script: impl FnOnce(&mut Peer) + Send + 'static) -> Self {
        let folder = new_folder();
        let [input, output] = ["qmp.in", "qmp.out"].map(|name| folder.path().join(name));
        for path in [&input, &output] {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)
                .expect("a fifo");
        }
        let address = format!("pipe:{}", folder.path().join("qmp").display());
        Self::start(folder, address, move || {
            // As QEMU does: each for both directions, so that neither open waits for the client.
            let open = |path| File::options().read(true).write(true).open(path).expect("a fifo");
            script(&mut Peer::new(open(input).into(), open(output).into()));
        })
    }

    fn start(folder: TempDir, address: String, script: impl FnOnce() + Send + 'static) -> Self {
        Self { address, script: Script::start(script), folder }
    }

    /// On a Unix socket or a TCP port, for as many clients as the script takes.
    pub fn listener(tcp: bool, script: impl FnOnce(&Listener) + Send + 'static) -> Self {
        if tcp { Self::tcp_listener(script) } else { Self::unix_listener(script) }
    }

    /// Where it is, in QEMU's syntax.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder in which its socket is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for the end of the script, and panics as it did.
    pub fn join(mut self) {
        self.script.finish();
    }
}

/// A script in its thread.
#[derive(Debug)]
#[must_use = "dropping it waits for its end"]
pub struct Script {
    thread: Option<JoinHandle<()>>,
    _watched: Watched,
}

/// A watchdog, until this is dropped: it ends the tests when somebody waits for ever.
#[derive(Debug)]
#[must_use = "dropping it calls off the watchdog"]
pub struct Watched {
    _call_off: Sender<()>,
}

impl Watched {
    /// Watches a test from its thread.
    pub fn new() -> Self {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let (call_off, called_off) = mpsc::channel();
        thread::spawn(move || {
            if called_off.recv_timeout(TOO_LONG) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{name} has not ended after {TOO_LONG:?}: somebody waits for ever");
                process::abort();
            }
        });
        Self { _call_off: call_off }
    }
}

impl Default for Watched {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// Starts a thread beside the test.
    pub fn start(script: impl FnOnce() + Send + 'static) -> Self {
        let watched = Watched::new();
        let thread = thread::Builder::new().name("script".to_owned()).spawn(script);
        Self { thread: Some(thread.expect("a thread")), _watched: watched }
    }

    /// Waits for the end of the script, and panics as it did.
    pub fn join(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.finish();
        }
    }
}

/// A server at the other end of a pair of sockets.
pub fn pair(script: impl FnOnce(&mut Peer) + Send + 'static) -> (UnixStream, Script) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    (ours, Script::start(|| script(&mut Peer::from_socket(theirs.into()))))
}

/// A server behind two pipes: from the first one reads, to the second one writes.
pub fn pipes(script: impl FnOnce(&mut Peer) + Send + 'static) -> (File, File, Script) {
    let (our_input, output) = rustix::pipe::pipe().expect("a pipe");
    let (input, our_output) = rustix::pipe::pipe().expect("a pipe");
    let script = Script::start(|| script(&mut Peer::new(input, output)));
    (our_input.into(), our_output.into(), script)
}

/// Where clients come from.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
}

impl Listener {
    /// At a path.
    pub fn bind(path: &Path) -> Self {
        Self { socket: UnixListener::bind(path).expect("a socket").into() }
    }

    /// Waits until the next client has connected, and does not accept it.
    pub fn wait_for_client(&self) {
        assert!(wait_for(&self.socket, PollFlags::IN), "no client came in {PATIENCE:?}");
    }

    /// The next client.
    pub fn accept(&self) -> Peer {
        self.wait_for_client();
        Peer::from_socket(rustix::net::accept(&self.socket).expect("a client"))
    }
}

/// Waits until the descriptor is ready; `false` when it was not in time.
fn wait_for(descriptor: &impl AsFd, what: PollFlags) -> bool {
    let mut polled = [PollFd::new(descriptor, what)];
    let timeout = Timespec::try_from(PATIENCE).expect("a short time");
    loop {
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll failed: {error}"),
        }
    }
}

fn new_folder() -> TempDir {
    TempDir::with_prefix("qmp-").expect("a temporary folder")
}

/// Executes a command that is a name alone.
///
/// # Errors
///
/// As [`Client::execute`].
pub fn run(client: &Client, name: &'static str) -> Result<Raw, Error> {
    client.execute_request(Request::new(name))
}

/// Numbers that look random (xorshift), the same each time for the same seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number, below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
