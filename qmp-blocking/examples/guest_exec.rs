//! Runs a program in a guest, as ssh would: prints what it wrote, and exits with its status.
//!
//! `guest_exec ADDRESS PROGRAM [ARGUMENT...]` asks the guest agent at ADDRESS, which is that of its
//! channel on QEMU's command line: `unix:/tmp/ga.sock`. The output is printed when the program has
//! ended. The status is the program's own, 128 and the signal that ended it, or 255 where nothing is
//! known of it.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use qmp_blocking::{GuestExitStatus, GuestProgram};

const UNKNOWN: u8 = 255;

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(as_a_shell_tells(status)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(UNKNOWN)
        }
    }
}

fn run() -> Result<GuestExitStatus, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: guest_exec ADDRESS PROGRAM [ARGUMENT...]".into());
    };
    let client = qmp_blocking::connect_guest_agent(&address)?;
    let output = client.guest_exec(&GuestProgram::new(path).args(arguments))?;
    print("standard output", &output.stdout, output.stdout_truncated, io::stdout())?;
    print("standard error", &output.stderr, output.stderr_truncated, io::stderr())?;
    Ok(output.status)
}

fn print(name: &str, bytes: &[u8], truncated: bool, mut to: impl Write) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()?;
    if truncated {
        eprintln!(
            "guest_exec: the agent kept {} bytes of its {name}, and lost the rest",
            bytes.len()
        );
    }
    Ok(())
}

fn as_a_shell_tells(status: GuestExitStatus) -> u8 {
    let status = status.code().or_else(|| status.signal()?.checked_add(128));
    status.and_then(|status| status.try_into().ok()).unwrap_or(UNKNOWN)
}
