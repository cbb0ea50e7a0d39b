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
//! -t, --timeout SECONDS
//!                     how long connecting (else 10 s), each command (else as long as it takes), and
//!                     the server's end behind quit (else 10 s) may take
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
//! A number is what it is in JSON. What only looks like one, as the serial 007 or the address 10.0.2.2,
//! is text; an integer of more than 64 bits, which would be rounded, is refused.
//!
//! At a terminal, Tab completes, `help COMMAND` lists the arguments, and Ctrl-C stops waiting for a reply. Pasted
//! lines are executed one after the other.
//!
//! A transaction may span lines. A line that begins with a space, or seems to hold a password, does
//! not go into the history, `~/.local/state/qmp-shell/history`.
//!
//! In the text of a server or a guest, control characters and invisible ones are escaped, as JSON does it.
//!
//! Events are shown as they come. On a terminal, what does not fit into a line is indented; elsewhere each
//! message is one line. With `-e`, only what the commands return is printed, and the first that fails is
//! the last.
//!
//! # Exit status
//!
//! ```text
//! 0    all went well
//! 1    the server answered with an error
//! 2    wrong usage, no connection or a lost one, a command behind quit, output that cannot be written,
//!      a reply that is not UTF-8 (a byte that is not is shown as \xff)
//! 3    a command was not answered in time, or the server did not end
//! 141  whoever read the output has left
//! ```
//!
//! The worst counts. Who types sees errors at once, so these do not count then. The human monitor's errors
//! are text like its answers, which nothing tells apart: with `--hmp`, the status of `-e nonsense` is 0.
//!
//! # As Python's qmp-shell, but
//!
//! - A value `0.5` is a number, there a text; `007` is a text, there the number 7; brackets may have
//!   spaces in them, and what is no JSON in them is an error, there a text.
//! - Lines may be piped in, and given with `-e`. `-N` is for a guest agent there too.
#![forbid(unsafe_code)]

mod answer;
mod complete;
mod editor;
mod help;
mod history;
mod interactive;
mod keyboard;
mod keys;
mod layout;
mod line;
mod options;
mod outcome;
mod parse;
mod print;
mod schema;
mod screen;
mod script;
mod session;
mod terminal;
mod value;
mod waiting;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::commands::Quit;
use qmp_blocking::trace::Redaction;
use qmp_blocking::{Builder, Client, Dialect, Recording};

use options::{Options, Target};
use outcome::Outcome;
use print::{Printer, complain};
use session::Session;

fn main() -> ExitCode {
    match run() {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            complain(format_args!("error: {error}"));
            Outcome::Misused.exit_code()
        }
    }
}

fn run() -> Result<Outcome, Box<dyn Error>> {
    let options = Options::from_command_line()?;
    let Some(target) = &options.target else {
        let printer = Printer::returns(&options);
        printer.text(options::USAGE);
        return Ok(printer.outcome());
    };
    let (client, child) = connect(target, &options)?;
    let outcome = talk(client.clone(), &options);
    let ended = child.map_or(Ok(Outcome::Done), |child| end(&client, child, options.last_wait()));
    Ok(outcome?.max(ended?))
}

fn connect(target: &Target, options: &Options) -> Result<(Client, Option<Child>), Box<dyn Error>> {
    let mut builder = match options.agent {
        true => Builder::new().dialect(Dialect::GuestAgent),
        false => Builder::new().oob(true),
    };
    if let Some(timeout) = options.timeout {
        builder = builder.deadline(timeout).command_timeout(timeout);
    }
    if let Some(path) = &options.log {
        let recording = Recording::new(std::fs::File::create(path)?);
        builder = builder.record(recording.redacted(Redaction::default()));
    }
    Ok(match target {
        Target::Address(address) => {
            let _told = waiting::tell(address, options.timeout);
            (builder.connect(address.clone())?, None)
        }
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
        return Ok(script::given(&mut session, &options.lines));
    }
    if terminal {
        return interactive::talk(client, options);
    }
    let mut session = Session::new(client, Printer::messages(options), options);
    session.show_events();
    Ok(script::piped(&mut session)?)
}

/// Ends a QEMU that was started here: it has nobody else who could tell it.
fn end(client: &Client, mut qemu: Child, patience: Duration) -> io::Result<Outcome> {
    // Whether it has heard is seen by whether it ends.
    let _ = client.submit(&Quit, drop);
    let deadline = Instant::now() + patience;
    client.closed_within(patience);
    // It may have closed its monitor, and stay.
    while qemu.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            complain(format_args!(
                "error: QEMU does not end in {patience:?}: process {}",
                qemu.id()
            ));
            return Ok(Outcome::TimedOut);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(Outcome::Done)
}
