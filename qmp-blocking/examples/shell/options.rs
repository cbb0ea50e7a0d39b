//! The command line.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use qmp_blocking::Address;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
usage: shell [OPTIONS] ADDRESS
       shell [OPTIONS] --start PROGRAM ARG...

ADDRESS is what stands behind -qmp on QEMU's command line (unix:/tmp/vm.sock), a path or HOST:PORT;
the environment's QMP_SOCKET where there is none.

  -e, --execute LINE  execute a line instead of asking for some; may be given several times
  -H, --hmp           lines are commands of the human monitor
  -N, --agent         the address is a guest agent's, not a monitor's
  -p, --pretty        JSON on many lines, also where it is short or goes into a pipe
  -v, --verbose       show each command as it is sent, on standard error
  -l, --log FILE      record the session, its secrets replaced
      --start         start QEMU, with its monitor connected to this shell

A line is COMMAND KEY=VALUE..., where KEY may be a.b and VALUE may be JSON. Status: 0 all went well,
1 the server answered with an error, 2 wrong usage or no connection.";

/// What was asked for.
#[derive(Default)]
pub(crate) struct Options {
    /// None where help was asked for.
    pub(crate) target: Option<Target>,
    pub(crate) lines: Vec<String>,
    pub(crate) hmp: bool,
    pub(crate) agent: bool,
    pub(crate) pretty: bool,
    pub(crate) verbose: bool,
    pub(crate) log: Option<PathBuf>,
}

/// Who is talked to.
pub(crate) enum Target {
    Address(Address),
    Start(OsString, Vec<OsString>),
}

impl Options {
    pub(crate) fn from_command_line() -> Result<Self, Box<dyn Error>> {
        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(Self::default()),
                Short('e') | Long("execute") => options.lines.push(parser.value()?.string()?),
                Short('H') | Long("hmp") => options.hmp = true,
                Short('N') | Long("agent") => options.agent = true,
                Short('p') | Long("pretty") => options.pretty = true,
                Short('v') | Long("verbose") => options.verbose = true,
                Short('l') | Long("log") => options.log = Some(parser.value()?.into()),
                // All the rest is the program's own.
                Long("start") if options.target.is_none() => {
                    let program = parser.value()?;
                    options.target = Some(Target::Start(program, parser.raw_args()?.collect()));
                }
                Value(address) if options.target.is_none() => {
                    options.target = Some(Target::Address(read_address(&address.string()?)?));
                }
                _ => return Err(argument.unexpected().into()),
            }
        }
        if options.target.is_none() {
            let socket = std::env::var("QMP_SOCKET").map_err(|_| USAGE)?;
            options.target = Some(Target::Address(read_address(&socket)?));
        }
        Ok(options)
    }
}

/// As behind `-qmp`, or as qmp-shell takes it: a path, or HOST:PORT.
fn read_address(text: &str) -> Result<Address, Box<dyn Error>> {
    let plain = text.parse::<Address>();
    if plain.is_ok() {
        return Ok(plain?);
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains('/') && port.parse::<u16>().is_ok() => {
            Ok(format!("tcp:{text}").parse()?)
        }
        None if !text.contains(',') => Ok(Address::Unix(text.into())),
        _ => Ok(plain?),
    }
}
