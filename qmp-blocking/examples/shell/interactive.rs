//! A person at a terminal.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use qmp_blocking::commands::{HumanMonitorCommand, QueryQmpSchema};
use qmp_blocking::{Client, Command, Raw, Request, printable};

use crate::answer::answer;
use crate::complete::Completion;
use crate::editor::{Editor, Typed};
use crate::help;
use crate::keyboard::Keyboard;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::print::Printer;
use crate::schema::Schema;
use crate::screen::Screen;
use crate::session::Session;
use crate::terminal::KeyMode;

/// The human monitor's `help` has 13 KB in QEMU 7.2.
const LONGEST_HELP: usize = 1 << 20;

/// Executes what is typed, until the end of it or of the server.
pub(crate) fn talk(client: Client, options: &Options) -> Result<Outcome, Box<dyn Error>> {
    let mode = KeyMode::new()?;
    let (keyboard, screen) = (Keyboard::listen()?, Arc::new(Screen::default()));
    let printer = Printer::messages(options).beside(screen.clone());
    let mut session = Session::new(client, printer, options).interruptible(keyboard.clone());
    session.show_events();
    welcome(&session);
    let answering = Arc::new(Mutex::new(()));
    let end = tell_the_end(&session, answering.clone());
    let mut completion = completion(&session.client, options, &keyboard);
    let mut editor = Editor::new(keyboard, screen, mode);
    loop {
        completion.in_transaction = session.in_transaction();
        let prompt = if session.in_transaction() { "TRANS> " } else { "(QEMU) " };
        let line = match editor.read(prompt, &completion)? {
            Typed::Line(line) => line,
            Typed::End => return Ok(Outcome::Done),
            Typed::Interrupt => {
                session.abandon_transaction();
                continue;
            }
        };
        let busy = answering.lock();
        let outcome = match (line.trim(), help::asked(&line)) {
            ("exit", _) if !options.hmp => return Ok(Outcome::Done),
            (_, Some(asked)) if !options.hmp => {
                session.printer.text(&help::help(&completion, asked));
                Outcome::Done
            }
            (line, _) => session.execute(line.as_bytes()),
        };
        drop(busy);
        if outcome.ends() {
            let _ = end.join();
            return Ok(outcome);
        }
    }
}

/// Reports the connection's end, after the events before it and after the current answer.
fn tell_the_end(session: &Session, answering: Arc<Mutex<()>>) -> JoinHandle<()> {
    let (client, printer) = (session.client.clone(), session.printer.clone());
    thread::spawn(move || {
        let reason = client.closed();
        let _ = client.wait_idle(printer.patience());
        let _answered = answering.lock();
        printer.line(format_args!("the connection has ended: {reason}"));
    })
}

fn welcome(session: &Session) {
    if let Some(version) = &session.client.greeting().version {
        let (qemu, package) = (version.qemu, printable(&version.package));
        let version = format_args!("QEMU {}.{}.{} {package}", qemu.major, qemu.minor, qemu.micro);
        session.printer.line(version);
    }
    session.printer.line("Tab completes, help helps, Ctrl-D leaves.");
}

/// The server's description of its commands. It is empty if the server has none, or after Ctrl-C.
fn completion(client: &Client, options: &Options, keyboard: &Keyboard) -> Completion {
    let ask = |name: &'static str| -> Option<Raw> {
        answer(client, Request::new(name), Some(keyboard))?.ok()
    };
    if options.hmp {
        let human = human_commands(|command_line| {
            let command = HumanMonitorCommand { command_line, cpu_index: None };
            answer(client, Request::of(&command), Some(keyboard))?.ok()
        });
        return Completion { human: Some(human), ..Completion::default() };
    }
    let schema = match options.agent {
        true => ask("guest-info").and_then(|info| Schema::of_agent(info.as_bytes())),
        false => ask(QueryQmpSchema::NAME).and_then(|schema| Schema::new(schema.as_bytes())),
    };
    Completion { schema: schema.unwrap_or_default(), ..Completion::default() }
}

/// The human monitor's commands, from the lines of `help` and `info`: they begin with `NAME` or `NAME|SHORT`.
fn human_commands(ask: impl Fn(&str) -> Option<Raw>) -> Vec<String> {
    let names = |command_line: &str| -> Vec<String> {
        let raw = ask(command_line).filter(|raw| raw.as_bytes().len() <= LONGEST_HELP);
        let text: String = raw.and_then(|raw| raw.parse().ok()).unwrap_or_default();
        let lines = text.lines().map(|line| line.strip_prefix("info ").unwrap_or(line));
        let names = lines
            .filter_map(|line| line.split(' ').next()?.split('|').max_by_key(|name| name.len()));
        names
            .filter(|name| !name.is_empty() && !name.starts_with(['[', '\t']))
            .map(str::to_owned)
            .collect()
    };
    let mut commands = Vec::new();
    for name in names("help").into_iter().filter(|name| name != "info") {
        commands.push(format!("help {name}"));
        commands.push(name);
    }
    commands.extend(names("info").iter().map(|name| format!("info {name}")));
    commands.sort_unstable();
    commands
}
