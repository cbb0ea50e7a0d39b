//! What a line does.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qmp_blocking::commands::{HumanMonitorCommand, Quit};
use qmp_blocking::{Client, Command, Error, NoReply, Raw, Request};
use serde_json::{Map, Value, json};

use crate::answer;
use crate::keyboard::Keyboard;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::parse::{self, Call};
use crate::print::Printer;

/// How long a guest agent that shuts its guest down may take to say why it does not.
const SILENCE: Duration = Duration::from_secs(5);

/// Whether there is anything to execute in a line.
pub(crate) fn is_command(line: &[u8]) -> bool {
    !matches!(line.trim_ascii_start().first(), None | Some(b'#'))
}

/// A connection, and what is kept from one line to the next.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) printer: Arc<Printer>,
    /// The source of Ctrl-C, at a terminal.
    keyboard: Option<Arc<Keyboard>>,
    hmp: bool,
    agent: bool,
    verbose: bool,
    /// How long the server may take to end when it was told to.
    last_wait: Duration,
    /// A reply is late, or an event was not shown yet.
    unsettled: bool,
    /// The processor that the human monitor is about, once it was chosen.
    cpu: Option<i64>,
    /// One that has begun.
    transaction: Option<Transaction>,
}

/// Some commands that are sent as one, or not at all.
#[derive(Default)]
struct Transaction {
    actions: Vec<Value>,
    /// Something in it makes no sense.
    broken: bool,
}

impl Session {
    pub(crate) fn new(client: Client, printer: Printer, options: &Options) -> Self {
        let printer = Arc::new(printer);
        let Options { hmp, agent, verbose, .. } = *options;
        let last_wait = options.last_wait();
        let (unsettled, cpu, transaction) = (false, None, None);
        let keyboard = None;
        Self {
            client,
            printer,
            keyboard,
            hmp,
            agent,
            verbose,
            last_wait,
            unsettled,
            cpu,
            transaction,
        }
    }

    /// Makes Ctrl-C end the wait for a reply.
    pub(crate) fn interruptible(self, keyboard: Arc<Keyboard>) -> Self {
        Self { keyboard: Some(keyboard), ..self }
    }

    /// Shows events from now on as they come.
    pub(crate) fn show_events(&self) {
        if !self.hmp {
            let printer = self.printer.clone();
            self.client.on_any_event(move |event| printer.event(&event)).detach();
        }
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    pub(crate) fn abandon_transaction(&mut self) {
        self.transaction = None;
    }

    /// At the end of all lines: whether one is missing, or was not shown.
    pub(crate) fn finish(&self) -> Outcome {
        match self.in_transaction() {
            true => self.misused("the transaction has no end"),
            false => self.printer.outcome(),
        }
    }

    /// A command behind the end that was asked for.
    pub(crate) fn too_late(&self, line: &[u8]) -> Outcome {
        let line = String::from_utf8_lossy(line);
        self.misused(&format!("not executed, as the server has ended: {}", line.trim()))
    }

    pub(crate) fn execute(&mut self, line: &[u8]) -> Outcome {
        let outcome = match std::str::from_utf8(line) {
            _ if !is_command(line) => {
                // Who only presses Enter may want to know whether anybody is there.
                self.client.close_reason().map_or(Outcome::Done, |_| self.lost())
            }
            Ok(line) => self.execute_text(line.trim()),
            Err(_) => self.refuse(String::from_utf8_lossy(line).trim()),
        };
        outcome.max(self.printer.outcome())
    }

    /// A line that is no text: no transaction that it may belong to is sent.
    fn refuse(&mut self, line: &str) -> Outcome {
        if line.starts_with("transaction(") || self.in_transaction() {
            self.transaction.get_or_insert_default().broken = true;
        }
        self.misused(&format!("not UTF-8, so not sent: {line}"))
    }

    fn execute_text(&mut self, line: &str) -> Outcome {
        if self.hmp {
            return self.execute_human(line);
        }
        match self.read(line) {
            Ok(Some(call)) => self.send(call),
            Ok(None) => Outcome::Done,
            Err(problem) => self.misused(&problem),
        }
    }

    /// The command that a line asks for; none while a transaction goes on.
    fn read(&mut self, line: &str) -> Result<Option<Call>, String> {
        let mut line = line;
        if let Some(rest) = line.strip_prefix("transaction(") {
            self.transaction = Some(Transaction::default());
            line = rest;
        }
        let Some(transaction) = &mut self.transaction else { return parse::call(line).map(Some) };
        let mut words = parse::words(line);
        let ends = words.last() == Some(&")");
        if ends {
            words.pop();
        }
        let read = transaction.read(&words);
        if !ends {
            return read.map(|()| None);
        }
        let transaction = self.transaction.take().unwrap_or_default();
        read.and_then(|()| transaction.call()).map(Some)
    }

    fn send(&mut self, call: Call) -> Outcome {
        if self.verbose {
            self.printer.sent(&call);
        }
        let Call { name, arguments, out_of_band } = call;
        let quits = name == Quit::NAME;
        let may_be_silent = name == "guest-shutdown" || name.starts_with("guest-suspend-");
        let request = Request::new(name).arguments((!arguments.is_empty()).then_some(arguments));
        let request = if out_of_band { request.out_of_band() } else { request };
        if self.agent && may_be_silent {
            return self.send_without_reply(request);
        }
        let outcome = answer::answer(&self.client, request, self.keyboard.as_deref());
        self.settle(matches!(outcome, None | Some(Err(Error::TimedOut { .. }))));
        match outcome {
            Some(Ok(returned)) => {
                let outcome = self.printer.returned(&returned);
                if quits { self.over() } else { outcome }
            }
            Some(Err(error)) => self.failed(error),
            None => self.interrupted(),
        }
    }

    /// Sends a command whose success has no reply. Nothing is shown as a reply that the agent did not send.
    fn send_without_reply(
        &mut self,
        request: Request<Option<Map<String, Value>>, OwnedFd>,
    ) -> Outcome {
        let limit = SILENCE.min(self.last_wait);
        let client = self.client.with_timeout(limit);
        let outcome = answer::answer(&client, request.no_reply(), self.keyboard.as_deref());
        // After a silent success no reply is owed, only a new session.
        self.settle(true);
        match outcome.map(|outcome| outcome.and_then(|ended| Ok(ended.parse::<NoReply>()?))) {
            Some(Ok(ended)) => {
                self.printer.note(&match ended {
                    NoReply::Returned => "done".to_owned(),
                    NoReply::Closed => "sent; then the agent closed the connection".to_owned(),
                    NoReply::Restarted => "sent; then the agent was restarted".to_owned(),
                    NoReply::Deadline => {
                        format!("sent; the agent reported no error in {limit:?}")
                    }
                });
                Outcome::Done
            }
            Some(Err(error)) => self.failed(error),
            None => self.interrupted(),
        }
    }

    fn interrupted(&self) -> Outcome {
        self.printer.problem("stopped waiting: the command may have run, or may still run");
        Outcome::TimedOut
    }

    /// Events that came before the reply are shown before it; but nobody waits for a reply that is late.
    fn settle(&mut self, given_up: bool) {
        let late = given_up || self.unsettled;
        let patience = if late { Duration::ZERO } else { self.printer.patience() };
        self.unsettled = self.client.wait_idle(patience).is_err();
    }

    fn execute_human(&mut self, line: &str) -> Outcome {
        let cpu = line.strip_prefix("cpu ").map(|number| number.trim().parse());
        let (command_line, cpu_index) = match cpu {
            // Each command has a processor of its own, so the choice is kept here.
            Some(Ok(cpu)) => ("info version", Some(cpu)),
            Some(Err(_)) => return self.misused("cpu takes a number"),
            None => (line, self.cpu),
        };
        let quits = matches!(line, "quit" | "q");
        let command = HumanMonitorCommand { command_line, cpu_index };
        let outcome = answer::answer(&self.client, Request::of(&command), self.keyboard.as_deref());
        let Some(outcome) = outcome else { return self.interrupted() };
        match outcome.and_then(|raw: Raw| Ok(raw.parse::<String>()?)) {
            Ok(_) if cpu.is_some() => self.cpu = cpu_index,
            Ok(text) => self.printer.text(&text),
            // It ends before it can say so.
            Err(Error::Unanswered(_)) if quits => {}
            Err(error) => return self.failed(error),
        }
        if quits { self.over() } else { Outcome::Done }
    }

    fn failed(&self, error: Error) -> Outcome {
        match error {
            Error::Command(error) => {
                self.printer.error(&error);
                Outcome::Failed
            }
            _ if self.client.close_reason().is_some() => self.lost(),
            error if error.is_timeout() => {
                self.printer.problem(&error.to_string());
                Outcome::TimedOut
            }
            error => self.misused(&error.to_string()),
        }
    }

    fn misused(&self, problem: &str) -> Outcome {
        self.printer.problem(problem);
        Outcome::Misused
    }

    fn lost(&self) -> Outcome {
        self.printer.problem(&self.client.closed().to_string());
        Outcome::Lost
    }

    /// The end was asked for: what comes with it is shown.
    fn over(&self) -> Outcome {
        let begin = Instant::now();
        if answer::closed(&self.client, self.last_wait, self.keyboard.as_deref()).is_none() {
            let waited = begin.elapsed().min(self.last_wait);
            self.printer
                .problem(&format!("the server was told to quit, and goes on for {waited:?}"));
            return Outcome::TimedOut;
        }
        let _ = self.client.wait_idle(self.printer.patience());
        Outcome::Over
    }
}

impl Transaction {
    fn read(&mut self, words: &[&str]) -> Result<(), String> {
        let Some((name, pairs)) = words.split_first() else { return Ok(()) };
        match parse::arguments(pairs) {
            Ok(data) => self.actions.push(json!({"type": name, "data": data})),
            Err(problem) => {
                self.broken = true;
                return Err(format!("{problem}; the transaction will not be sent"));
            }
        }
        Ok(())
    }

    fn call(self) -> Result<Call, String> {
        if self.broken {
            return Err("the transaction was not sent".to_owned());
        }
        let arguments = Map::from_iter([("actions".to_owned(), Value::Array(self.actions))]);
        Ok(Call { name: "transaction".to_owned(), arguments, out_of_band: false })
    }
}
