//! What the README of the Ruby library shows, line by line: the Ruby stands above each line of Rust.
//!
//! Without an argument it starts a QEMU of its own with a CD in it; where none is installed, it takes
//! the machine that comes with this crate. With one, it drives the QEMU at that address, which is
//! what stands behind `-qmp` there. Note that the last thing it does there is `quit`.

use std::error::Error;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitCode};

use qmp_blocking::commands::{Cont, Quit, Stop};
use qmp_blocking::server::{self, Machine};
use qmp_blocking::{Client, CommandError, ConnectError, Empty, Raw, Request};
use serde_json::json;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
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
    api.on_any_event(|event| println!("event     {}", event.name())).detach();

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
    match outcome.as_ref().map(Raw::as_str) {
        Ok(Ok(json)) => json.to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    }
}

fn with_a_qemu_of_its_own() -> Result<(), Box<dyn Error>> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "pc", "-accel", "tcg", "-m", "64M", "-nodefaults", "-display", "none"]);
    qemu.args(["-S", "-drive", "if=ide,index=2,media=cdrom,format=raw,file.driver=null-co"]);
    match qmp_blocking::spawn(qemu) {
        Ok((client, mut child)) => {
            println!("started qemu-system-x86_64");
            session(&client)?;
            println!("QEMU      {}", child.wait()?);
        }
        Err(ConnectError::NotStarted { error, .. }) if error.kind() == ErrorKind::NotFound => {
            println!("no qemu-system-x86_64 here: using the embedded machine");
            session(&qmp_blocking::from_stream(server::connect_machine(with_a_cd())?)?)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The embedded machine, with what of a CD drive this program asks for.
fn with_a_cd() -> Machine<OwnedFd> {
    let mut machine = Machine::new();
    machine.on("query-block", |_, _| Ok(json!([{"device": "ide1-cd0", "removable": true}])));
    machine.on("eject", |vm, arguments| {
        let arguments: serde_json::Value = arguments.parse()?;
        if arguments["device"] != "ide1-cd0" {
            return Err(CommandError::generic("no such device"));
        }
        let moved = json!({"device": "ide1-cd0", "id": "/machine/cd", "tray-open": true});
        vm.event("DEVICE_TRAY_MOVED", Some(&moved));
        Ok(Empty {})
    });
    machine
}
