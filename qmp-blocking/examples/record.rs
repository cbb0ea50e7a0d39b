//! Stands between a client and a QEMU, and records what they say to each other.
//!
//! `record ADDRESS FILE [LISTEN]` connects to the QEMU at ADDRESS, waits for one client at LISTEN, the
//! Unix socket FILE.sock unless given, and writes a trace to FILE until both sides have ended.
//! Addresses are written as behind `-qmp`. Passwords and the like are taken out of the trace.
//!
//! `cargo run -p qmp-blocking --example record -- unix:/tmp/vm.sock /tmp/session.trace` prints
//! ```text
//! waiting for a client at unix:/tmp/session.trace.sock
//! recorded in /tmp/session.trace
//! ```

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use qmp_blocking::Address;
use qmp_blocking::trace::{Recorder, Redaction};
use qmp_client::connect::{connect_abstract, connect_tcp, connect_unix};
use qmp_server::net;
use qmp_server::net::Listener;

/// The largest message that is kept as one, in bytes.
const MAX_MESSAGE: usize = 128 << 20;

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, name, listen) = match &arguments[..] {
        [address, name] => (address, name, Address::from(PathBuf::from(format!("{name}.sock")))),
        [address, name, listen] => (address, name, listen.parse()?),
        _ => {
            eprintln!("usage: record ADDRESS FILE [LISTEN]");
            std::process::exit(2);
        }
    };
    let server = connect(&address.parse()?)?;
    let listener = Listener::bind(listen)?;
    let mut file = File::create(name)?;
    println!("waiting for a client at {}", listener.address());
    let Some(client) = listener.accept()? else { return Ok(()) };
    // There is only one.
    drop(listener);

    let mut recorder = Recorder::new(MAX_MESSAGE).redacted(Redaction::default());
    file.write_all(recorder.header().as_bytes())?;
    let start = Instant::now();
    net::relay(client, server, |direction, bytes| {
        match bytes {
            [] => recorder.end(direction, start.elapsed()),
            bytes => recorder.record(direction, bytes, start.elapsed()),
        }
        while let Some(entry) = recorder.poll_entry() {
            writeln!(file, "{entry}")?;
        }
        Ok(())
    })?;
    println!("recorded in {name}");
    Ok(())
}

fn connect(address: &Address) -> Result<OwnedFd, Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    Ok(match address {
        Address::Unix(path) => connect_unix(path, deadline)?.into(),
        Address::Abstract(name) => connect_abstract(name, deadline)?.into(),
        Address::Tcp { host, port } => connect_tcp(host, *port, deadline)?.into(),
        _ => return Err("only what is said over sockets can be recorded".into()),
    })
}
