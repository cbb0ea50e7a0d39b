//! Many commands, and every typed one, with a real QEMU.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fs::File;
use std::sync::Mutex;
use std::thread;

use qmp_blocking::commands::{
    AddFd, Closefd, Cont, DeviceAdd, DeviceDel, Getfd, HumanMonitorCommand, QueryCommands,
    QueryFdsets, QueryName, QueryQmpSchema, QueryStatus, QueryVersion, Quit, RunState, Stop,
    SystemPowerdown, SystemReset,
};
use qmp_blocking::events::DeviceDeleted;
use qmp_blocking::{Client, Command, Error, ErrorClass, Refusal, Request};
use qmp_tests::qemu::{Monitor, Setup, patient};

/// Prints numbers with the human monitor's calculator; each comes back in hexadecimal.
fn print_numbers(client: &Client, numbers: impl Iterator<Item = u32>) {
    for number in numbers {
        let command_line = &format!("print {number}");
        let printed = client.execute(&HumanMonitorCommand { command_line, cpu_index: None });
        assert_eq!(printed.unwrap(), format!("{number:#x}\r\n"));
    }
}

#[test]
fn c13_10000_commands_of_8_threads_each_with_its_own_reply() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    thread::scope(|scope| {
        for part in 0..8 {
            let client = client.clone();
            scope.spawn(move || print_numbers(&client, (1..).skip(part * 1250).take(1250)));
        }
    });
    client.wait_idle(qmp_tests::qemu::DEADLINE).unwrap();
}

#[test]
fn c13_with_oob_and_over_tcp() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor_with(Monitor::Tcp, ",delay=off").start();
    let client = patient().oob(true).connect(server.address()).unwrap();
    thread::scope(|scope| {
        for part in 0..8 {
            let client = client.clone();
            scope.spawn(move || print_numbers(&client, (1..).skip(part * 250).take(250)));
        }
    });
}

#[test]
fn errors_are_told_by_class_and_the_connection_goes_on() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    let class = |request: Request<serde_json::Value, _>| match client.execute_request(request) {
        Err(Error::Command(error)) => error.class,
        other => panic!("{other:?}"),
    };
    let none = serde_json::json!({});
    let unknown = Request::new("no-such-command").arguments(none);
    assert_eq!(class(unknown), ErrorClass::CommandNotFound);
    let missing = Request::new("device_del").arguments(serde_json::json!({"id": "nobody"}));
    assert_eq!(class(missing), ErrorClass::DeviceNotFound);
    let wrong_type = Request::new("device_del").arguments(serde_json::json!({"id": 1}));
    assert_eq!(class(wrong_type), ErrorClass::GenericError);
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Prelaunch);
}

/// Strings that are written in many ways go there and come back as they were.
#[test]
fn text_survives_the_way_there_and_back() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    for text in ["", "plain", "\"\\/\u{8}\u{c}\n\r\t", "\u{1}\u{1f}\u{7f}", "äß€", "\u{1f980}"]
    {
        let fdname = &format!("f{text}");
        client.execute_with_fd(&Getfd { fdname }, File::open("/dev/null").unwrap()).unwrap();
        // It is known under exactly this name.
        client.execute(&Closefd { fdname }).unwrap();
        let Err(Error::Command(error)) = client.execute(&Closefd { fdname }) else {
            panic!("{text:?} was closed twice")
        };
        assert!(error.desc.contains(fdname), "{error}");
    }
}

/// Each is answered with its own id, or it would not be told that its argument is too many.
#[test]
fn c6_what_qemu_does_not_read_is_what_is_refused() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = &server.connect();
    let outcome = |scalar: &str| {
        let arguments = format!(r#"{{"x":{scalar}}}"#);
        let request = Request::new("query-name").raw_arguments(&arguments)?;
        client.execute_request(request)
    };
    let read = [
        "0",
        "-0",
        "1",
        "-1",
        "0.0",
        "-0.0",
        "0.5",
        "-0.5",
        "0.0e1",
        "-0.0E-1",
        "0.5e+1",
        "10e1",
        "100E-1",
        "-20e0",
        "1e5",
        "1E5",
        "1e+5",
        "1e-5",
        "1.50e10",
        "1e400",
        "-1e400",
        "1e-400",
        "5e-324",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890123456789012345678901234567890",
        "true",
        "false",
        "null",
        r#""""#,
        r#""0e1""#,
        r#""\u0000""#,
        r#""\ud83d\ude00""#,
        r#""\/\b\f""#,
        "[]",
        "{}",
        "[0]",
        "[1e1,0.0e0]",
    ];
    thread::scope(|scope| {
        for scalar in read {
            // Beside each other: an answer without an id would end the connection.
            scope.spawn(move || match outcome(scalar) {
                Err(Error::Command(error)) => {
                    assert_eq!(error.class, ErrorClass::GenericError, "{scalar}");
                    assert!(error.desc.contains("'x' is unexpected"), "{scalar}: {error}");
                }
                other => panic!("{scalar}: {other:?}"),
            });
        }
    });
    let refused = [
        "0e1",
        "-0e1",
        "0E5",
        "-0E5",
        "0e-1",
        "0e+1",
        "0e0",
        "-0E+0",
        "[0e1]",
        r#"{"a":0e1}"#,
        r#""\ud800""#,
        r#""\uffff""#,
    ];
    for scalar in refused {
        let outcome = outcome(scalar);
        let Err(Error::Refused(Refusal::InvalidJson(_))) = outcome else {
            panic!("{scalar}: {outcome:?}")
        };
    }
    assert_eq!(client.close_reason(), None);
}

/// Executes commands and notes their names.
struct Noting<'a> {
    client: &'a Client,
    names: Mutex<Vec<&'static str>>,
}

impl Noting<'_> {
    fn note<C: Command>(&self, _: &C) {
        self.names.lock().unwrap().push(C::NAME);
    }

    #[track_caller]
    fn execute<C: Command>(&self, command: &C) -> C::Return {
        self.note(command);
        self.client.execute(command).unwrap()
    }
}

#[test]
fn every_typed_command_is_understood_and_its_return_too() {
    let Some(setup) = Setup::q35() else { return };
    let setup = setup.args(["-name", "some machine", "-device", "qemu-xhci,id=xhci"]);
    let server = setup.monitor(Monitor::Unix).start();
    let client = &server.connect();
    let noting = Noting { client, names: Mutex::default() };
    queries(&noting);
    run_states(&noting);
    devices(&noting);
    descriptors(&noting);
    noting.execute(&Quit);

    let mut names = noting.names.into_inner().unwrap();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, typed_commands(), "a typed command is not tried here");
}

fn queries(noting: &Noting<'_>) {
    let version = noting.execute(&QueryVersion);
    assert_eq!(noting.client.greeting().version.as_ref(), Some(&version));
    assert_eq!(noting.execute(&QueryName).name.as_deref(), Some("some machine"));
    let known = noting.execute(&QueryCommands);
    for name in typed_commands() {
        assert!(known.iter().any(|command| command.name == name), "{name} is unknown to QEMU");
    }
    let schema = noting.execute(&QueryQmpSchema);
    let entries: Vec<serde_json::Value> = schema.parse().unwrap();
    assert!(entries.len() > 100, "{}", entries.len());
    let command_line = "info status";
    let printed = noting.execute(&HumanMonitorCommand { command_line, cpu_index: Some(0) });
    assert!(printed.starts_with("VM status: paused"), "{printed}");
}

fn run_states(noting: &Noting<'_>) {
    assert_eq!(noting.execute(&QueryStatus).status, RunState::Prelaunch);
    noting.execute(&Cont);
    let status = noting.execute(&QueryStatus);
    assert_eq!((status.status, status.running), (RunState::Running, true));
    noting.execute(&Stop);
    assert_eq!(noting.execute(&QueryStatus).status, RunState::Paused);
    noting.execute(&SystemReset);
    noting.execute(&SystemPowerdown);
}

fn devices(noting: &Noting<'_>) {
    let properties = serde_json::Map::from_iter([("serial".to_owned(), "123".into())]);
    let (id, bus) = (Some("tablet"), Some("xhci.0"));
    noting.execute(&DeviceAdd { driver: "usb-tablet", id, bus, properties });
    let gone = DeviceDel { id: "tablet" };
    let is_it = |event: &qmp_blocking::Event| {
        let deleted = event.parse_as::<DeviceDeleted>();
        deleted.is_some_and(|deleted| deleted.unwrap().device.as_deref() == Some("tablet"))
    };
    noting.client.execute_until(&gone, is_it).unwrap();
    noting.note(&gone);
}

fn descriptors(noting: &Noting<'_>) {
    let file = || File::open("/dev/null").unwrap();
    let getfd = Getfd { fdname: "null" };
    noting.client.execute_with_fd(&getfd, file()).unwrap();
    noting.note(&getfd);
    noting.execute(&Closefd { fdname: "null" });
    let add_fd = AddFd { fdset_id: Some(7), opaque: Some("nothing") };
    let added = noting.client.execute_with_fd(&add_fd, file()).unwrap();
    noting.note(&add_fd);
    let sets = noting.execute(&QueryFdsets);
    assert_eq!((sets.len(), sets[0].fdset_id, added.fdset_id), (1, 7, 7));
    assert_eq!(sets[0].fds[0].fd, added.fd);
    assert_eq!(sets[0].fds[0].opaque.as_deref(), Some("nothing"));
}

/// The names of all commands that have a type, out of the source itself.
fn typed_commands() -> Vec<&'static str> {
    let source = include_str!("../../qmp-proto/src/commands.rs");
    let names = source.lines().filter_map(|line| {
        line.trim().strip_prefix("const NAME: &'static str = \"")?.strip_suffix("\";")
    });
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    assert!(names.len() >= 17, "{names:?}");
    names
}
