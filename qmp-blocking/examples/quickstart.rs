//! Drives a QEMU: asks for its version and state, starts and stops it, shows its events, and quits.
//!
//! `cargo run -p qmp-blocking --example quickstart` starts a QEMU, or takes the machine that comes with
//! this crate. With `-- unix:/run/vm.sock` it drives the QEMU there, and quits it. README.md shows the output.

use std::error::Error;
use std::io::ErrorKind;
use std::process::{Child, Command, ExitCode};
use std::thread;

use qmp_blocking::commands::{Cont, QueryStatus, QueryVersion, Quit, Stop};
use qmp_blocking::{Builder, Client, ConnectError, Events, printable};
use qmp_server::Machine;
use qmp_server::net;

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let (client, events, child) = connect()?;
    // Events have a thread of their own here; it ends with the connection.
    let printer = thread::spawn(move || print_events(events));

    let version = client.execute(&QueryVersion)?;
    let qemu = version.qemu;
    let package = printable(&version.package);
    println!("version   QEMU {}.{}.{} {package}", qemu.major, qemu.minor, qemu.micro);
    print_status(&client)?;
    client.execute(&Cont)?;
    print_status(&client)?;
    client.execute(&Stop)?;
    print_status(&client)?;
    client.execute(&Quit)?;
    println!("the end   {}", client.closed());
    printer.join().map_err(|_| "the thread for events panicked")?;
    if let Some(mut child) = child {
        println!("QEMU      {}", child.wait()?);
    }
    Ok(())
}

fn connect() -> Result<(Client, Events, Option<Child>), Box<dyn Error>> {
    if let Some(address) = std::env::args().nth(1) {
        println!("connecting to {address}, for 10 s at most");
        let (client, events) = qmp_blocking::connect_with_events(&address)?;
        return Ok((client, events, None));
    }
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "none", "-nodefaults", "-display", "none", "-S"]);
    match Builder::new().spawn_with_events(qemu) {
        Ok((client, events, child)) => {
            println!("started qemu-system-x86_64");
            Ok((client, events, Some(child)))
        }
        Err(ConnectError::NotStarted { error, .. }) if error.kind() == ErrorKind::NotFound => {
            println!("no qemu-system-x86_64 here: using the embedded machine");
            let stream = net::connect_machine(Machine::new())?;
            let (client, events) = Builder::new().from_stream_with_events(stream)?;
            Ok((client, events, None))
        }
        Err(error) => Err(error.into()),
    }
}

fn print_status(client: &Client) -> Result<(), qmp_blocking::Error> {
    let status = client.execute(&QueryStatus)?;
    println!("status    {:?}", status.status);
    Ok(())
}

fn print_events(events: Events) {
    for event in events {
        match event {
            Ok(event) => println!("event     {}", printable(event.name())),
            Err(lagged) => println!("event     {lagged}"),
        }
    }
}
