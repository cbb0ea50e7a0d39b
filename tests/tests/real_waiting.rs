//! Servers that are not there yet, or busy with somebody or something else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use qmp_blocking::commands::QueryStatus;
use qmp_blocking::{Address, Builder, Client, CloseReason, ConnectError, Error};
use qmp_tests::qemu::{Block, Monitor, Server, Setup, find, patient, within};

fn path_of(server: &Server) -> &std::path::Path {
    let Address::Unix(path) = server.address() else { unreachable!() };
    path
}

fn check(client: &Client) {
    client.execute(&QueryStatus).unwrap();
}

#[test]
fn c20_a_server_that_is_not_there_yet_is_waited_for() {
    // With wait=on it does not go on before a client has come.
    for (monitor, options) in
        [(Monitor::Unix, ",wait=on"), (Monitor::Abstract, ",wait=on"), (Monitor::Pipe, "")]
    {
        let Some(setup) = Setup::bare() else { return };
        let setup = setup.monitor_with(monitor, options);
        let address = setup.addresses()[0].clone();
        let begun = Barrier::new(2);
        thread::scope(|scope| {
            let connecting = scope.spawn(|| {
                begun.wait();
                patient().connect(&address).unwrap()
            });
            begun.wait();
            let server = setup.start_at_once();
            check(&connecting.join().unwrap());
            drop(server);
        });
    }
}

#[test]
fn c20_a_second_client_waits_until_the_first_leaves() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let first = server.connect();
    // In the backlog, where the server will find it.
    let stream = UnixStream::connect(path_of(&server)).unwrap();
    let ours = stream.try_clone().unwrap();
    ours.set_nonblocking(true).unwrap();
    for _ in 0..100 {
        check(&first);
    }
    let nothing_yet = (&ours).read(&mut [0]).unwrap_err();
    assert_eq!(nothing_yet.kind(), std::io::ErrorKind::WouldBlock);
    thread::scope(|scope| {
        let second = scope.spawn(|| patient().from_stream(stream).unwrap());
        check(&first);
        assert!(!second.is_finished());
        drop(first);
        check(&second.join().unwrap());
    });
}

#[test]
fn c20_a_full_backlog_is_waited_for_too() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let first = server.connect();
    let waiting = fill_backlog(path_of(&server));
    let hasty = Builder::new().deadline(Duration::from_millis(100));
    let error = hasty.connect(server.address()).unwrap_err();
    assert!(error.to_string().contains("backlog"), "{error}");
    thread::scope(|scope| {
        let late = scope.spawn(|| patient().connect(server.address()).unwrap());
        drop(waiting);
        check(&first);
        drop(first);
        check(&late.join().unwrap());
    });
}

/// Connects until there is no room for more.
fn fill_backlog(path: &std::path::Path) -> Vec<rustix::fd::OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let address = SocketAddrUnix::new(path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match rustix::net::connect(&socket, &address) {
            Ok(()) => waiting.push(socket),
            Err(error) => {
                assert_eq!(error, rustix::io::Errno::AGAIN);
                return waiting;
            }
        }
        assert!(waiting.len() < 10, "it has no end");
    }
}

#[test]
fn c6_the_reply_to_a_client_that_has_left_is_not_taken_for_ours() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let leaving = server.connect();
    let block = Block::new(&leaving, server.folder());
    assert_eq!(leaving.close(Duration::ZERO), Err(Error::StillBusy));
    let next = UnixStream::connect(path_of(&server)).unwrap();
    thread::scope(|scope| {
        let next = scope.spawn(|| patient().from_stream(next).unwrap());
        let outcome = block.release();
        assert_eq!(outcome.unwrap_err(), Error::Unanswered(CloseReason::Requested));
        let next = next.join().unwrap();
        for _ in 0..10 {
            check(&next);
        }
        // The command of the one that left has run.
        let nodes: Vec<serde_json::Value> =
            next.query("named-block-nodes").unwrap().parse().unwrap();
        assert!(nodes.iter().any(|node| node["node-name"] == "blocked"));
    });
}

#[test]
fn c20_a_guest_agent_gives_no_greeting() {
    let Some(agent) = find("qemu-ga") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent");
    let mut command = std::process::Command::new(agent);
    command.args(["-m", "unix-listen", "-p"]).arg(&path).arg("-t").arg(folder.path());
    let mut agent = KilledOnDrop(command.spawn().unwrap());
    let waited = within({
        let path = path.clone();
        move || patient().deadline(Duration::from_millis(500)).connect(Address::from(path))
    });
    let error = waited.unwrap_err();
    assert!(agent.0.try_wait().unwrap().is_none(), "it has ended");
    assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error}");
    assert!(error.to_string().contains("guest agent"), "{error}");
}

struct KilledOnDrop(std::process::Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
