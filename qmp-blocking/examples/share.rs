//! Lets several clients use one monitor at once: QEMU itself serves one after the other.
//!
//! `share ADDRESS LISTEN` is the only client of the QEMU at ADDRESS, and serves up to 64 clients at
//! LISTEN, both written as behind `-qmp`. Each negotiates for itself, executes commands next to those of
//! the other clients, out-of-band and with file descriptors too, and gets all events. A command has 64 KiB
//! at most; `ShareOptions` has the other limits. When QEMU has ended, clients have 10 s to read what was
//! sent to them.
//!
//! ```sh
//! cargo run -p qmp-blocking --example share -- unix:/tmp/vm.sock unix:/tmp/shared.sock
//! ```
//!
//! ```text
//! sharing unix:/tmp/vm.sock at unix:/tmp/shared.sock
//! the end: closed after quit
//! ```

use std::error::Error;
use std::process::ExitCode;

use qmp_blocking::Builder;
use qmp_server::net;
use qmp_server::net::Listener;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, listen] = &arguments[..] else {
        eprintln!("usage: share ADDRESS LISTEN");
        return ExitCode::from(2);
    };
    let Err(error) = share(address, listen) else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn share(address: &str, listen: &str) -> Result<(), Box<dyn Error>> {
    let client = Builder::new().oob(true).connect(address)?;
    let listener = Listener::bind(listen)?;
    println!("sharing {address} at {}", listener.address());
    let end = net::share(client, &listener, |error| {
        eprintln!("a client was turned away: {error}");
    })?;
    println!("the end: {end}");
    Ok(())
}
