//! A fleet of machines on one thread: connects to all, starts and stops them, hears their events, ends them.
//!
//! ```sh
//! cargo run -p qmp-smol --example fleet            # 200 embedded machines, in this process
//! cargo run -p qmp-smol --example fleet -- 50 qemu # 50 QEMUs, as its children
//! ```
//! ```text
//! 200 connected      58 ms
//! events: {"RESUME": 200, "SHUTDOWN": 200, "STOP": 200}
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::process::ExitCode;
use std::time::Instant;

use qmp_server::Machine;
use qmp_server::net;
use qmp_smol::commands::{Cont, Quit, Stop};
use qmp_smol::process::{Child, Command};
use qmp_smol::{Builder, Client, Events};
use smol::stream::{self, StreamExt};

type Failure = Box<dyn Error + Send + Sync>;
type Member = (Client, Events, Option<Child>);

const USAGE: &str = "usage: fleet [NUMBER [qemu]]";

fn main() -> ExitCode {
    let Err(error) = smol::block_on(run()) else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().map_or(Ok(200), |size| size.parse()).map_err(|_| USAGE)?;
    let qemu =
        arguments.next().map_or(Ok(false), |kind| (kind == "qemu").then_some(true).ok_or(USAGE))?;
    let fleet = all("connected", (0..size).map(|_| member(qemu))).await?;
    all("running", fleet.iter().map(|(client, ..)| client.execute(&Cont))).await?;
    all("paused", fleet.iter().map(|(client, ..)| client.execute(&Stop))).await?;
    all("told to quit", fleet.iter().map(|(client, ..)| client.execute(&Quit))).await?;
    let mut counts = BTreeMap::new();
    for (_client, mut events, child) in fleet {
        // They have waited in a queue of their own, which is bounded; a reply waits for nobody's.
        while let Some(event) = events.next().await {
            *counts.entry(event?.name().to_owned()).or_insert(0) += 1;
        }
        let Some(mut child) = child else { continue };
        child.status().await?;
    }
    println!("events: {counts:?}");
    Ok(())
}

/// Does it for all at once, and waits for all.
async fn all<T: Send + 'static, E: Send + 'static>(
    done: &str,
    each: impl Iterator<Item = impl Future<Output = Result<T, E>> + Send + 'static>,
) -> Result<Vec<T>, E> {
    let start = Instant::now();
    let tasks: Vec<_> = each.map(smol::spawn).collect();
    let results: Vec<T> = stream::iter(tasks).then(|task| task).try_collect().await?;
    println!("{} {done:<12} {:>5} ms", results.len(), start.elapsed().as_millis());
    Ok(results)
}

async fn member(qemu: bool) -> Result<Member, Failure> {
    if !qemu {
        let machine = net::connect_machine(Machine::new())?;
        let (client, events) = Builder::new().from_stream_with_events(machine).await?;
        return Ok((client, events, None));
    }
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "none", "-nodefaults", "-display", "none", "-S"]).kill_on_drop(true);
    let (client, events, child) = Builder::new().spawn_with_events(qemu).await?;
    Ok((client, events, Some(child)))
}
