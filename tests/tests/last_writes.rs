//! A client that writes `quit` and its newline in two writes: no server of ours fails the second one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::Address;
use qmp_server::Machine;
use qmp_server::net;
use qmp_server::net::{Listener, Server};
use qmp_tests::qemu::{patient, within};
use qmp_tests::scripted::PATIENCE;

/// A client has a second for its last write. On a busy machine it may be late: then that round tells nothing.
const IN_TIME: Duration = Duration::from_millis(900);

/// What a test needs of a socket of either kind.
trait Stream: Read + Write + Send + 'static {}
impl<T: Read + Write + Send + 'static> Stream for T {}

fn connect(address: &Address) -> Box<dyn Stream> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Box::new(stream)
        }
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Box::new(stream)
        }
        other => panic!("{other}"),
    }
}

/// A server's address, and what has to be kept for it to serve.
type Served = (Address, Box<dyn std::any::Any>);

fn machine(address: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let address = address.replace("FOLDER", folder.path().to_str().unwrap());
    let server = Server::bind(&*address, Machine::new()).unwrap();
    (server.address().clone(), Box::new((server, folder)))
}

fn share() -> Served {
    let machine = net::connect_machine(Machine::new()).unwrap();
    let client = patient().from_stream(machine).unwrap();
    let listener = Listener::bind("tcp:127.0.0.1:0").unwrap();
    let address = listener.address().clone();
    thread::spawn(move || net::share(client, &listener, drop).unwrap());
    (address, Box::new(()))
}

fn relay() -> Served {
    let (address, kept) = machine("unix:FOLDER/qmp.sock");
    let Address::Unix(path) = address else { panic!() };
    let listener = Listener::bind("tcp:127.0.0.1:0").unwrap();
    let address = listener.address().clone();
    thread::spawn(move || {
        let client = listener.accept().unwrap().unwrap();
        let server = UnixStream::connect(path).unwrap();
        net::relay(client, server, |_, _| Ok(())).unwrap();
    });
    (address, kept)
}

fn replay() -> Served {
    let trace = r#"# QMP trace, version 1
0.000000 <- {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}
0.000000 -> {"execute": "qmp_capabilities"}
0.000000 <- {"return": {}}
0.000000 -> {"execute": "quit"}
0.000000 <- {"return": {}}
0.000000 <- --
"#;
    let trace = trace.parse().unwrap();
    let listener = Listener::bind("tcp:127.0.0.1:0").unwrap();
    let address = listener.address().clone();
    thread::spawn(move || net::replay(listener.accept().unwrap().unwrap(), trace));
    (address, Box::new(()))
}

/// Whether it was quick enough to tell anything.
fn quits_in_two_writes(serve: fn() -> Served, ends_first: bool) -> bool {
    let (address, _kept) = serve();
    let mut client = connect(&address);
    client.write_all(br#"{"execute": "qmp_capabilities"}"#).unwrap();
    let mut said = Vec::new();
    let mut read = |client: &mut Box<dyn Stream>, end: &dyn Fn(&[u8]) -> bool| {
        let mut piece = [0; 1000];
        while !end(&said) {
            let length = client.read(&mut piece).expect("no reset");
            said.extend_from_slice(&piece[..length]);
            if length == 0 {
                break;
            }
        }
        said.iter().filter(|byte| **byte == b'\n').count()
    };
    read(&mut client, &|said| said.ends_with(b"{\"return\": {}}\r\n"));
    let start = Instant::now();
    client.write_all(br#"{"execute": "quit"}"#).unwrap();
    if ends_first {
        read(&mut client, &|_| false);
    }
    // Over TCP the first write to a closed socket succeeds, and the second one fails.
    let written = client.write_all(b"\r").and_then(|()| client.write_all(b"\n"));
    let in_time = start.elapsed() < IN_TIME;
    if in_time {
        written.expect("the server still reads");
        assert!(read(&mut client, &|_| false) >= 3, "the reply is not lost");
    }
    in_time
}

#[track_caller]
fn many_rounds(serve: fn() -> Served) {
    for ends_first in [false, true] {
        let rounds = (0..1000).filter(|_| within(move || quits_in_two_writes(serve, ends_first)));
        assert_eq!(rounds.take(25).count(), 25);
    }
}

#[test]
fn c12_a_machine_at_a_unix_socket_reads_the_last_write() {
    many_rounds(|| machine("unix:FOLDER/qmp.sock"));
}

#[test]
fn c12_a_machine_at_a_tcp_port_reads_the_last_write() {
    many_rounds(|| machine("tcp:127.0.0.1:0"));
}

#[test]
fn c12_share_reads_the_last_write() {
    many_rounds(share);
}

#[test]
fn c12_relay_reads_the_last_write() {
    many_rounds(relay);
}

#[test]
fn c12_replay_reads_the_last_write() {
    many_rounds(replay);
}

/// A client that stays is not waited for for long.
#[test]
fn a_client_that_stays_does_not_keep_a_machine_that_was_quit() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::bind(folder.path().join("qmp.sock"), Machine::new()).unwrap();
    let mut client = connect(server.address());
    client.write_all(br#"{"execute": "qmp_capabilities"} {"execute": "quit"}"#).unwrap();
    within(|| server.wait()).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said.lines().count(), 4, "{said}");
}
