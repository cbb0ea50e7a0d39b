//! From text to [`Address`].

use std::path::PathBuf;

use super::options::{self, Given};
use super::{ABSTRACT_NAME, Address, AddressError, AddressProblem};

type Parsed<T = Address> = Result<T, AddressError>;

/// Prefixes and options that put another protocol around QMP.
const LAYERS: [&str; 3] = ["telnet", "tn3270", "websocket"];

pub(super) fn address(text: &str) -> Parsed {
    if text.starts_with('/') {
        return Ok(Address::Unix(text.into()));
    }
    let end = text.find([':', ',']).unwrap_or(text.len());
    let rest = end + 1;
    match (&text[..end], text[end..].chars().next()) {
        ("unix", Some(':')) => socket(&options::read(text, rest, Some("path")), rest),
        ("fd", Some(':')) => socket(&options::read(text, rest, Some("fd")), rest),
        ("tcp", Some(':')) => tcp_prefix(text, rest),
        ("pipe", Some(':')) => {
            non_empty(&text[rest..], rest).map(|path| Address::Pipe(path.into()))
        }
        ("pty", Some(':')) => {
            non_empty(&text[rest..], rest).map(|path| Address::Terminal(path.into()))
        }
        ("socket", Some(',')) => socket(&options::read(text, rest, None), rest),
        ("pipe", Some(',')) => path(&options::read(text, rest, None), rest).map(Address::Pipe),
        ("serial" | "tty", Some(',')) => {
            path(&options::read(text, rest, None), rest).map(Address::Terminal)
        }
        ("stdio", None | Some(',')) => Ok(Address::Stdio),
        (kind, Some(':')) => Err(no_such_prefix(kind)),
        _ => Err(AddressError::new(0, AddressProblem::Kind)),
    }
}

fn no_such_prefix(kind: &str) -> AddressError {
    let layer = LAYERS.into_iter().find(|layer| *layer == kind);
    AddressError::new(0, layer.map_or(AddressProblem::Kind, AddressProblem::NotPlain))
}

/// `HOST:PORT` and options.
fn tcp_prefix(text: &str, at: usize) -> Parsed {
    let item = options::first_item(&text[at..]);
    let (host, port) = host_and_port(item, at)?;
    let port_at = at + item.len() - port.len();
    let mut given =
        vec![Given::new("host", host, at, at), Given::new("port", port, port_at, port_at)];
    given.extend(options::read(text, at + item.len() + 1, None));
    socket(&given, at)
}

fn host_and_port(item: &str, at: usize) -> Parsed<(&str, &str)> {
    let split = match item.strip_prefix('[') {
        Some(inside) => inside.rsplit_once("]:"),
        None => item.split_once(':').filter(|(_, port)| !port.contains(':')),
    };
    split.ok_or(AddressError::new(at, AddressProblem::HostAndPort))
}

/// A socket's options, the first of which begins at byte `at`.
fn socket(given: &[Given<'_>], at: usize) -> Parsed {
    refuse_layers(given)?;
    let target = ["path", "host", "fd"].map(|name| options::last(given, name));
    match target {
        [Some(path), None, None] => unix(given, path),
        [None, Some(host), None] => tcp(given, host),
        [None, None, Some(number)] => descriptor(number),
        _ => Err(AddressError::new(at, AddressProblem::Target)),
    }
}

fn refuse_layers(given: &[Given<'_>]) -> Parsed<()> {
    for layer in LAYERS {
        if options::switch(given, layer, false)? {
            return Err(not_plain(given, layer));
        }
    }
    match options::last(given, "tls-creds") {
        Some(_) => Err(not_plain(given, "tls-creds")),
        None => Ok(()),
    }
}

fn not_plain(given: &[Given<'_>], layer: &'static str) -> AddressError {
    let at = options::last(given, layer).map_or(0, |option| option.at);
    AddressError::new(at, AddressProblem::NotPlain(layer))
}

fn unix(given: &[Given<'_>], path: &Given<'_>) -> Parsed {
    let name = non_empty(&path.value, path.value_at)?;
    let is_abstract = options::switch(given, "abstract", false)?;
    let tight = options::switch(given, "tight", true)?;
    if !is_abstract {
        return Ok(Address::Unix(name.into()));
    }
    let mut name = name.as_bytes().to_vec();
    if !tight {
        name.resize(name.len().max(ABSTRACT_NAME), 0);
    }
    Ok(Address::Abstract(name))
}

fn tcp(given: &[Given<'_>], host: &Given<'_>) -> Parsed {
    let Some(port) = options::last(given, "port") else {
        return Err(AddressError::new(host.at, AddressProblem::Port));
    };
    let number = number(&port.value)
        .and_then(|number| u16::try_from(number).ok())
        .ok_or(AddressError::new(port.value_at, AddressProblem::Port))?;
    Ok(Address::Tcp { host: host.value.clone(), port: number })
}

fn descriptor(number: &Given<'_>) -> Parsed {
    let at = number.value_at;
    self::number(&number.value)
        .filter(|number| i32::try_from(*number).is_ok())
        .map(Address::Fd)
        .ok_or(AddressError::new(at, AddressProblem::Descriptor))
}

fn path(given: &[Given<'_>], at: usize) -> Parsed<PathBuf> {
    let Some(path) = options::last(given, "path") else {
        return Err(AddressError::new(at, AddressProblem::Path));
    };
    Ok(PathBuf::from(non_empty(&path.value, path.value_at)?))
}

fn non_empty(path: &str, at: usize) -> Parsed<&str> {
    if path.is_empty() { Err(AddressError::new(at, AddressProblem::Path)) } else { Ok(path) }
}

/// Digits alone: Rust would take a sign too.
fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
