use std::error::Error;
use std::fmt::Debug;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use rustix::io::{Errno, FdFlags, fcntl_getfd};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType};
use tempfile::TempDir;

use super::*;

const SHORT: Duration = Duration::from_millis(60);
/// Nothing in these tests takes so long.
const LONG: Duration = Duration::from_secs(20);

fn after(time: Duration) -> Instant {
    Instant::now() + time
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("q");
    (directory, path)
}

fn errno(error: &SocketError) -> Option<Errno> {
    Errno::from_io_error(error.last())
}

/// The error of an attempt that must last until its deadline, and not much longer.
fn late_error<S: Debug>(attempt: impl FnOnce(Instant) -> Result<S, SocketError>) -> SocketError {
    let start = Instant::now();
    let error = attempt(start + SHORT).unwrap_err();
    assert!((SHORT..LONG / 2).contains(&start.elapsed()), "{error}");
    assert!(error.tried() <= start.elapsed());
    error
}

/// Fails if it was tried until a deadline that is far away.
fn assert_at_once(error: &SocketError) {
    assert!(error.tried() < LONG / 2, "{error}");
}

/// A listener with room for one waiting client, and the clients that fill it.
fn full_listener(path: &Path) -> (UnixListener, Vec<UnixStream>) {
    let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    net::listen(&socket, 0).unwrap();
    let mut clients = Vec::new();
    loop {
        match try_unix(path) {
            Ok(client) => clients.push(client),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!clients.is_empty());
    (UnixListener::from(socket), clients)
}

/// A port that refuses connections until one listens on the socket.
fn reserved_port() -> (OwnedFd, SocketAddr) {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = SocketAddr::try_from(net::getsockname(&socket).unwrap()).unwrap();
    (socket, address)
}

/// A read that has to wait tells whether the stream is in blocking mode.
fn assert_blocking_and_cloexec(stream: impl Read + AsFd) {
    let mut stream = stream;
    assert!(fcntl_getfd(&stream).unwrap().contains(FdFlags::CLOEXEC));
    net::sockopt::set_socket_timeout(&stream, net::sockopt::Timeout::Recv, Some(SHORT)).unwrap();
    let start = Instant::now();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= SHORT / 2);
}

#[test]
fn c20_no_socket_is_an_error_at_the_deadline() {
    let (_directory, path) = place();
    let error = late_error(|deadline| connect_unix(&path, deadline));
    assert_eq!(errno(&error), Some(Errno::NOENT));
    assert_eq!(error.address(), &Address::Unix(path.clone()));
    assert!(error.source().is_some());
    let text = error.to_string();
    assert!(text.starts_with(&format!("no connection to unix:{} in ", path.display())), "{text}");
    let hint = "no such socket: is QEMU running with -qmp unix:";
    assert!(text.contains(hint) && text.ends_with(",server=on,wait=off?"), "{text}");
}

#[test]
fn c20_a_stale_socket_is_an_error_at_the_deadline() {
    let (_directory, path) = place();
    drop(UnixListener::bind(&path).unwrap());
    let error = late_error(|deadline| connect_unix(&path, deadline));
    assert_eq!(errno(&error), Some(Errno::CONNREFUSED));
    assert!(error.to_string().contains("nobody listens there: the socket is new, or a process"));
}

#[test]
fn c20_a_server_that_starts_later_is_found() {
    let (_directory, path) = place();
    let mut attempts = Attempts::new(path.as_path().into(), after(LONG));
    assert_eq!(attempts.again(try_unix(&path).unwrap_err()).unwrap(), Duration::from_millis(1));

    let (starts, started) = mpsc::channel();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            starts.send(()).unwrap();
            connect_unix(&path, after(LONG)).unwrap()
        });
        started.recv().unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut client = client.join().unwrap();
        server.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
        assert_blocking_and_cloexec(client);
    });
}

#[test]
fn c20_a_full_backlog_is_an_error_at_the_deadline() {
    let (_directory, path) = place();
    let (_listener, _clients) = full_listener(&path);
    let error = late_error(|deadline| connect_unix(&path, deadline));
    assert_eq!(error.last().kind(), ErrorKind::WouldBlock);
    assert!(
        error
            .to_string()
            .ends_with("another client is connected, and the backlog of the socket is full")
    );
}

#[test]
fn c20_a_full_backlog_may_pass() {
    let (_directory, path) = place();
    let (listener, _clients) = full_listener(&path);
    let (starts, started) = mpsc::channel();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            starts.send(()).unwrap();
            connect_unix(&path, after(LONG))
        });
        started.recv().unwrap();
        listener.accept().unwrap();
        client.join().unwrap().unwrap();
    });
}

#[test]
fn c20_what_will_not_pass_ends_at_once() {
    let (directory, path) = place();
    let _datagrams = UnixDatagram::bind(&path).unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let cases = [
        (path, Errno::PROTOTYPE, "the socket is not a stream socket"),
        (file.clone(), Errno::NOTSOCK, "the file is not a socket"),
        (directory.path().to_path_buf(), Errno::NOTSOCK, "the file is not a socket"),
        (file.join("q"), Errno::NOTDIR, "not a directory"),
        ("q".repeat(109).into(), Errno::NAMETOOLONG, "109 bytes are too long for a socket's path"),
    ];
    for (path, expected, hint) in cases {
        let error = connect_unix(&path, after(LONG)).unwrap_err();
        assert_at_once(&error);
        assert_eq!(errno(&error), Some(expected), "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
    for path in ["", "a\0b"] {
        let error = connect_unix(Path::new(path), after(LONG)).unwrap_err();
        assert_at_once(&error);
        assert_eq!(error.last().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_passed_deadline_leaves_one_attempt() {
    let (_directory, path) = place();
    let passed = Instant::now();
    let _listener = UnixListener::bind(&path).unwrap();
    connect_unix(&path, passed).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    connect_tcp("127.0.0.1", tcp.local_addr().unwrap().port(), passed).unwrap();
}

#[test]
fn pauses_grow_and_end_at_the_deadline() {
    let refused = || Errno::CONNREFUSED.into();
    let mut attempts = Attempts::new(Address::Stdio, after(LONG));
    let pauses = [(); 8].map(|()| attempts.again(refused()).unwrap().as_millis());
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 50, 50]);
    let mut attempts = Attempts::new(Address::Stdio, after(Duration::from_micros(900)));
    if let Ok(pause) = attempts.again(refused()) {
        assert!(pause < Duration::from_millis(1));
    }
    // A server that quits resets those who are connecting.
    for errno in [Errno::CONNRESET, Errno::CONNABORTED, Errno::NOENT, Errno::AGAIN] {
        assert!(Attempts::new(Address::Stdio, after(LONG)).again(errno.into()).is_ok());
    }
    assert!(Attempts::new(Address::Stdio, after(LONG)).again(Errno::ACCESS.into()).is_err());
}

#[test]
#[cfg(target_os = "linux")]
fn an_abstract_name_is_connected_to() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let (directory, _) = place(); // its name is nobody else's
    let name = directory.path().as_os_str().as_encoded_bytes();
    let error = late_error(|deadline| connect_abstract(name, deadline));
    assert_eq!(errno(&error), Some(Errno::CONNREFUSED));

    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    let client = connect_abstract(name, after(LONG)).unwrap();
    listener.accept().unwrap();
    drop(client);

    let error = connect_abstract(&[b'n'; 108], after(LONG)).unwrap_err();
    assert!(error.to_string().contains("108 bytes are too long"));
}

#[test]
fn a_tcp_port_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost", ""] {
        let client = connect_tcp(host, port, after(LONG)).unwrap();
        let (_server, _) = listener.accept().unwrap();
        assert!(client.nodelay().unwrap());
        assert_blocking_and_cloexec(client);
    }
}

#[test]
fn c20_a_port_where_nobody_listens_is_an_error_at_the_deadline() {
    let (_socket, address) = reserved_port();
    let error = late_error(|deadline| connect_tcp("127.0.0.1", address.port(), deadline));
    assert_eq!(errno(&error), Some(Errno::CONNREFUSED));
    assert!(error.to_string().contains("nobody listens there: is QEMU running with -qmp tcp:127."));
}

#[test]
fn c20_a_port_that_is_opened_later_is_found() {
    let (socket, address) = reserved_port();
    let (starts, started) = mpsc::channel();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            starts.send(()).unwrap();
            connect_tcp("127.0.0.1", address.port(), after(LONG))
        });
        started.recv().unwrap();
        net::listen(&socket, 1).unwrap();
        client.join().unwrap().unwrap();
    });
}

#[test]
fn every_address_of_a_host_is_tried() {
    let (_socket, refused) = reserved_port();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = listener.local_addr().unwrap();
    let portless = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));

    let stream = tcp::try_each(&[portless, refused, good], after(LONG)).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), good);
    for addresses in [[portless, refused], [refused, portless]] {
        let error = tcp::try_each(&addresses, after(LONG)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    assert!(tcp::try_each(&[], after(LONG)).is_err());
}

/// The system repeats one attempt less and less often.
#[test]
fn c20_one_attempt_does_not_take_all_the_time_that_is_left() {
    for (left, addresses, expected) in [(60, 1, 3), (60, 10, 3), (2, 1, 2), (4, 2, 2)] {
        let share = tcp::share(after(Duration::from_secs(left)), addresses);
        let expected = Duration::from_secs(expected);
        assert!((expected - SHORT..=expected).contains(&share), "{share:?}");
    }
    let late = || ErrorKind::TimedOut.into();
    let mut attempts = Attempts::new(Address::Stdio, after(LONG));
    assert!(attempts.again(late()).is_ok());
    assert!(Attempts::new(Address::Stdio, after(Duration::ZERO)).again(late()).is_err());
}

#[test]
fn c20_hosts_and_ports_that_cannot_be_end_at_once() {
    let error = connect_tcp("127.0.0.1", 0, after(LONG)).unwrap_err();
    assert_at_once(&error);
    assert_eq!(error.last().kind(), ErrorKind::InvalidInput);
    let error = connect_tcp("no host\0", 1, after(LONG)).unwrap_err();
    assert!(error.to_string().ends_with("the host's name was not resolved"), "{error}");
}

#[test]
fn a_connection_to_itself_is_refused() {
    let (socket, address) = reserved_port();
    net::connect(&socket, &address).unwrap();
    let stream = TcpStream::from(socket);
    let error = tcp::refuse_own_end(&stream).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    drop(stream);
    TcpListener::bind(address).unwrap();
}

/// As on some systems after a reset of the peer's: here it is no TCP, and its addresses are not told.
#[test]
fn c20_a_stream_at_which_nothing_can_be_set_is_taken() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let stream = TcpStream::from(OwnedFd::from(ours));
    assert!(stream.set_nodelay(true).is_err() && stream.peer_addr().is_err());
    tcp::finish(stream).unwrap();
}
