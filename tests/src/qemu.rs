//! QEMU and `qemu-storage-daemon` as children, each in a folder of its own.
//!
//! Where one is not installed, the test that asks for it says on standard error that it was left
//! out; with `QMP_REQUIRE_QEMU=1` it fails.
//!
//! There are no fixed ports: the TCP monitor listens at a socket that was bound here to a free port
//! and handed to the server. Nothing is waited for without a deadline.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it fails the test that uses it")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use qmp_blocking::{Address, Builder, Client, CloseReason, Event, Events, Request, Version};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything that a test waits for may take, on a machine that is slow and busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Where a server's monitor is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monitor {
    /// A Unix socket in the server's folder.
    Unix,
    /// A Unix socket with an abstract name.
    Abstract,
    /// A free port of this machine. It takes the server's standard output, so there is one at most.
    Tcp,
    /// Two fifos in the server's folder.
    Pipe,
}

/// A server that is about to be started.
#[derive(Debug)]
#[must_use = "it is not started yet"]
pub struct Setup {
    command: Command,
    folder: TempDir,
    addresses: Vec<Address>,
    /// What this program calls the option that makes a monitor of a character device.
    monitor_option: &'static str,
    monitor_value: &'static str,
}

impl Setup {
    /// QEMU without a machine. It starts in some 30 ms.
    pub fn bare() -> Option<Self> {
        Self::system(&["-machine", "none"])
    }

    /// QEMU with a PC of 64 MiB, which is not started yet.
    pub fn q35() -> Option<Self> {
        Self::system(&["-machine", "q35", "-accel", "tcg", "-m", "64M"])
    }

    /// QEMU with a PC of 64 MiB and a CD in its drive `ide1-cd0`, which is not started yet.
    pub fn pc_with_cd() -> Option<Self> {
        let setup = Self::system(&["-machine", "pc", "-accel", "tcg", "-m", "64M"])?;
        let drive = "if=ide,index=2,media=cdrom,format=raw,file.driver=null-co";
        Some(setup.args(["-drive", drive]))
    }

    fn system(machine: &[&str]) -> Option<Self> {
        let setup = Self::new("qemu-system-x86_64", "-mon")?;
        Some(setup.args(machine).args(["-nodefaults", "-display", "none", "-S"]))
    }

    /// QEMU with the arguments of a shell's line. Paths in `/tmp` are moved to the server's folder.
    pub fn written(line: &str) -> Option<Self> {
        let mut words = line.trim_end_matches('&').split_whitespace();
        let mut setup = Self::new(words.next().expect("a program"), "-mon")?;
        let folder = format!("{}/", setup.folder().display());
        let words: Vec<_> = words.map(|word| word.replace("/tmp/", &folder)).collect();
        let monitors = words.windows(2).filter(|pair| pair[0] == "-qmp");
        setup.addresses = monitors.map(|pair| pair[1].parse().expect("an address")).collect();
        Some(setup.args(words))
    }

    /// `qemu-storage-daemon`.
    pub fn storage_daemon() -> Option<Self> {
        Self::new("qemu-storage-daemon", "--monitor")
    }

    fn new(program: &str, monitor_option: &'static str) -> Option<Self> {
        let mut command = Command::new(find(program)?);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = File::create(folder.path().join("stderr")).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let monitor_value = "mode=control";
        Some(Self { command, folder, addresses: Vec::new(), monitor_option, monitor_value })
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Lets the monitors that are added from now on write their JSON on many lines.
    pub fn pretty(mut self) -> Self {
        self.monitor_value = "mode=control,pretty=on";
        self
    }

    /// Lets the monitors that are added from now on be for people.
    pub fn human(mut self) -> Self {
        self.monitor_value = "mode=readline";
        self
    }

    /// Adds a monitor.
    pub fn monitor(self, monitor: Monitor) -> Self {
        self.monitor_with(monitor, "")
    }

    /// Adds a monitor whose character device has more options, each after a comma.
    pub fn monitor_with(mut self, monitor: Monitor, options: &str) -> Self {
        let number = self.addresses.len();
        let path = self.folder.path().join(format!("monitor{number}"));
        let shown = path.display();
        let (chardev, address) = match monitor {
            Monitor::Unix => (format!("socket,path={shown},server=on,wait=off"), path.into()),
            Monitor::Abstract => {
                let name = path.to_str().expect("UTF-8").as_bytes().to_vec();
                let chardev = format!("socket,path={shown},abstract=on,server=on,wait=off");
                (chardev, Address::Abstract(name))
            }
            Monitor::Tcp => {
                let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
                let port = listener.local_addr().expect("bound").port();
                self.command.stdout(OwnedFd::from(listener));
                let address = Address::Tcp { host: "127.0.0.1".to_owned(), port };
                ("socket,fd=1,server=on,wait=off".to_owned(), address)
            }
            Monitor::Pipe => {
                make_fifo(&path.with_extension("in"));
                make_fifo(&path.with_extension("out"));
                (format!("pipe,path={shown}"), Address::Pipe(path))
            }
        };
        self.addresses.push(address);
        let chardev = format!("{chardev},id=monitor{number}{options}");
        let monitor = format!("chardev=monitor{number},{}", self.monitor_value);
        let option = self.monitor_option;
        self.args(["--chardev", &chardev, option, &monitor])
    }

    /// The server's folder, which is removed with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The addresses that its monitors will have.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The command line so far.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// The command line alone. The server's folder is gone with that.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Starts it, and waits until it is ready for clients.
    ///
    /// About once in a thousand starts, a client that is quicker than that hangs QEMU 7.2: its main
    /// thread then waits in `recvmsg` for that client. So a monitor of our own, which is connected
    /// from the first and takes the standard input, has to answer before.
    pub fn start(mut self) -> Server {
        let (mut ours, theirs) = UnixStream::pair().expect("two sockets");
        self.command.stdin(OwnedFd::from(theirs));
        let option = self.monitor_option;
        let chardev = "socket,id=ready,fd=0";
        let setup = self.args(["--chardev", chardev, option, "chardev=ready,mode=control"]);
        let server = setup.start_at_once();
        ours.set_read_timeout(Some(DEADLINE)).expect("a socket");
        ours.write_all(br#"{"execute":"qmp_capabilities"}"#).expect("it listens");
        let mut said = BufReader::new(ours).lines().map_while(Result::ok);
        assert!(said.any(|line| line.contains("\"return\"")), "it did not start: {server:?}");
        server
    }

    /// Starts it, and does not wait. A client that connects at once to a monitor with `wait=off` may
    /// be greeted twice, or hang QEMU.
    pub fn start_at_once(mut self) -> Server {
        let child = self.command.spawn().expect("it is installed, so it starts");
        Server::new(child, self.folder, self.addresses)
    }

    /// Starts it through [`Builder::spawn_with_events`].
    pub fn spawn(self, builder: &Builder) -> (Client, Events, Server) {
        let (client, events, child) = builder.spawn_with_events(self.command).expect("it starts");
        (client, events, Server::new(child, self.folder, self.addresses))
    }
}

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    handle: OwnedFd,
    folder: TempDir,
    addresses: Vec<Address>,
}

impl Server {
    fn new(child: Child, folder: TempDir, addresses: Vec<Address>) -> Self {
        let id = Pid::from_child(&child);
        let handle = pidfd_open(id, PidfdFlags::empty()).expect("it is not waited for yet");
        Self { child, handle, folder, addresses }
    }

    /// The address of its first monitor.
    pub fn address(&self) -> &Address {
        &self.addresses[0]
    }

    /// The addresses of all its monitors, in the order in which they were added.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Connects to its first monitor.
    pub fn connect(&self) -> Client {
        patient().connect(self.address()).expect("it serves us")
    }

    /// Its folder, which is removed with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The child itself.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.handle, signal).expect("it is not waited for yet");
    }

    /// Stops it with SIGSTOP; it has stopped when this returns.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let child = WaitId::Pid(Pid::from_child(&self.child));
        waitid(child, WaitIdOptions::STOPPED).expect("it is a child").expect("it has stopped");
    }

    /// Ends it with `kill -9`.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert!(!self.wait().success());
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let mut ended = [PollFd::new(&self.handle, PollFlags::IN)];
        let timeout = Timespec::try_from(DEADLINE).expect("short enough");
        assert_eq!(rustix::event::poll(&mut ended, Some(&timeout)), Ok(1), "it did not end");
        self.child.wait().expect("it has ended")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said = std::fs::read(self.folder.path().join("stderr")).unwrap_or_default();
            eprintln!("the server said: {}", String::from_utf8_lossy(&said));
        }
    }
}

/// A command that keeps the server's main loop busy: it reads a fifo into which nobody writes.
#[derive(Debug)]
#[must_use = "dropped, the server goes on"]
pub struct Block {
    writer: File,
    command: thread::JoinHandle<Result<qmp_blocking::Raw, qmp_blocking::Error>>,
}

impl Block {
    /// Blocks it. When this returns, the command runs.
    pub fn new(client: &Client, folder: &Path) -> Self {
        let fifo = folder.join("fifo");
        make_fifo(&fifo);
        let arguments = serde_json::json!({
            "driver": "blkdebug", "node-name": "blocked", "config": fifo,
            "image": {"driver": "null-co", "read-zeroes": true},
        });
        let client = client.clone();
        let request = Request::new("blockdev-add").arguments(arguments);
        let command = thread::spawn(move || client.execute_request(request));
        // It opens when the server has opened it too, which then reads.
        let writer = within(move || File::options().write(true).open(fifo)).expect("a fifo");
        Self { writer, command }
    }

    /// Lets the server go on; gives how the command ended.
    pub fn release(self) -> Result<qmp_blocking::Raw, qmp_blocking::Error> {
        drop(self.writer);
        within(|| self.command.join()).expect("no panic")
    }
}

/// A builder with time enough.
pub fn patient() -> Builder {
    Builder::new().deadline(DEADLINE).command_timeout(DEADLINE)
}

/// The next event, which has to come.
#[track_caller]
pub fn next_event(events: &mut Events) -> Event {
    events.next_timeout(DEADLINE).expect("an event").expect("none is lost")
}

/// How the connection ended, which it has to.
#[track_caller]
pub fn closed(client: &Client) -> CloseReason {
    let client = client.clone();
    within(move || client.closed())
}

/// Does what may block, and fails when it does for too long.
#[track_caller]
pub fn within<T: Send + 'static>(block: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(block()));
    receiver.recv_timeout(DEADLINE).expect("it ends, and in time")
}

/// The peak memory of a running process, in bytes.
#[cfg(target_os = "linux")]
pub fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix(" kB"));
    peak.and_then(|peak| peak.trim().parse::<u64>().ok()).expect("a number") << 10
}

/// Makes a fifo.
pub fn make_fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a fifo");
}

/// Fails unless a greeting has the version that the program of this name prints.
#[track_caller]
pub fn check_version(program: &str, greeted: Option<&Version>) {
    let Version { qemu, package, .. } = greeted.expect("a version");
    let mut command = Command::new(find(program).expect("it greeted"));
    let output = within(move || command.arg("--version").output()).expect("a program");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let number = format!(" version {}.{}.{} ", qemu.major, qemu.minor, qemu.micro);
    assert!(printed.contains(&number) && printed.contains(package), "{printed}: {greeted:?}");
}

/// Asks QEMU whether `-chardev` has an option.
pub fn has_chardev_option(client: &Client, name: &str) -> bool {
    let request = Request::new("query-command-line-options");
    let request = request.arguments(serde_json::json!({"option": "chardev"}));
    let options: Vec<Value> = client.execute_request(request).unwrap().parse().unwrap();
    let parameters = options[0]["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|parameter| parameter["name"] == "path"), "{parameters:?}");
    parameters.iter().any(|parameter| parameter["name"] == name)
}

/// Finds a program; where it is missing, says so or fails.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps qemu-ga where an ordinary user's PATH does not lead.
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(more).map(|folder| folder.join(program));
    let found = found.into_iter().find(|file| file.is_file());
    if found.is_none() {
        let required = std::env::var_os("QMP_REQUIRE_QEMU").is_some_and(|value| value == "1");
        assert!(!required, "{program} is not installed, and QMP_REQUIRE_QEMU=1");
        left_out(&format!("{program} is not installed"));
    }
    found
}

/// Reports that a test is left out, past the test harness, which would keep the line to itself.
pub fn left_out(why: &str) {
    let this = thread::current();
    let test = this.name().unwrap_or("a test");
    let _ = writeln!(io::stderr(), "LEFT OUT: {test}: {why}");
}
