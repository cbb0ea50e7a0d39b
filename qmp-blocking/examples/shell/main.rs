//! An interactive shell for QMP, with history, and with completion from the server's own schema.
//!
//! ```text
//! shell [OPTIONS] ADDRESS                 a server at an address, as one writes it behind -qmp
//! shell [OPTIONS] --start PROGRAM ARG...  a QEMU that is started
//!
//! -e, --execute LINE  executes a line instead of asking for some; may be given several times
//! -H, --hmp           lines are commands of the human monitor
//! -N, --agent         the address is a guest agent's, not a monitor's
//! -p, --pretty        JSON on many lines, also where it is short or goes into a pipe
//! -v, --verbose       shows each command as it is sent, on standard error
//! -l, --log FILE      records the session, its secrets replaced
//! ```
//!
//! Without an address, the environment's `QMP_SOCKET` is taken. `NO_COLOR` does without colours.
//!
//! # Lines
//!
//! ```text
//! query-status
//! device_add driver=virtio-net-pci id=n0           values are numbers, true, false, null, or text
//! blockdev-add driver=raw node-name="n 0" file.driver=null-co file.size=1024
//! job-cancel id='7'                                text, although it looks like a number
//! some-command list=[1, 2] object={'a': True}      JSON, also as Python writes it
//! {"execute": "query-status"}                      a whole command, "exec-oob" too
//! transaction( block-dirty-bitmap-add node=n0 name=b0 )
//! ```
//!
//! A transaction may span lines. A line that begins with a space, or seems to hold a password, does
//! not go into the history, `~/.local/state/qmp-shell/history`.
//!
//! Events are shown as they come. On a terminal, what does not fit into a line is indented; elsewhere each
//! message is one line. With `-e`, only what the commands return is printed, and the first that fails is
//! the last.
//!
//! # Exit status
//!
//! 0 where all went well, 1 where the server answered with an error, 2 where the usage was wrong, no
//! connection was made, or it was lost. Who types sees errors at once, so these do not count then.
#![forbid(unsafe_code)]

mod complete;
mod history;
mod interactive;
mod layout;
mod options;
mod parse;
mod print;
mod schema;
mod session;
mod value;

use std::error::Error;
use std::io::{self, BufRead, IsTerminal};
use std::process::{Child, Command, ExitCode};

use qmp_blocking::commands::Quit;
use qmp_blocking::trace::Redaction;
use qmp_blocking::{Builder, Client, Dialect, Recording};

use options::{Options, Target};
use print::Printer;
use session::{Outcome, Session};

fn main() -> ExitCode {
    match run() {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            eprintln!("error: {error}");
            Outcome::Misused.exit_code()
        }
    }
}

fn run() -> Result<Outcome, Box<dyn Error>> {
    let options = Options::from_command_line()?;
    let Some(target) = &options.target else {
        println!("{}", options::USAGE);
        return Ok(Outcome::Done);
    };
    let (client, child) = connect(target, &options)?;
    let outcome = talk(client.clone(), &options);
    if let Some(mut child) = child {
        // It has nobody else who could tell it.
        if client.close_reason().is_none() {
            client.execute(&Quit)?;
        }
        child.wait()?;
    }
    outcome
}

fn connect(target: &Target, options: &Options) -> Result<(Client, Option<Child>), Box<dyn Error>> {
    let mut builder = match options.agent {
        true => Builder::new().dialect(Dialect::GuestAgent),
        false => Builder::new().oob(true),
    };
    if let Some(path) = &options.log {
        let recording = Recording::new(std::fs::File::create(path)?);
        builder = builder.record(recording.redacted(Redaction::default()));
    }
    Ok(match target {
        Target::Address(address) => (builder.connect(address.clone())?, None),
        Target::Start(program, arguments) => {
            let mut qemu = Command::new(program);
            qemu.args(arguments);
            let (client, child) = builder.spawn(qemu)?;
            (client, Some(child))
        }
    })
}

fn talk(client: Client, options: &Options) -> Result<Outcome, Box<dyn Error>> {
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !options.lines.is_empty() {
        let mut session = Session::new(client, Printer::returns(options), options);
        return Ok(all(&mut session, options.lines.iter().map(|line| Ok(line.clone())), true)?);
    }
    if terminal {
        return interactive::talk(client, options);
    }
    let mut session = Session::new(client, Printer::messages(options), options);
    session.show_events();
    Ok(all(&mut session, io::stdin().lock().lines(), false)?)
}

/// Executes lines. What went wrong in any of them is the outcome.
fn all(
    session: &mut Session,
    lines: impl Iterator<Item = io::Result<String>>,
    stop_at_failure: bool,
) -> io::Result<Outcome> {
    let mut worst = Outcome::Done;
    for line in lines {
        let outcome = session.execute(&line?);
        worst = worst.max(outcome);
        if outcome.ends() || stop_at_failure && outcome > Outcome::Done {
            return Ok(worst);
        }
    }
    Ok(worst.max(session.finish()))
}
