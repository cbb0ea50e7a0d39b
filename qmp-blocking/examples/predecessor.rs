//! What the README of the Ruby library shows, line by line: the Ruby stands above each line of Rust.
//! `cargo run -p qmp-blocking --example predecessor` starts a QEMU with a CD in it. With
//! `-- tcp:localhost:4444` it drives the QEMU there, and quits it. It prints replies and events.

use std::error::Error;
use std::process::{Command, ExitCode};

use qmp_blocking::commands::{Cont, Quit, Stop};
use qmp_blocking::{Client, Raw, Request, printable};
use serde_json::json;

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        // QMPClient::connect_tcp('localhost', 4444) do |api|
        //   …
        // end
        Some(address) => qmp_blocking::scope(&address, session)??,
        None => with_a_qemu_of_its_own()?,
    }
    Ok(())
}

fn session(api: &Client) -> Result<(), qmp_blocking::Error> {
    // api.on_event('BLOCK_IO_ERROR') { |e| puts e }
    api.on_event("BLOCK_IO_ERROR", |event| println!("disk      {event:?}")).detach();
    // Several for one event, and one for all of them.
    api.on_event("STOP", |_| println!("stopped")).detach();
    api.on_any_event(|event| println!("event     {}", printable(event.name()))).detach();

    // puts api.sync_query('status')
    println!("status    {}", text(api.query("status")));

    // api.query('block') { |m| puts m }
    api.query_then("block", |blocks| println!("block     {}", text(blocks)))?;

    // api.command('eject', 'device' => 'ide1-cd0') { |m| puts m }
    let eject = Request::new("eject").arguments(json!({"device": "ide1-cd0"}));
    api.submit_request(eject, |outcome| println!("eject     {}", text(outcome)))?;

    // api.command('cont')
    api.submit(&Cont, drop)?;
    // api.command('stop') { |m| puts m }
    api.submit(&Stop, |outcome| println!("stop      {}", outcome.is_ok()))?;

    // api.wait
    api.wait_idle(None)?;
    println!("waited");

    // api.command('quit')
    api.submit(&Quit, drop)?;
    println!("the end   {}", api.closed());
    // What the block's end does in Ruby, and the scope's does here.
    api.wait_idle(None)
}

/// A reply as text, or why there is none.
fn text(outcome: Result<Raw, qmp_blocking::Error>) -> String {
    outcome.map_or_else(|error| error.to_string(), |reply| reply.display().to_string())
}

fn with_a_qemu_of_its_own() -> Result<(), Box<dyn Error>> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "pc", "-accel", "tcg", "-m", "64M", "-nodefaults", "-display", "none"]);
    qemu.args(["-S", "-drive", "if=ide,index=2,media=cdrom,format=raw,file.driver=null-co"]);
    let (client, mut child) = qmp_blocking::spawn(qemu)?;
    session(&client)?;
    println!("QEMU      {}", child.wait()?);
    Ok(())
}
