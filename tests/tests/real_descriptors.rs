//! Descriptors arrive, each with its own command, and are the files that were sent.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use qmp_blocking::commands::{AddFd, Closefd, Getfd, QueryFdsets, QueryStatus};
use qmp_blocking::{Client, Error, ErrorClass, Refusal};
use qmp_tests::qemu::{Monitor, Server, Setup, patient};

const FILES: usize = 40;
const THREADS: usize = 8;

fn file_named(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("file {number}"))
}

/// Adds files from many threads, with other commands between them.
fn add_files(client: &Client, folder: &Path) {
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                for number in (first..FILES).step_by(THREADS) {
                    let path = file_named(folder, number);
                    fs::write(&path, format!("content {number}")).unwrap();
                    let opaque = &path.to_str().unwrap();
                    let command = AddFd { fdset_id: None, opaque: Some(opaque) };
                    client.execute_with_fd(&command, File::open(&path).unwrap()).unwrap();
                    client.execute(&QueryStatus).unwrap();
                }
            });
        }
    });
}

/// Each file is there exactly once, under its own name, and is what it should be.
fn check_files(client: &Client, server: &mut Server) {
    let pid = server.child().id();
    let mut descriptors = HashMap::new();
    for set in client.execute(&QueryFdsets).unwrap() {
        for descriptor in set.fds {
            let twice = descriptors.insert(descriptor.opaque.unwrap(), descriptor.fd);
            assert_eq!(twice, None);
        }
    }
    assert_eq!(descriptors.len(), FILES);
    for number in 0..FILES {
        let path = file_named(server.folder(), number);
        let fd = descriptors[path.to_str().unwrap()];
        let theirs = format!("/proc/{pid}/fd/{fd}");
        assert_eq!(fs::read_link(&theirs).unwrap(), path);
        assert_eq!(fs::read_to_string(&theirs).unwrap(), format!("content {number}"));
    }
}

fn add_and_check(oob: bool) {
    let Some(setup) = Setup::bare() else { return };
    let mut server = setup.monitor(Monitor::Unix).start();
    let client = patient().oob(oob).connect(server.address()).unwrap();
    add_files(&client, server.folder());
    check_files(&client, &mut server);
    // They stay when the client goes, as the machine does not run: QEMU 7.2 closes unused ones of one that does.
    drop(client);
    check_files(&server.connect(), &mut server);
}

#[test]
fn c11_40_files_of_8_threads_with_oob() {
    add_and_check(true);
}

#[test]
fn c11_40_files_of_8_threads_without_oob() {
    add_and_check(false);
}

#[test]
fn c11_40_files_over_the_socket_of_a_spawned_qemu() {
    let Some(setup) = Setup::bare() else { return };
    let (client, _, mut server) = setup.spawn(&patient().oob(true));
    add_files(&client, server.folder());
    check_files(&client, &mut server);
}

#[test]
fn c11_nothing_is_left_open_here() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let path = file_named(server.folder(), 0);
    fs::write(&path, "content").unwrap();
    let ours_open = || {
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == path)).count()
    };
    let client = server.connect();
    client.execute_with_fd(&Getfd { fdname: "f" }, File::open(&path).unwrap()).unwrap();
    // The server refuses this one, and closes it.
    let digit = client.execute_with_fd(&Getfd { fdname: "1" }, File::open(&path).unwrap());
    assert!(matches!(digit, Err(Error::Command(_))), "{digit:?}");
    assert_eq!(ours_open(), 0);
}

#[test]
fn c11_getfd_and_closefd() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    let class = |outcome| match outcome {
        Err(Error::Command(error)) => error.class,
        other => panic!("{other:?}"),
    };
    let null = || File::open("/dev/null").unwrap();
    // Without a descriptor the server has nothing to keep.
    assert_eq!(class(client.execute(&Getfd { fdname: "f" })), ErrorClass::GenericError);
    client.execute_with_fd(&Getfd { fdname: "f" }, null()).unwrap();
    // One of the same name replaces the first.
    client.execute_with_fd(&Getfd { fdname: "f" }, null()).unwrap();
    client.execute(&Closefd { fdname: "f" }).unwrap();
    assert_eq!(class(client.execute(&Closefd { fdname: "f" })), ErrorClass::GenericError);
}

/// Such a client goes on without them.
fn check_refused(client: &Client) {
    let file = File::open("/dev/null").unwrap();
    let refused = client.execute_with_fd(&AddFd::default(), file).unwrap_err();
    assert_eq!(refused, Error::Refused(Refusal::NoDescriptors));
    assert!(client.execute(&QueryFdsets).unwrap().is_empty());
}

#[test]
fn c11_over_tcp_they_are_refused_here() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Tcp).start();
    check_refused(&server.connect());
}

#[test]
fn c11_over_fifos_they_are_refused_here() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Pipe).start();
    check_refused(&server.connect());
}

#[test]
fn c11_over_any_pair_of_streams_they_are_refused_here() {
    let Some(setup) = Setup::bare() else { return };
    let mut setup = setup.args(["-qmp", "stdio"]);
    setup.command().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = setup.start_at_once();
    let (reader, writer) = (server.child().stdout.take(), server.child().stdin.take());
    check_refused(&patient().from_io(reader.unwrap(), writer.unwrap()).unwrap());
}
