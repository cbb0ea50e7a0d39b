//! Follows a machine's life: each event as it happens, until the end, and why that came.
//!
//! ```sh
//! cargo run -p qmp-blocking --example events                       # a QEMU of its own, and a short life
//! cargo run -p qmp-blocking --example events -- unix:/tmp/vm.sock  # looks on, and changes nothing
//! ```
//!
//! ```text
//!   0.000 s  RESUME
//!   0.001 s  STOP
//!   0.001 s  RESET {"guest": false, "reason": "host-qmp-system-reset"}
//!   0.001 s  SHUTDOWN {"guest": false, "reason": "host-qmp-quit"}
//! the end: closed after quit, HostQmpQuit
//! ```

use std::error::Error;
use std::process::{Child, Command, ExitCode};

use qmp_blocking::commands::{Cont, Quit, Stop, SystemReset};
use qmp_blocking::events::Shutdown;
use qmp_blocking::{Builder, Client, Event, Events, Timestamp, printable};

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let (client, events, child) = match std::env::args().nth(1) {
        Some(address) => {
            // From the very first on: what happens between connecting and subscribing counts.
            let (client, events) = qmp_blocking::connect_with_events(&address)?;
            (client, events, None)
        }
        None => live()?,
    };
    let (mut birth, mut cause) = (None, String::new());
    for event in events {
        match event {
            Ok(event) => {
                let time = event.timestamp().map_or(f64::NAN, seconds);
                println!("{:7.3} s  {}", time - *birth.get_or_insert(time), text(&event));
                // Some events have types. A shutdown need not be the end: see `-no-shutdown`.
                if let Some(shutdown) = event.parse_as::<Shutdown>() {
                    cause = format!(", {:?}", shutdown?.reason);
                }
            }
            // Who is slower than the machine talks loses the oldest, and is told how many.
            Err(lagged) => println!("{lagged}"),
        }
    }
    println!("the end: {}{cause}", client.closed());
    child.map_or(Ok(()), |mut child| child.wait().map(drop))?;
    Ok(())
}

/// By the server's clock. An event may come late, with its time.
fn seconds(at: Timestamp) -> f64 {
    at.seconds as f64 + at.microseconds as f64 / 1e6
}

fn text(event: &Event) -> String {
    let name = printable(event.name());
    event.data().map_or(name.to_string(), |data| format!("{name} {}", data.display()))
}

fn live() -> Result<(Client, Events, Option<Child>), Box<dyn Error>> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "none", "-nodefaults", "-display", "none", "-S"]);
    let (client, events, child) = Builder::new().spawn_with_events(qemu)?;
    client.execute(&Cont)?;
    client.execute(&Stop)?;
    client.execute(&SystemReset)?;
    client.execute(&Quit)?;
    Ok((client, events, Some(child)))
}
