//! Replies that are large, or deep.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use qmp_blocking::commands::{HumanMonitorCommand, QueryQmpSchema, QueryStatus};
use qmp_blocking::{Client, CloseReason, Error};
use qmp_proto::Violation;
use qmp_tests::qemu::{Monitor, Setup, find, patient};
use serde_json::Value;

/// Prints a million bytes of the guest's memory.
const DUMP: HumanMonitorCommand<'_> =
    HumanMonitorCommand { command_line: "xp /1000000bx 0", cpu_index: None };

fn check_dump(client: &Client) {
    let dump = client.execute(&DUMP).unwrap();
    assert_eq!(dump.matches(" 0x").count(), 1_000_000);
    assert_eq!(dump.lines().count(), 125_000);
    // Eight bytes a line, each as 0x00, after the address: of 16 digits, at QEMU 11.1 of 8.
    let (address, _) = dump.split_once(':').unwrap();
    assert!(matches!(address, "0000000000000000" | "00000000"), "{address}");
    let line = format!("{address}: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\r\n").len();
    assert_eq!(dump.len(), 125_000 * line);
}

#[test]
fn c3_8_mb_in_one_line_over_unix_and_tcp_and_fifos() {
    let Some(setup) = Setup::q35() else { return };
    let setup = setup.monitor(Monitor::Unix).monitor(Monitor::Tcp).monitor(Monitor::Pipe);
    let server = setup.start();
    for address in server.addresses() {
        check_dump(&patient().connect(address).unwrap());
    }
}

#[test]
fn c13_large_and_small_replies_of_many_threads() {
    let Some(setup) = Setup::q35() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| check_dump(&client));
        }
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    client.execute(&QueryStatus).unwrap();
                    let schema = client.execute(&QueryQmpSchema).unwrap();
                    assert!(schema.parse::<Vec<Value>>().unwrap().len() > 100);
                }
            });
        }
    });
}

#[test]
fn c3_a_reply_beyond_the_limit_ends_the_connection_and_names_the_limit() {
    let Some(setup) = Setup::q35() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = patient().max_message(1 << 20).connect(server.address()).unwrap();
    client.execute(&QueryQmpSchema).unwrap();
    let too_large = CloseReason::Violation(Violation::TooLarge { limit: 1 << 20 });
    assert_eq!(client.execute(&DUMP).unwrap_err(), Error::Unanswered(too_large.clone()));
    assert_eq!(client.close_reason(), Some(too_large));
    // The server serves the next one.
    check_dump(&server.connect());
}

#[test]
fn c2_the_schema_pretty_printed_is_the_same() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).pretty().monitor(Monitor::Unix).start();
    let schemas = server.addresses().iter().map(|address| {
        let client = patient().connect(address).unwrap();
        client.execute(&QueryQmpSchema).unwrap()
    });
    let schemas: Vec<_> = schemas.collect();
    assert!(schemas[1].as_bytes().len() > 2 * schemas[0].as_bytes().len());
    assert_eq!(schemas[0].parse::<Value>().unwrap(), schemas[1].parse::<Value>().unwrap());
}

/// A chain of images, each on top of the one before; gives the last one.
fn make_chain(qemu_img: &Path, folder: &Path, length: usize) -> PathBuf {
    let name = |number: usize| format!("{number:03}.qcow2");
    let create = |arguments: &[&str]| {
        let mut command = Command::new(qemu_img);
        command.args(["create", "-q", "-f", "qcow2"]).args(arguments).current_dir(folder);
        assert!(command.status().unwrap().success());
    };
    create(&[&name(0), "1M"]);
    create(&["-F", "qcow2", "-b", &name(0), &name(1)]);
    // The others are like the second one, but for the name of what is below them.
    let second = std::fs::read(folder.join(name(1))).unwrap();
    let below = name(0);
    let at = second.windows(below.len()).position(|window| window == below.as_bytes()).unwrap();
    for number in 2..length {
        let mut image = second.clone();
        image[at..at + below.len()].copy_from_slice(name(number - 1).as_bytes());
        std::fs::write(folder.join(name(number)), image).unwrap();
    }
    folder.join(name(length - 1))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[test]
fn c4_a_chain_of_200_images_is_decoded_on_a_small_stack() {
    let Some(setup) = Setup::bare() else { return };
    let Some(qemu_img) = find("qemu-img") else { return };
    let last = make_chain(&qemu_img, setup.folder(), 200);
    let drive = format!("file={},format=qcow2,if=none,id=deep", last.display());
    let server = setup.args(["-drive", &drive]).monitor(Monitor::Unix).start();
    let client = server.connect();
    let small = thread::Builder::new().stack_size(2 << 20);
    let decoded = small.spawn(move || {
        let raw = client.query("block").unwrap();
        let value: Value = raw.parse().unwrap();
        let image = &value[0]["inserted"]["image"];
        assert_eq!(image["filename"], last.to_str().unwrap());
        // It is dropped here too, which takes stack as well.
        depth(&value)
    });
    let depth = decoded.unwrap().join().unwrap();
    assert!(depth > 200, "{depth}");
}
