//! Runs a program in a guest: prints what it wrote, and exits with its status.
//!
//! `guest_exec [--timeout SECONDS] ADDRESS PROGRAM [ARGUMENT...]` asks the guest agent at ADDRESS, which
//! is that of its channel on QEMU's command line: `unix:/tmp/ga.sock`. There is no shell in between, and
//! nothing to read on the program's standard input. The output is printed when the program has ended. A file
//! or a pipe gets its bytes; a terminal gets them without control characters.
//! The status is the program's own, 128 and the signal that ended it, or 255 where nothing is known of
//! it. The timeout is for connecting, and again for the program; without one, that may take as long as
//! it likes.

use std::collections::VecDeque;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use qmp_blocking::{Builder, Dialect, GuestExitStatus, GuestProgram, printable};

const UNKNOWN: u8 = 255;
const USAGE: &str = "usage: guest_exec [--timeout SECONDS] ADDRESS PROGRAM [ARGUMENT...]";

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(as_a_shell_tells(status)),
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(UNKNOWN)
        }
    }
}

fn run() -> Result<GuestExitStatus, Box<dyn Error>> {
    let arguments = std::env::args_os().skip(1).map(as_text);
    let mut arguments = arguments.collect::<Result<VecDeque<_>, _>>()?;
    let mut builder = Builder::new().dialect(Dialect::GuestAgent);
    if arguments.front().is_some_and(|first| first == "--timeout") {
        let seconds = arguments.drain(..2.min(arguments.len())).nth(1).ok_or(USAGE)?;
        let timeout = Duration::from_secs(seconds.parse().map_err(|_| USAGE)?);
        builder = builder.deadline(timeout).command_timeout(timeout);
    }
    let (Some(address), Some(path)) = (arguments.pop_front(), arguments.pop_front()) else {
        return Err(USAGE.into());
    };
    let output = builder.connect(&address)?.guest_exec(&GuestProgram::new(path).args(arguments))?;
    print("standard output", &output.stdout, output.stdout_truncated, io::stdout())?;
    print("standard error", &output.stderr, output.stderr_truncated, io::stderr())?;
    Ok(output.status)
}

/// The protocol carries Unicode alone.
fn as_text(argument: OsString) -> Result<String, String> {
    argument.into_string().map_err(|argument| format!("no UTF-8: {argument:?}"))
}

/// Whoever reads the output may have read enough: that changes nothing of how the program ended.
fn print(name: &str, bytes: &[u8], cut: bool, mut to: impl Write + IsTerminal) -> io::Result<()> {
    let written = match to.is_terminal() {
        true => write!(to, "{}", printable(bytes).with_lines()),
        false => to.write_all(bytes),
    };
    match written.and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    if cut {
        let kept = bytes.len();
        say(&format!("guest_exec: the agent kept {kept} bytes of its {name}, and lost the rest"));
    }
    Ok(())
}

/// Unlike `eprintln!`, does not panic where nobody listens.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn as_a_shell_tells(status: GuestExitStatus) -> u8 {
    let status = status.code().or_else(|| status.signal()?.checked_add(128));
    status.and_then(|status| status.try_into().ok()).unwrap_or(UNKNOWN)
}
