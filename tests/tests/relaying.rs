//! A relay between a server and a client that leaves, or that says more than the server takes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use qmp_blocking::trace::Direction;
use qmp_server::net::relay;
use qmp_tests::qemu::within;
use qmp_tests::scripted::PATIENCE;

/// A relay, with the ends that the client and the server have.
struct Relayed {
    client: UnixStream,
    server: UnixStream,
    /// How many bytes it has seen from the client.
    seen: Arc<AtomicUsize>,
    /// Told when it has seen an end of the client's stream.
    ended: mpsc::Receiver<()>,
    relaying: JoinHandle<()>,
}

fn relayed() -> Relayed {
    let ((client, theirs), (its, server)) =
        (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    let (sender, ended) = mpsc::channel();
    let counted = seen.clone();
    let relaying = thread::spawn(move || {
        relay(theirs, its, |direction, bytes| {
            match (direction, bytes) {
                (Direction::ToServer, []) => sender.send(()).unwrap(),
                (Direction::ToServer, bytes) => {
                    counted.fetch_add(bytes.len(), Ordering::SeqCst);
                }
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    });
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    Relayed { client, server, seen, ended, relaying }
}

/// Writes until nothing more is taken for a while; tells how much was.
fn fill(client: &mut UnixStream) -> usize {
    client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut taken = 0;
    loop {
        match client.write(&[b'x'; 4096]) {
            Ok(length) => taken += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return taken,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Nobody reads it, and the relay holds no more than it reads at once.
#[test]
fn c3_a_client_that_says_much_has_to_wait() {
    let mut relayed = relayed();
    let taken = fill(&mut relayed.client);
    let seen = relayed.seen.load(Ordering::SeqCst);
    assert!(seen < taken, "what is in its socket is not read: {seen} of {taken}");
    let mut direct = UnixStream::pair().unwrap();
    let capacity = fill(&mut direct.0);
    // Two sockets, and what is on the way from one to the other. A socket holds up to twice as much in large pieces, as the
    // relay sends them.
    assert!(taken <= 4 * capacity + (64 << 10), "{taken} bytes, and a socket has {capacity}");
}

/// The server does not read, and it is not waited for on behalf of a client that is gone.
#[test]
fn what_a_client_that_is_gone_has_said_is_dropped() {
    let mut relayed = relayed();
    let taken = fill(&mut relayed.client);
    drop(relayed.client);
    within(|| relayed.relaying.join()).unwrap();
    relayed.ended.recv_timeout(PATIENCE).unwrap();
    let mut got = Vec::new();
    relayed.server.read_to_end(&mut got).unwrap();
    assert!(got.len() < taken, "{} of {taken}", got.len());
}

/// A server that answers late learns that its client is gone, as if it had come itself.
#[test]
fn a_server_learns_that_its_client_is_gone() {
    let mut relayed = relayed();
    relayed.client.write_all(b"{}").unwrap();
    relayed.server.read_exact(&mut [0; 2]).unwrap();
    drop(relayed.client);
    assert_eq!(relayed.server.read(&mut [0]).unwrap(), 0);
    within(|| relayed.relaying.join()).unwrap();
    assert_eq!(relayed.server.write(b"{}").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

/// A client that only stops writing gets its answers.
#[test]
fn a_client_that_stops_writing_is_not_gone() {
    let mut relayed = relayed();
    relayed.client.write_all(b"{}").unwrap();
    relayed.client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = Vec::new();
    relayed.server.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"{}");
    relayed.server.write_all(b"answer").unwrap();
    drop(relayed.server);
    let mut said = String::new();
    relayed.client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "answer");
    within(|| relayed.relaying.join()).unwrap();
}
