//! The command line.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::Duration;

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
  -t, --timeout SECONDS
                      how long connecting, each command, and the server's end behind quit may take:
                      otherwise 10 s, as long as it takes, and 10 s
      --start         start QEMU, with its monitor connected to this shell

A line is COMMAND KEY=VALUE..., as in device_add driver=virtio-net-pci id=n0; KEY may be a.b. A VALUE is a
number, true, false, null, a text in quotes, or JSON in brackets; all else is text as it is, 007 and 1.2.3
too.

Status: 0 all went well, 1 the server answered with an error, 2 wrong usage or no connection, 3 not in
time. The human monitor's errors are text like its answers: with --hmp, they count as going well.";

/// How long the server may take to end when it was told to, where nobody says otherwise.
const LAST_WAIT: Duration = Duration::from_secs(10);

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
    pub(crate) timeout: Option<Duration>,
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
                Short('t') | Long("timeout") => {
                    options.timeout = Some(read_timeout(&parser.value()?.string()?)?);
                }
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

    /// How long the server may take to end when it was told to.
    pub(crate) fn last_wait(&self) -> Duration {
        self.timeout.unwrap_or(LAST_WAIT)
    }
}

fn read_timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| format!("--timeout takes seconds, as 10 or 0.5, and not {text:?}"))
}

/// Reads an address as `-qmp` or qmp-shell takes it: a path, or HOST:PORT. One that cannot work is refused.
fn read_address(text: &str) -> Result<Address, Box<dyn Error>> {
    let address = plain_address(text)?;
    match &address {
        Address::Stdio => Err("stdio: that is where this shell itself reads and writes".into()),
        Address::Unix(path) => match path.metadata().map(|file| file.file_type()) {
            Ok(kind) if !kind.is_socket() => {
                Err(format!("{} is not a socket", path.display()).into())
            }
            // A single word may be a host without its port.
            Err(_) if path.as_os_str() == text && !text.contains('/') => Err(format!(
                "there is no socket {text} here; for a port, it is {text}:PORT, and for a socket that \
                 is still to come, unix:{text}"
            )
            .into()),
            _ => Ok(address),
        },
        _ => Ok(address),
    }
}

fn plain_address(text: &str) -> Result<Address, Box<dyn Error>> {
    let plain = text.parse::<Address>();
    if plain.is_ok() {
        return Ok(plain?);
    }
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok() => {
            Ok(format!("tcp:{text}").parse()?)
        }
        None if !text.contains(',') => Ok(Address::Unix(text.into())),
        _ => Ok(plain?),
    }
}

/// Whether a text can be the host in HOST:PORT. An IPv6 address is in brackets there.
fn is_host(text: &str) -> bool {
    !text.contains(['/', ',']) && (!text.contains(':') || text.starts_with('['))
}
