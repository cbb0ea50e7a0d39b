//! A client at work, in a process of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bench_worker::Outcome;
use tempfile::NamedTempFile;

use crate::clients::Client;
use crate::failed;
use crate::place::Cpu;

/// A client that is connected, and does what it is told.
pub struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    told: NamedTempFile,
    pub client: Client,
}

/// How to start one.
pub struct Start<'a> {
    pub scenario: String,
    pub socket: &'a Path,
    /// Whether what it allocates is counted.
    pub counted: bool,
    /// A program that watches it, with arguments.
    pub watched_by: Vec<OsString>,
}

impl<'a> Start<'a> {
    pub fn new(scenario: impl Into<String>, socket: &'a Path) -> Self {
        Self { scenario: scenario.into(), socket, counted: false, watched_by: Vec::new() }
    }

    pub fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    pub fn watched_by(mut self, program: Vec<OsString>) -> Self {
        self.watched_by = program;
        self
    }

    /// Starts a client; `None` if it has no such scenario.
    pub fn start(&self, client: Client) -> io::Result<Option<Worker>> {
        let mut command = Cpu::One.command();
        command.args(&self.watched_by).args(client.program(self.counted));
        command.arg(&self.scenario).arg(self.socket);
        Worker::new(client, command)
    }
}

impl Worker {
    fn new(client: Client, mut command: Command) -> io::Result<Option<Self>> {
        // What it tells is of interest if it fails.
        let told = tempfile::NamedTempFile::new()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(told.reopen()?);
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or_else(|| failed("no output"))?);
        let mut worker = Self { child, orders, answers, told, client };
        match worker.line()?.as_str() {
            "ready" => Ok(Some(worker)),
            "none" => Ok(None),
            _ => Err(worker.failure()),
        }
    }

    /// Has it do its work so many times.
    pub fn work(&mut self, count: usize) -> io::Result<Outcome> {
        self.order(&count.to_string())
    }

    /// The same, each time noted.
    pub fn work_each(&mut self, count: usize) -> io::Result<Outcome> {
        self.order(&format!("{count} each"))
    }

    /// Has it end in an orderly way, so that who watches it tells what it saw.
    pub fn end(mut self) -> io::Result<()> {
        self.orders = None;
        match self.child.wait()?.success() {
            true => Ok(()),
            false => Err(self.failure()),
        }
    }

    fn order(&mut self, order: &str) -> io::Result<Outcome> {
        if let Some(orders) = &mut self.orders {
            writeln!(orders, "{order}")?;
        }
        let line = self.line()?;
        serde_json::from_str(&line).map_err(|_| self.failure())
    }

    /// The last line of what it told.
    fn failure(&self) -> io::Error {
        let told = fs::read_to_string(self.told.path()).unwrap_or_default();
        failed(told.trim_end().lines().last().unwrap_or("it ended").to_owned())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
