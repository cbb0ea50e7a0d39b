//! Plugs a device in and out again, and is sure that it is gone.
//!
//! `device_del` only asks. The device is gone when `DEVICE_DELETED` says so, which may come before the
//! reply, after it, or never: a PCI device needs a guest that agrees, a USB device does not.
//!
//! ```sh
//! cargo run -p qmp-blocking --example hotplug                                # a QEMU of its own
//! cargo run -p qmp-blocking --example hotplug -- unix:/tmp/vm.sock usb-mouse # one with `-device qemu-xhci`
//! ```
//!
//! ```text
//! plugged in   usb-kbd as hotplug0, at /machine/peripheral/hotplug0
//! plugged out  hotplug0 is gone
//! asked again  DeviceNotFound: Device 'hotplug0' not found
//! ```

use std::error::Error;
use std::process::{Command as Program, ExitCode};
use std::time::Duration;

use qmp_blocking::commands::{DeviceAdd, DeviceDel, Quit};
use qmp_blocking::events::DeviceDeleted;
use qmp_blocking::{Client, Command, Event, printable};

/// No type for `qom-get` comes with the crate. This is how to add one.
#[derive(serde::Serialize)]
struct QomGet<'a> {
    path: &'a str,
    property: &'a str,
}

impl Command for QomGet<'_> {
    const NAME: &'static str = "qom-get";
    type Return = String;
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    if let Some(address) = arguments.next() {
        let driver = arguments.next().unwrap_or("usb-kbd".to_owned());
        return Ok(plug(&qmp_blocking::connect(&address)?, &driver)?);
    }
    let mut qemu = Program::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", "tcg", "-m", "64M", "-nodefaults", "-display", "none"]);
    qemu.args(["-S", "-device", "qemu-xhci"]);
    let (client, mut child) = qmp_blocking::spawn(qemu)?;
    plug(&client, "usb-kbd")?;
    client.execute(&Quit)?;
    child.wait()?;
    Ok(())
}

fn plug(client: &Client, driver: &str) -> Result<(), qmp_blocking::Error> {
    let id = "hotplug0";
    client.execute(&DeviceAdd { driver, id: Some(id), ..Default::default() })?;
    let path = format!("/machine/peripheral/{id}");
    let kind = client.execute(&QomGet { path: &path, property: "type" })?;
    println!("plugged in   {} as {id}, at {path}", printable(&kind));

    // Not the event of another device, and none from before: that is what makes it safe.
    let gone = |event: &Event| matches!(event.parse_as::<DeviceDeleted>(), Some(Ok(it)) if it.device.as_deref() == Some(id));
    client.with_timeout(Duration::from_secs(10)).execute_until(&DeviceDel { id }, gone)?;
    println!("plugged out  {id} is gone");

    if let Err(error) = client.execute(&DeviceDel { id }) {
        println!("asked again  {error}");
    }
    Ok(())
}
