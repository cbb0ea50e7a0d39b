//! Descriptors that are sent. `inherited` has the tests of those that this process was started with.

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::*;

mod inherited;

const LONG: Duration = Duration::from_secs(10);

/// Receives up to `max` bytes, and the descriptors that came with them.
fn receive(socket: &UnixStream, max: usize) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = vec![0; max];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let message = net::recvmsg(socket, &mut slices, &mut control, RecvFlags::empty()).unwrap();
    bytes.truncate(message.bytes);
    let descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    (bytes, descriptors.collect())
}

/// A stream to send, and the end that tells whether any copy of it is still open.
fn witnessed() -> (UnixStream, UnixStream) {
    let (sent, witness) = UnixStream::pair().unwrap();
    witness.set_read_timeout(Some(LONG)).unwrap();
    (sent, witness)
}

/// Fails unless every copy of the witnessed stream is closed.
fn assert_all_closed(mut witness: UnixStream) {
    assert_eq!(witness.read(&mut [0]).unwrap(), 0, "a copy was leaked");
}

fn fill(socket: &UnixStream) -> usize {
    let mut total = 0;
    loop {
        match send(socket.as_fd(), &[b'x'; 4096], None) {
            Ok(sent) => total += sent,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return total;
            }
        }
    }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn a_descriptor_comes_with_the_first_byte() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (sent, mut witness) = witnessed();
    assert_eq!(send(ours.as_fd(), b"{}", Some(sent.as_fd())).unwrap(), 2);
    drop(sent);

    let (first, mut descriptors) = receive(&theirs, 1);
    assert_eq!(first, b"{");
    assert_eq!(descriptors.len(), 1);
    let mut received = UnixStream::from(descriptors.remove(0));
    received.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    witness.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");

    let (second, descriptors) = receive(&theirs, 1);
    assert_eq!(second, b"}");
    assert!(descriptors.is_empty());
    drop(received);
    assert_all_closed(witness);
}

#[test]
fn after_a_partial_write_the_rest_goes_without() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (sent, witness) = witnessed();
    let command = vec![b'c'; 16 << 20];
    let taken = send(ours.as_fd(), &command, Some(sent.as_fd())).unwrap();
    assert!(0 < taken && taken < command.len());
    drop(sent);

    let (first, descriptors) = receive(&theirs, 1);
    assert_eq!((first.len(), descriptors.len()), (1, 1));
    let mut left = taken - 1;
    while left > 0 {
        let (bytes, descriptors) = receive(&theirs, left);
        assert!(descriptors.is_empty());
        left -= bytes.len();
    }
    drop(descriptors);
    assert_all_closed(witness);
}

#[test]
fn a_full_socket_leaves_the_descriptor_untouched() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut sent, mut witness) = witnessed();
    let mut left = fill(&ours);
    for _ in 0..100 {
        let error = send(ours.as_fd(), b"{}", Some(sent.as_fd())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    sent.write_all(b"!").unwrap();
    witness.read_exact(&mut [0]).unwrap();

    while left > 0 {
        let (bytes, descriptors) = receive(&theirs, left);
        assert!(descriptors.is_empty());
        left -= bytes.len();
    }
    assert_eq!(send(ours.as_fd(), b"{}", Some(sent.as_fd())).unwrap(), 2);
    drop(sent);
    let (bytes, descriptors) = receive(&theirs, 2);
    assert_eq!((bytes.as_slice(), descriptors.len()), (&b"{}"[..], 1));
    drop(descriptors);
    assert_all_closed(witness);
}

#[test]
fn a_closed_peer_is_an_error() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let (sent, witness) = witnessed();
    let error = send(ours.as_fd(), b"{}", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    let error = send(ours.as_fd(), b"{}", Some(sent.as_fd())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    drop(sent);
    assert_all_closed(witness);
}

#[test]
fn a_descriptor_that_nobody_receives_is_closed_with_the_socket() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (sent, witness) = witnessed();
    assert_eq!(send(ours.as_fd(), b"{}", Some(sent.as_fd())).unwrap(), 2);
    drop((ours, theirs, sent));
    assert_all_closed(witness);
}

#[test]
fn a_descriptor_needs_a_byte_and_a_unix_stream() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (client, _server) = tcp_pair();
    let lent = Some(ours.as_fd());
    assert_eq!(send(ours.as_fd(), b"", lent).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(send(client.as_fd(), b"{}", lent).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(send(client.as_fd(), b"{}", None).unwrap(), 2);
    assert_eq!(send(ours.as_fd(), b"", None).unwrap(), 0);
}

#[test]
fn only_unix_streams_carry_descriptors() {
    let (stream, _theirs) = UnixStream::pair().unwrap();
    assert!(carries_descriptors(stream.as_fd()));
    assert!(!carries_descriptors(tcp_pair().0.as_fd()));
    assert!(!carries_descriptors(UnixDatagram::unbound().unwrap().as_fd()));
    assert!(!carries_descriptors(std::fs::File::open("/dev/null").unwrap().as_fd()));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("q");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(carries_descriptors(UnixStream::connect(&path).unwrap().as_fd()));
    assert!(carries_descriptors(listener.accept().unwrap().0.as_fd()));
}
