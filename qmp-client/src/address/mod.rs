//! Addresses of monitors, in the words of QEMU's command line.
//!
//! What stands behind `-qmp`, or in a `-chardev`, on the server's side can be given to the client as
//! it is. Options that concern the server alone are passed over.
//!
//! ```
//! use qmp_client::address::Address;
//!
//! let address: Address = "unix:/run/vm.sock,server=on,wait=off".parse()?;
//! assert_eq!(address, Address::Unix("/run/vm.sock".into()));
//! assert_eq!(address.to_string(), "unix:/run/vm.sock");
//!
//! let address: Address = "tcp:localhost:4444,server,nowait,nodelay".parse()?;
//! assert_eq!(address, Address::Tcp { host: "localhost".into(), port: 4444 });
//!
//! let address: Address = "socket,id=qmp,host=::1,port=4444".parse()?;
//! assert_eq!(address.to_string(), "tcp:[::1]:4444");
//!
//! let error = "tcp:localhost:4444,server=on,telnet=on".parse::<Address>().unwrap_err();
//! assert_eq!(error.offset(), 29);
//! # Ok::<(), qmp_client::address::AddressError>(())
//! ```

// From text to an address (`parse`, QEMU's option lists in `options`), and why a text is rejected (`error`).
mod parse;
mod options;
mod error;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use error::{AddressError, AddressProblem};

/// Where a monitor is to be found.
///
/// # Text form
///
/// Each line may be followed by more options, each after a comma.
///
/// | text | address |
/// |---|---|
/// | `unix:PATH` | [`Unix`](Address::Unix) |
/// | `unix:NAME,abstract=on` | [`Abstract`](Address::Abstract) |
/// | `tcp:HOST:PORT`, `tcp:[IPV6]:PORT`, `tcp::PORT` | [`Tcp`](Address::Tcp) |
/// | `pipe:PATH` (takes no options: commas belong to the path) | [`Pipe`](Address::Pipe) |
/// | `pty:PATH` (as `query-chardev` names it; takes no options) | [`Terminal`](Address::Terminal) |
/// | `fd:N` (this crate's own: QEMU has `socket,fd=N` alone) | [`Fd`](Address::Fd) |
/// | `stdio` | [`Stdio`](Address::Stdio) |
/// | `socket,path=PATH`, `socket,host=HOST,port=PORT`, `socket,fd=N`, `pipe,path=PATH`, `serial,path=PATH` | as above |
/// | `/PATH` (a convenience: the whole text is the path, commas too) | [`Unix`](Address::Unix) |
///
/// It is read as QEMU reads it. In a path, a host or an option, `,,` stands for one comma. Of an
/// option that is given twice, the last counts. The `@` in `unix:@name` is a plain character of a
/// path, not the sign of an abstract name. An option such as `server`, `wait`, `nodelay`, `id` or
/// `reconnect` is passed over, whatever its value.
///
/// `telnet`, `tn3270`, `websocket` and `tls-creds` are refused: they put another protocol around
/// QMP, which this client does not speak.
///
/// [`Display`](fmt::Display) writes a text that reads back as the same address, if the address holds
/// no empty path or name, no bytes that are no UTF-8 (they are replaced), and no descriptor above
/// 2147483647. QEMU takes that text after `-qmp`, but for `fd:N`, for `pty:PATH` (it chooses the path
/// itself), and for an IPv6 address in brackets, which QEMU 7.2 takes as `-chardev` options only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A Unix socket in the file system.
    Unix(PathBuf),
    /// A Unix socket with an abstract name, which Linux alone has. The name is without the zero byte
    /// that the kernel puts before it; with `tight=off` it is filled up with zero bytes to 107.
    Abstract(Vec<u8>),
    /// A TCP port.
    Tcp {
        /// A name or an address, an IPv6 address without brackets. Empty: this machine (loopback).
        host: String,
        /// The port. A client cannot connect to port 0; a listener takes it as "any free port".
        port: u16,
    },
    /// The two FIFOs `PATH.in`, into which the client writes, and `PATH.out`, from which it reads.
    Pipe(PathBuf),
    /// A terminal or serial line: the `/dev/pts/N` that QEMU names when it is started with
    /// `-qmp pty`. What QEMU writes last, the reply to `quit` too, may be lost with it.
    Terminal(PathBuf),
    /// An open descriptor that this process inherited: a connected socket, as a rule.
    Fd(u32),
    /// This process's own standard input and output.
    Stdio,
}

/// The bytes that an abstract name has at most: `sun_path` without its leading zero.
const ABSTRACT_NAME: usize = 107;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse::address(text)
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = AddressError;

    fn try_from(text: &String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Self {
        address.clone()
    }
}

impl From<PathBuf> for Address {
    /// A Unix socket in the file system.
    fn from(path: PathBuf) -> Self {
        Address::Unix(path)
    }
}

impl From<&PathBuf> for Address {
    /// A Unix socket in the file system.
    fn from(path: &PathBuf) -> Self {
        Address::Unix(path.clone())
    }
}

impl From<&Path> for Address {
    /// A Unix socket in the file system.
    fn from(path: &Path) -> Self {
        Address::Unix(path.to_path_buf())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write_unix(f, &path.to_string_lossy()),
            Address::Abstract(name) => write_abstract(f, name),
            Address::Tcp { host, port } => write_tcp(f, host, *port),
            Address::Pipe(path) => write!(f, "pipe:{}", path.display()),
            Address::Terminal(path) => write!(f, "pty:{}", path.display()),
            Address::Fd(number) => write!(f, "fd:{number}"),
            Address::Stdio => f.write_str("stdio"),
        }
    }
}

/// Writes a path or a name. Where QEMU would take it for an option, it says that it is the path.
fn write_unix(f: &mut fmt::Formatter<'_>, path: &str) -> fmt::Result {
    let named = path.split_once('=').is_some_and(|(before, _)| !before.contains(','));
    let name = if named { "path=" } else { "" };
    write!(f, "unix:{name}{}", double_commas(path))
}

fn write_abstract(f: &mut fmt::Formatter<'_>, name: &[u8]) -> fmt::Result {
    let end = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let padded = name.len() == ABSTRACT_NAME && (1..ABSTRACT_NAME).contains(&end);
    let shown = if padded { &name[..end] } else { name };
    write_unix(f, &String::from_utf8_lossy(shown))?;
    f.write_str(if padded { ",abstract=on,tight=off" } else { ",abstract=on" })
}

fn write_tcp(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    let bracketed = host.contains(':') || host.starts_with('[');
    let host = double_commas(host);
    if bracketed { write!(f, "tcp:[{host}]:{port}") } else { write!(f, "tcp:{host}:{port}") }
}

/// QEMU's way to put a comma into a value.
fn double_commas(value: &str) -> String {
    value.replace(',', ",,")
}
