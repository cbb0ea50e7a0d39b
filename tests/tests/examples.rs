//! The examples that have no file of tests of their own, against the embedded machine and real QEMU.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::os::fd::OwnedFd;
use std::time::Instant;

use qmp_blocking::commands::{Quit, SystemReset};
use qmp_blocking::{CommandError, Empty, ErrorClass, Event, Raw, Timestamp};
use qmp_server::Machine;
use qmp_server::net::Server;
use qmp_tests::example::{Example, run};
use qmp_tests::qemu::{DEADLINE, Monitor, Setup, patient};
use serde_json::{Value, json};

/// What an example prints until it ends, which it has to do well.
#[track_caller]
fn told(example: Example) -> Vec<String> {
    let (lines, status) = example.end();
    assert!(status.success(), "{lines:?}");
    lines
}

/// Serves a machine where a QEMU would be.
fn serve(machine: Machine<OwnedFd>) -> (Server, String) {
    let server = Server::bind("tcp:127.0.0.1:0", machine).unwrap();
    let address = server.address().to_string();
    (server, address)
}

/// A member of a command's arguments, which has to be a text.
fn text(arguments: &Raw, name: &str) -> Result<String, CommandError> {
    let arguments: Value = arguments.parse()?;
    let value = arguments[name].as_str().map(str::to_owned);
    value.ok_or_else(|| CommandError::generic(format!("{name} is missing")))
}

/// Does something again until it tells that this is enough.
#[track_caller]
fn until(mut enough: impl FnMut() -> bool) {
    let start = Instant::now();
    while !enough() {
        assert!(start.elapsed() < DEADLINE, "it takes too long");
        std::thread::yield_now();
    }
}

/// Lines but for their first word, a time.
fn without_times(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.trim_start().split_once(" s  ").unwrap().1).collect()
}

#[test]
fn events_shows_what_happens_when_it_happens() {
    let (server, address) = serve(Machine::new());
    let example = Example::start("events", &[&address]);
    let event = |name, data, milliseconds: i64| {
        let microseconds = milliseconds % 1000 * 1000;
        Event::new(name, data, Timestamp { seconds: milliseconds / 1000, microseconds })
    };
    // Until it has come, nobody is told.
    until(|| server.event(&event("RESUME", None, 1_267_061_043_000)));
    assert_eq!(example.line(), "  0.000 s  RESUME");
    let data = Raw::from_static(r#"{"device": "d"}"#);
    assert!(server.event(&event("BLOCK_IO_ERROR", Some(&data), 1_267_061_044_500)));
    assert_eq!(example.line(), r#"  1.500 s  BLOCK_IO_ERROR {"device": "d"}"#);
    drop(server);
    let lines = told(example);
    assert_eq!(lines, ["the end: the server closed the connection"]);
}

#[test]
fn events_gives_a_qemu_of_its_own_a_life() {
    if Setup::bare().is_none() {
        return;
    }
    let lines = told(Example::start("events", &[]));
    let (end, events) = lines.split_last().unwrap();
    assert_eq!(end, "the end: closed after quit, HostQmpQuit");
    let events = without_times(events);
    assert_eq!(events[..2], ["RESUME", "STOP"]);
    assert!(events[2].starts_with("RESET {") && events[2].contains("host-qmp-system-reset"));
    assert!(events[3].starts_with("SHUTDOWN {") && events.len() == 4, "{events:?}");
}

#[test]
fn events_looks_on_at_an_address() {
    let Some(setup) = Setup::bare() else { return };
    let mut server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
    let [watched, other] = server.addresses() else { unreachable!() };
    let example = Example::start("events", &[&watched.to_string()]);
    let client = patient().connect(other).unwrap();
    // It has come when it has seen one.
    until(|| {
        client.execute(&SystemReset).unwrap();
        example.try_line().is_some()
    });
    client.execute(&Quit).unwrap();
    assert_eq!(
        told(example).last().unwrap(),
        "the end: the server closed the connection, HostQmpQuit"
    );
    assert!(server.wait().success());
}

/// A machine with a bus that USB devices come to and go from.
fn with_a_bus(deleted_first: bool) -> Machine<OwnedFd> {
    let mut machine = Machine::new();
    machine.on("device_add", |vm, arguments| {
        let driver = text(arguments, "driver")?;
        vm.event("ADDED", Some(&json!({ "driver": driver })));
        Ok(Empty {})
    });
    machine.on("qom-get", |_, arguments| {
        assert_eq!(text(arguments, "path")?, "/machine/peripheral/hotplug0");
        Ok(json!("usb-mouse"))
    });
    let mut there = true;
    machine.on("device_del", move |vm, arguments| {
        let id = text(arguments, "id")?;
        if !std::mem::take(&mut there) {
            let description = format!("Device '{id}' not found");
            return Err(CommandError::new(ErrorClass::DeviceNotFound, description));
        }
        // Another's, and its child's, which has no id.
        vm.event("DEVICE_DELETED", Some(&json!({"device": "other", "path": "/other"})));
        vm.event("DEVICE_DELETED", Some(&json!({"path": "/machine/peripheral/hotplug0/bus"})));
        let deleted = json!({"device": id, "path": "/machine/peripheral/hotplug0"});
        match deleted_first {
            true => vm.event("DEVICE_DELETED", Some(&deleted)),
            false => vm.event_later("DEVICE_DELETED", Some(&deleted)),
        }
        Ok(Empty {})
    });
    machine
}

#[test]
fn hotplug_waits_until_the_device_is_gone() {
    for deleted_first in [false, true] {
        let (_server, address) = serve(with_a_bus(deleted_first));
        let lines = told(Example::start("hotplug", &[&address, "usb-mouse"]));
        let expected = [
            "plugged in   usb-mouse as hotplug0, at /machine/peripheral/hotplug0",
            "plugged out  hotplug0 is gone",
            "asked again  DeviceNotFound: Device 'hotplug0' not found",
        ];
        assert_eq!(lines, expected, "{deleted_first}");
    }
}

#[test]
fn hotplug_plugs_into_a_qemu_of_its_own_or_another() {
    let Some(setup) = Setup::q35() else { return };
    let server = setup.args(["-device", "qemu-xhci"]).monitor(Monitor::Unix).start();
    let address = server.address().to_string();
    for (arguments, driver) in [(vec![], "usb-kbd"), (vec![&*address, "usb-tablet"], "usb-tablet")]
    {
        let lines = told(Example::start("hotplug", &arguments));
        let first = format!("plugged in   {driver} as hotplug0, at /machine/peripheral/hotplug0");
        assert_eq!(lines[0], first);
        assert_eq!(lines[1], "plugged out  hotplug0 is gone");
        assert!(lines[2].starts_with("asked again  DeviceNotFound: "), "{lines:?}");
    }
    let (lines, status) = Example::start("hotplug", &[&*address, "no-such-device"]).end();
    assert!(!status.success() && lines.is_empty(), "{lines:?}");
}

/// A machine whose job ends after so many looks at it, and how.
fn with_a_job(looks: u64, error: Option<&'static str>) -> Machine<OwnedFd> {
    let mut machine = Machine::new();
    for name in ["blockdev-add", "blockdev-del"] {
        machine.on(name, |_, arguments| text(arguments, "node-name").map(|_| Empty {}));
    }
    machine.on("blockdev-backup", |vm, arguments| {
        let id = text(arguments, "job-id")?;
        for status in ["created", "running"] {
            vm.event("JOB_STATUS_CHANGE", Some(&json!({"id": id, "status": status})));
        }
        Ok(Empty {})
    });
    let mut looked = 0;
    machine.on("query-jobs", move |_, _| {
        looked += 1;
        let status = if looked < looks { "running" } else { "concluded" };
        let mut job = json!({"id": "copy", "type": "backup", "status": status});
        job["total-progress"] = (256_u64 << 20).into();
        job["current-progress"] = ((256_u64 << 20) * looked.min(looks) / looks).into();
        if let (Some(error), "concluded") = (error, status) {
            job["error"] = error.into();
        }
        Ok(json!([{"id": "another", "type": "stream", "status": "running",
            "current-progress": 0, "total-progress": 1}, job]))
    });
    machine.on("job-dismiss", |_, arguments| {
        assert_eq!(text(arguments, "id")?, "copy");
        Ok(Empty {})
    });
    machine
}

#[test]
fn job_follows_a_job_to_its_end() {
    let (_server, address) = serve(with_a_job(5, None));
    let lines = told(Example::start("job", &[&address]));
    assert_eq!(lines, ["copied 268435456 of 268435456 bytes"]);

    let (_server, address) = serve(with_a_job(3, Some("No space left on device")));
    let (_, status) = Example::start("job", &[&address]).end();
    assert!(!status.success());
}

#[test]
fn job_copies_in_qemu_and_in_its_storage_daemon() {
    let Some(setup) = Setup::storage_daemon() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let address = server.address().to_string();
    // Twice at the second: the first leaves nothing behind.
    for arguments in [vec![], vec![&*address], vec![&*address]] {
        let lines = told(Example::start("job", &arguments));
        assert_eq!(lines, ["copied 268435456 of 268435456 bytes"]);
    }
}

#[test]
fn fleet_drives_200_embedded_machines_and_some_qemus() {
    fn check(lines: &[String], size: u32) {
        for (line, done) in lines.iter().zip(["connected", "running", "paused", "told to quit"]) {
            assert!(line.starts_with(&format!("{size} {done}")), "{lines:?}");
        }
        let events = format!(r#"events: {{"RESUME": {size}, "SHUTDOWN": {size}, "STOP": {size}}}"#);
        assert_eq!(lines[4..], [events]);
    }
    check(&told(Example::start("fleet", &[])), 200);
    if Setup::bare().is_some() {
        check(&told(Example::start("fleet", &["8", "qemu"])), 8);
    }
}

#[test]
fn those_that_need_an_address_say_so() {
    for name in ["mio_loop", "record", "share", "tokio"] {
        let output = run(name, &[]);
        let usage = format!("usage: {name} ");
        assert!(output.stderr.starts_with(usage.as_bytes()), "{output:?}");
        assert_eq!((output.stdout.len(), output.status.code()), (0, Some(2)), "{name}");
    }
}

#[test]
fn mio_loop_listens_to_several_monitors_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["0", "1"].map(|name| folder.path().join(name));
    let [quiet, talks] =
        paths.each_ref().map(|path| Server::bind(&**path, Machine::new()).unwrap());
    let arguments = paths.each_ref().map(|path| path.to_str().unwrap());
    let example = Example::start("mio_loop", &arguments);
    let mut begun: Vec<_> = (0..4).map(|_| example.line()).collect();
    begun.sort();
    for (number, lines) in ["0: ", "1: "].iter().zip(begun.chunks(2)) {
        assert_eq!(lines[0], format!("{number}ready"));
        assert!(lines[1].starts_with(&format!(r#"{number}{{"status": "prelaunch""#)), "{lines:?}");
    }
    let at = Timestamp { seconds: 1_267_061_043, microseconds: 0 };
    assert!(talks.event(&Event::new("STOP", None, at)));
    assert_eq!(example.line(), "1: STOP");
    drop(quiet);
    assert_eq!(example.line(), "0: the server closed the connection");
    // It goes on with the other.
    assert!(talks.event(&Event::new("RESUME", None, at)));
    assert_eq!(example.line(), "1: RESUME");
    drop(talks);
    assert_eq!(told(example), ["1: the server closed the connection"]);
}

#[test]
fn mio_loop_listens_to_a_qemu() {
    let Some(setup) = Setup::bare() else { return };
    let mut server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
    let path = server.address().to_string();
    let example = Example::start("mio_loop", &[path.strip_prefix("unix:").unwrap()]);
    assert_eq!(example.line(), "0: ready");
    assert!(example.line().contains("prelaunch"));
    patient().connect(&server.addresses()[1]).unwrap().execute(&Quit).unwrap();
    assert_eq!(told(example), ["0: SHUTDOWN", "0: the server closed the connection"]);
    assert!(server.wait().success());
}

#[test]
fn tokio_drives_the_embedded_machine_and_a_qemu() {
    fn check(address: &str) {
        let lines = told(Example::start("tokio", &[address]));
        assert_eq!(lines, ["status Paused", "event RESUME", "event STOP"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::bind(folder.path().join("qmp.sock"), Machine::new()).unwrap();
    check(&server.address().to_string());
    if let Some(setup) = Setup::bare() {
        check(&setup.monitor(Monitor::Unix).start().address().to_string());
    }
}
