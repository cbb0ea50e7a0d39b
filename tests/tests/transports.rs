//! The ways to a server beside a Unix socket's path: TCP, pipes, fifos, inherited descriptors.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;

use qmp_blocking::{
    Address, Builder, Client, CloseReason, ConnectError, Error, connect, connect_tcp, from_io,
    from_stream,
};
use qmp_tests::scripted::{PATIENCE, Peer, Server, event_text, pair, pipes, run};

/// The story: commands, some of them at once, an event, and the end.
fn script(peer: &mut Peer) {
    peer.greet();
    let [first, second] = [peer.command(), peer.command()];
    peer.reply(&second, &format!("\"{}\"", second.name));
    peer.event("STOP", "{}");
    peer.reply(&first, &format!("\"{}\"", first.name));
    let big = peer.expect("big");
    peer.reply(&big, &format!("\"{}\"", "x".repeat(1_000_000)));
    peer.expect_eof();
}

fn tell(client: Client) {
    let mut events = client.events();
    thread::scope(|scope| {
        for name in ["one", "two"] {
            let client = &client;
            let quoted = format!("\"{name}\"");
            scope.spawn(move || assert_eq!(run(client, name).unwrap().as_str(), Ok(&*quoted)));
        }
    });
    assert_eq!(events.next().unwrap().unwrap().name(), "STOP");
    assert_eq!(run(&client, "big").unwrap().as_str().unwrap().len(), 1_000_002);
    drop(client);
    assert!(events.next().is_none());
}

#[test]
fn tcp() {
    let server = Server::tcp(script);
    tell(connect(server.address()).unwrap());
    server.join();
    let server = Server::tcp(script);
    let Address::Tcp { host, port } = server.address().parse().unwrap() else { unreachable!() };
    tell(connect_tcp(host, port).unwrap());
    server.join();
}

#[test]
fn a_given_socket_in_either_mode() {
    for nonblocking in [false, true] {
        let (socket, script) = pair(script);
        socket.set_nonblocking(nonblocking).unwrap();
        tell(from_stream(socket).unwrap());
        script.join();
    }
}

#[test]
fn two_pipes() {
    let (reader, writer, script) = pipes(script);
    tell(from_io(reader, writer).unwrap());
    script.join();
}

#[test]
fn two_fifos() {
    let server = Server::fifos(|peer| {
        peer.greet();
        let command = peer.expect("stop");
        peer.reply(&command, "{}");
        peer.expect("last");
        // The end of a fifo is where nobody writes into it any more: QEMU has ended.
    });
    let client = connect(server.address()).unwrap();
    run(&client, "stop").unwrap();
    let error = run(&client, "last").unwrap_err();
    let ended = CloseReason::Eof { mid_message: false };
    assert_eq!(error, Error::Unanswered(ended));
    server.join();
}

#[test]
fn an_inherited_descriptor_by_its_number() {
    let (socket, script) = pair(script);
    let address = format!("fd:{}", socket.as_raw_fd());
    // A sandbox may forbid what this needs beyond 0, 1 and 2.
    match connect(&address) {
        Ok(client) => tell(client),
        Err(ConnectError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("left out: {error}");
            tell(from_stream(socket.try_clone().unwrap()).unwrap());
        }
        Err(error) => panic!("{error}"),
    }
    drop(socket);
    script.join();
}

#[test]
fn a_descriptor_that_is_not_open_is_an_error() {
    let error = connect("fd:1000000").unwrap_err();
    assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
}

/// What is given is taken, whatever it is; that it is no socket is found out.
#[test]
fn a_file_in_the_place_of_a_socket_is_an_error() {
    let file = tempfile::tempfile().unwrap();
    let error = Builder::new().from_stream(file).unwrap_err();
    assert!(matches!(error, ConnectError::Ended(CloseReason::Failed(_))), "{error:?}");
}

/// Reads what there is, and then fails.
struct Failing(io::Cursor<Vec<u8>>, mpsc::Receiver<()>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => {
                let _ = self.1.recv_timeout(PATIENCE);
                Err(io::Error::other("this reader fails"))
            }
            length => Ok(length),
        }
    }
}

#[test]
fn a_reader_that_fails_ends_the_connection() {
    // It greets, and does not wait for qmp_capabilities.
    let said = [qmp_tests::scripted::GREETING, &event_text("STOP", "{}")].concat();
    let (fail, may_fail) = mpsc::channel();
    fail.send(()).unwrap();
    let reader = Failing(io::Cursor::new(said.into_bytes()), may_fail);
    let error = from_io(reader, io::sink()).unwrap_err();
    assert!(matches!(error, ConnectError::Ended(_)), "{error:?}");
}

/// What it swallowed would never be answered.
#[test]
fn a_writer_that_fails_ends_the_connection() {
    let (closed, is_closed) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let (reader, writer, script) = pipes(move |peer| {
        peer.greet();
        peer.stop_reading();
        closed.send(()).unwrap();
        // The other pipe stays open all the while.
        has_ended.recv_timeout(PATIENCE).expect("the connection ends");
    });
    let client = from_io(reader, writer).unwrap();
    is_closed.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(run(&client, "stop"), Err(Error::Unanswered(_))));
    ended.send(()).unwrap();
    script.join();
}
