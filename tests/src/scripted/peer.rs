//! One client, seen from the server.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, Shutdown, sockopt};
use serde_json::Value;

use super::{PATIENCE, wait_for};

/// What QEMU says first.
pub const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;

/// A client's connection.
#[derive(Debug)]
pub struct Peer {
    input: OwnedFd,
    output: OwnedFd,
    /// How much is read at once.
    piece: usize,
    /// What has come and belongs to no command yet.
    unread: Vec<u8>,
    /// Descriptors that have come, each with where in `unread` its byte is.
    descriptors: Vec<(usize, OwnedFd)>,
    scanner: Scanner,
}

/// A command as it came.
#[derive(Debug)]
pub struct Command {
    /// What it says behind `execute`, or `exec-oob`.
    pub name: String,
    /// Whether it said `exec-oob`.
    pub out_of_band: bool,
    /// Its arguments; null where there are none.
    pub arguments: Value,
    /// Its id; null where it has none.
    pub id: Value,
    /// All of it, from `{` to `}`.
    pub raw: Vec<u8>,
    /// What stood before it: line ends.
    pub before: Vec<u8>,
    /// The descriptors that came with it, each with the offset in `raw` of the byte it came with, or
    /// of the first byte of the piece that was read ([`Peer::read_bytewise`]).
    pub descriptors: Vec<(usize, OwnedFd)>,
}

impl Command {
    /// The text of a success.
    pub fn success(&self, value: &str) -> String {
        format!("{{\"return\": {value}{}}}\r\n", self.echo())
    }

    /// Its id, as the last member of a reply; nothing where it has none.
    fn echo(&self) -> String {
        match &self.id {
            Value::Null => String::new(),
            id => format!(", \"id\": {id}"),
        }
    }
}

impl Peer {
    /// A client that writes into `input` and reads from `output`.
    pub fn new(input: OwnedFd, output: OwnedFd) -> Self {
        rustix::io::ioctl_fionbio(&output, true).expect("a file");
        let (unread, descriptors) = (Vec::new(), Vec::new());
        Self { input, output, piece: 64 << 10, unread, descriptors, scanner: Scanner::default() }
    }

    /// A client at the other end of a socket.
    pub fn from_socket(socket: OwnedFd) -> Self {
        Self::new(socket.try_clone().expect("a descriptor"), socket)
    }

    /// Greets, and accepts `qmp_capabilities`, which is returned.
    pub fn greet(&mut self) -> Command {
        self.say_hello();
        let command = self.expect("qmp_capabilities");
        self.reply(&command, "{}");
        command
    }

    /// Sends the greeting alone.
    pub fn say_hello(&mut self) {
        self.send(format!("{GREETING}\r\n"));
    }

    /// The next command.
    pub fn command(&mut self) -> Command {
        self.try_command().unwrap_or_else(|| {
            panic!("no command, but the end; before it came {:?}", self.unread_text())
        })
    }

    /// The next command, which has this name.
    pub fn expect(&mut self, name: &str) -> Command {
        let command = self.command();
        assert_eq!(command.name, name);
        command
    }

    /// The next so many commands.
    pub fn commands(&mut self, count: usize) -> Vec<Command> {
        (0..count).map(|_| self.command()).collect()
    }

    /// The next command, or the end of the stream or its reset.
    pub fn try_command(&mut self) -> Option<Command> {
        loop {
            if let Some(end) = self.scanner.end(&self.unread) {
                return Some(self.cut(end));
            }
            if self.receive().unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next line, as a server reads that knows nothing of JSON.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = self.unread.drain(..=end).collect();
                return String::from_utf8(line).expect("UTF-8");
            }
            assert!(self.receive().unwrap_or(0) > 0, "no line, but the end");
        }
    }

    /// Answers every command with `{}` until the end; gives the names in the order they came in.
    pub fn serve(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(command) = self.try_command() {
            self.try_send(command.success("{}"));
            names.push(command.name);
        }
        names
    }

    /// A success.
    pub fn reply(&mut self, to: &Command, value: &str) {
        self.send(to.success(value));
    }

    /// A failure.
    pub fn fail(&mut self, to: &Command, class: &str, desc: &str) {
        let error = serde_json::json!({ "class": class, "desc": desc });
        self.send(format!("{{\"error\": {error}{}}}\r\n", to.echo()));
    }

    /// An event.
    pub fn event(&mut self, name: &str, data: &str) {
        self.send(event_text(name, data));
    }

    /// Any bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes), "the client is gone");
    }

    /// Any bytes; `false` where the client is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let mut left = bytes.as_ref();
        while !left.is_empty() {
            assert!(
                wait_for(&self.output, PollFlags::OUT),
                "the client has not read for {PATIENCE:?}"
            );
            match rustix::io::write(&self.output, left) {
                Ok(written) => left = &left[written..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return false,
                Err(error) => panic!("sending failed: {error}"),
            }
        }
        true
    }

    /// Waits for the end of the stream, before which nothing else comes but white space.
    pub fn expect_eof(&mut self) {
        let rest = self.rest();
        let text = String::from_utf8_lossy(&rest);
        assert!(text.trim_ascii().is_empty(), "expected the end, found {text:?}");
    }

    /// All that comes up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.receive().unwrap_or_else(|error| panic!("expected the end, found {error}")) > 0 {
        }
        std::mem::take(&mut self.unread)
    }

    /// Waits until something has come, and leaves it unread.
    pub fn wait_for_input(&self) {
        assert!(wait_for(&self.input, PollFlags::IN), "nothing came in {PATIENCE:?}");
    }

    /// Reads byte by byte, so that it is known with which of them a descriptor comes.
    pub fn read_bytewise(&mut self) {
        self.piece = 1;
    }

    /// Sends nothing any more; the client finds the end of the stream.
    pub fn finish_sending(&mut self) {
        rustix::net::shutdown(&self.output, Shutdown::Write).expect("a socket");
    }

    /// Reads nothing any more, and tells the client's system so.
    pub fn finish_reading(&mut self) {
        rustix::net::shutdown(&self.input, Shutdown::Read).expect("a socket");
    }

    /// Reads nothing any more: of two pipes, the first is closed.
    pub fn stop_reading(&mut self) {
        (self.input, _) = rustix::pipe::pipe().expect("a pipe");
    }

    /// Ends a TCP connection by a reset.
    pub fn reset(&mut self) {
        sockopt::set_socket_linger(&self.output, Some(Duration::ZERO)).expect("a socket");
        // Whatever else is open of it would keep it alive.
        self.stop_reading();
        (_, self.output) = rustix::pipe::pipe().expect("a pipe");
    }

    fn unread_text(&self) -> String {
        String::from_utf8_lossy(&self.unread).chars().take(300).collect()
    }

    /// Reads once; 0 at the end.
    fn receive(&mut self) -> rustix::io::Result<usize> {
        if !wait_for(&self.input, PollFlags::IN) {
            panic!("nothing came in {PATIENCE:?}; unread is {:?}", self.unread_text());
        }
        let start = self.unread.len();
        self.unread.resize(start + self.piece, 0);
        let outcome = self.receive_into(start);
        self.unread.truncate(start + outcome.unwrap_or(0));
        outcome
    }

    fn receive_into(&mut self, start: usize) -> rustix::io::Result<usize> {
        let piece = &mut self.unread[start..];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let pieces = &mut [IoSliceMut::new(piece)];
        match rustix::net::recvmsg(&self.input, pieces, &mut control, flags) {
            Ok(received) => {
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        self.descriptors.extend(rights.map(|descriptor| (start, descriptor)));
                    }
                }
                Ok(received.bytes)
            }
            Err(Errno::NOTSOCK) => rustix::io::read(&self.input, &mut self.unread[start..]),
            Err(error) => Err(error),
        }
    }

    /// Takes the command that ends at `end`.
    fn cut(&mut self, end: usize) -> Command {
        let mut raw: Vec<u8> = self.unread.drain(..end).collect();
        let start = raw.iter().position(|byte| *byte == b'{').expect("an object");
        let before = raw.drain(..start).collect();
        let value: Value = serde_json::from_slice(&raw).expect("a whole command");
        let (ours, later) = self.descriptors.drain(..).partition(|(at, _)| *at < end);
        self.descriptors = later;
        self.descriptors.iter_mut().for_each(|(at, _)| *at -= end);
        let descriptors: Vec<(usize, OwnedFd)> = ours;
        let descriptors =
            descriptors.into_iter().map(|(at, descriptor)| (at.saturating_sub(start), descriptor));
        let out_of_band = value.get("exec-oob").is_some();
        let name = &value[if out_of_band { "exec-oob" } else { "execute" }];
        Command {
            name: name.as_str().expect("a command's name").to_owned(),
            out_of_band,
            arguments: value["arguments"].clone(),
            id: value["id"].clone(),
            before,
            descriptors: descriptors.collect(),
            raw,
        }
    }
}

/// The text of an event.
pub fn event_text(name: &str, data: &str) -> String {
    let timestamp = r#"{"seconds": 1700000000, "microseconds": 1}"#;
    format!("{{\"timestamp\": {timestamp}, \"event\": \"{name}\", \"data\": {data}}}\r\n")
}

/// Finds where objects end, by brackets and strings.
#[derive(Debug, Default)]
struct Scanner {
    at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scanner {
    /// Where the first object in `bytes` ends, once it has. Asked again, it goes on where it was.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(byte) = bytes.get(self.at) {
            self.at += 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = self.in_string,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => self.depth -= 1,
                _ => continue,
            }
            if self.depth == 0 && matches!(byte, b'}' | b']') && !self.in_string {
                return Some(std::mem::take(self).at);
            }
        }
        None
    }
}
