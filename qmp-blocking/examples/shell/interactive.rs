//! A person at a terminal.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use qmp_blocking::commands::{HumanMonitorCommand, QueryQmpSchema};
use qmp_blocking::{Client, Request};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use serde_json::Value;

use crate::complete::Completion;
use crate::history;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::print::Printer;
use crate::schema::Schema;
use crate::session::Session;

type Lines = Editor<Completion, FileHistory>;

/// For who types `help`, which no command is called.
const HELP: &str = "\
COMMAND KEY=VALUE..., as in: device_add driver=virtio-net-pci id=n0
Tab completes all three. Ctrl-D or exit leaves; quit ends the server.
The human monitor: human-monitor-command command-line='info status', or the option --hmp.
More is in shell --help.";

/// Executes what is typed, until the end of it or of the server.
pub(crate) fn talk(client: Client, options: &Options) -> Result<Outcome, Box<dyn Error>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .max_history_size(1000)?
        .build();
    let mut lines = Lines::with_config(config)?;
    let columns = lines.dimensions().map_or(80, |(columns, _)| columns.into());
    let printer = Printer::messages(options).beside(lines.create_external_printer()?, columns);
    let mut session = Session::new(client, printer, options);
    session.show_events();
    welcome(&session.client);
    let answering = Arc::new(Mutex::new(()));
    let end = tell_the_end(&session, answering.clone());
    lines.set_helper(Some(completion(&session.client, options)));
    let history = history::file();
    // Where there is none yet, it begins now.
    history.iter().for_each(|file| drop(lines.load_history(file)));
    while let Some(line) = read(&mut session, &mut lines, history.as_deref())? {
        let busy = answering.lock();
        let outcome = match line.trim() {
            "exit" if !options.hmp => break,
            "help" | "?" if !options.hmp => {
                session.printer.text(HELP);
                Outcome::Done
            }
            line => session.execute(line.as_bytes()),
        };
        drop(busy);
        if outcome.ends() {
            let _ = end.join();
            return Ok(outcome);
        }
    }
    Ok(Outcome::Done)
}

/// Tells that the connection has ended, when it has: behind the events that came before, and behind what is
/// being answered.
fn tell_the_end(session: &Session, answering: Arc<Mutex<()>>) -> JoinHandle<()> {
    let (client, printer) = (session.client.clone(), session.printer.clone());
    thread::spawn(move || {
        let reason = client.closed();
        let _ = client.wait_idle(printer.patience());
        let _answered = answering.lock();
        printer.notice(&format!("the connection has ended: {reason}"));
    })
}

/// One line; none at the end of them.
fn read(
    session: &mut Session,
    lines: &mut Lines,
    history: Option<&Path>,
) -> Result<Option<String>, ReadlineError> {
    if let Some(completion) = lines.helper() {
        completion.in_transaction.set(session.in_transaction());
    }
    let prompt = if session.in_transaction() { "TRANS> " } else { "(QEMU) " };
    let line = match lines.readline(prompt) {
        Ok(line) => line,
        Err(ReadlineError::Eof) => return Ok(None),
        Err(ReadlineError::Interrupted) => {
            session.abandon_transaction();
            return Ok(Some(String::new()));
        }
        Err(error) => return Err(error),
    };
    if history::may_keep(&line) && lines.add_history_entry(&line)? {
        // At once: who is killed has a history too.
        history.iter().for_each(|file| drop(lines.append_history(file)));
    }
    Ok(Some(line))
}

fn welcome(client: &Client) {
    if let Some(version) = &client.greeting().version {
        let qemu = version.qemu;
        println!("QEMU {}.{}.{} {}", qemu.major, qemu.minor, qemu.micro, version.package);
    }
    println!("Tab completes, help helps, Ctrl-D leaves.");
}

/// What the server knows. One that cannot tell is typed to all the same.
fn completion(client: &Client, options: &Options) -> Completion {
    if options.hmp {
        return Completion { human: Some(human_commands(client)), ..Completion::default() };
    }
    if options.agent {
        let commands = agent_commands(client).unwrap_or_default();
        return Completion { schema: Schema::of_names(commands), ..Completion::default() };
    }
    let schema = client.execute(&QueryQmpSchema).ok();
    let schema = schema.and_then(|json| Schema::new(json.as_bytes()).ok());
    Completion { schema: schema.unwrap_or_default(), ..Completion::default() }
}

/// From `guest-info`, which says nothing of arguments.
fn agent_commands(client: &Client) -> Option<Vec<String>> {
    let info: Value = client.execute_request(Request::new("guest-info")).ok()?.parse().ok()?;
    let commands = info["supported_commands"].as_array()?.iter();
    Some(commands.filter_map(|command| command["name"].as_str().map(str::to_owned)).collect())
}

/// From the lines of `help`, which begin with `NAME` or `NAME|SHORT`, and those of `info`.
fn human_commands(client: &Client) -> Vec<String> {
    let ask = |command_line| {
        let command = HumanMonitorCommand { command_line, cpu_index: None };
        client.execute(&command).unwrap_or_default()
    };
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.strip_prefix("info ").unwrap_or(line));
        let names = lines
            .filter_map(|line| line.split(' ').next()?.split('|').max_by_key(|name| name.len()));
        names
            .filter(|name| !name.is_empty() && !name.starts_with(['[', '\t']))
            .map(str::to_owned)
            .collect()
    };
    let mut commands = Vec::new();
    for name in names(&ask("help")).into_iter().filter(|name| name != "info") {
        commands.push(format!("help {name}"));
        commands.push(name);
    }
    commands.extend(names(&ask("info")).iter().map(|name| format!("info {name}")));
    commands.sort_unstable();
    commands
}
