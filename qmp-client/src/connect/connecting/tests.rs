use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::task::{Poll, Waker};

use qmp_proto::{CommandError, IoFailure, NotQmp, Violation};

use super::*;
use crate::connect::socket_error::{SocketError, Step};
use crate::connect::{connect_tcp, connect_unix};
use crate::shared::{Flushed, Received};

const GREETING: &[u8] = br#"{"QMP": {"capabilities": []}}"#;

const EOF: CloseReason = CloseReason::Eof { mid_message: false };

fn unix() -> Address {
    Address::Unix("/run/vm.sock".into())
}

fn options(deadline: Duration) -> Options {
    Options { deadline, ..Options::default() }
}

fn long() -> Options {
    options(Duration::from_secs(60))
}

fn ended(reason: CloseReason) -> ConnectError {
    ConnectError::Ended { reason, evidence: None }
}

/// Greeted, and `qmp_capabilities` is sent.
fn greeted(options: &Options) -> Arc<SharedConnection> {
    let shared = options.shared(false, Instant::now());
    shared.receive(Received::Bytes(GREETING));
    assert_eq!(shared.flush(|bytes, _| Ok(bytes.len())), Flushed::All);
    shared
}

#[test]
fn c20_each_end_by_the_server_is_tried_again_after_pauses_that_grow() {
    let mut connecting = Connecting::to(unix(), &long(), Instant::now());
    let ends = [EOF, CloseReason::Eof { mid_message: true }, CloseReason::Failed(IoFailure::Reset)];
    let pauses: Vec<u128> = ends
        .into_iter()
        .cycle()
        .take(8)
        .map(|reason| connecting.again(ended(reason)).unwrap().as_millis())
        .collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 50, 50]);
}

#[test]
fn c20_what_would_be_the_same_again_is_final() {
    for reason in [
        CloseReason::NotQmp(NotQmp::Ssh),
        CloseReason::Violation(Violation::SecondGreeting),
        CloseReason::Requested,
        CloseReason::Failed(IoFailure::DriverGone),
    ] {
        let mut connecting = Connecting::to(unix(), &long(), Instant::now());
        let error = connecting.again(ended(reason.clone())).unwrap_err();
        assert!(
            matches!(&error, ConnectError::Ended { reason: same, .. } if *same == reason),
            "{error:?}"
        );
    }
}

#[test]
fn c20_what_cannot_be_connected_to_again_is_not() {
    let start = Instant::now();
    let once = [
        Connecting::once(&long(), start),
        Connecting::to(Address::Stdio, &long(), start),
        Connecting::to(Address::Fd(3), &long(), start),
    ];
    for mut connecting in once {
        assert!(matches!(connecting.again(ended(EOF)), Err(ConnectError::Ended { .. })));
        let silent = ConnectError::NoCapabilities { waited: Duration::ZERO, evidence: None };
        assert!(matches!(connecting.again(silent), Err(ConnectError::NoCapabilities { .. })));
    }
}

#[test]
fn c20_at_the_deadline_the_last_reason_is_told() {
    let mut connecting = Connecting::to(unix(), &options(Duration::ZERO), Instant::now());
    let error = connecting.again(ended(EOF)).unwrap_err().to_string();
    assert!(error.starts_with("the connection to unix:/run/vm.sock ended before"), "{error}");
    assert!(error.contains("once in ") && error.contains("the server closed the"), "{error}");
    let reset = CloseReason::Failed(IoFailure::Reset);
    let error = connecting.again(ended(reset.clone())).unwrap_err();
    let ConnectError::KeptEnding { reason, times, .. } = &error else { panic!("{error:?}") };
    assert_eq!((reason, *times), (&reset, 2));
}

/// A connection that has only begun says less than those that ended; one that has lasted says more.
#[test]
fn c20_a_young_connection_does_not_hide_how_others_ended() {
    let options = long();
    let mut connecting = Connecting::to(unix(), &options, Instant::now());
    let shared = options.shared(false, Instant::now());
    let late = |connecting: &Connecting, age| connecting.late(&shared, age);
    assert!(matches!(late(&connecting, Duration::ZERO), ConnectError::NoGreeting { .. }));
    connecting.again(ended(EOF)).unwrap();
    let young = late(&connecting, SILENCE / 2);
    assert!(matches!(young, ConnectError::KeptEnding { times: 1, .. }), "{young:?}");
    assert!(matches!(late(&connecting, SILENCE), ConnectError::NoGreeting { .. }));
    // Nor does one that is cut off while it is opened; a socket that is not there is news.
    let mut opened = |error: io::Error| {
        let error = SocketError::new(unix(), Step::Connect, Duration::ZERO, error);
        connecting.opened(Err(ConnectError::NoSocket(error))).unwrap_err()
    };
    let cut_off = opened(ErrorKind::TimedOut.into());
    assert!(matches!(cut_off, ConnectError::KeptEnding { times: 1, .. }), "{cut_off:?}");
    let missing = opened(rustix::io::Errno::NOENT.into());
    assert!(matches!(missing, ConnectError::NoSocket(_)), "{missing:?}");
    let text = missing.to_string();
    assert!(text.contains("no such socket: "), "{text}");
    assert!(text.contains("; before that: the connection to unix:/run/vm.sock ended"), "{text}");

    // Nor does one without a greeting hide that another was greeted.
    let silent = ConnectError::NoCapabilities { waited: SILENCE, evidence: None };
    assert_eq!(connecting.again(silent).unwrap(), Duration::ZERO);
    let greeted_before = connecting.late(&shared, SILENCE);
    assert!(matches!(greeted_before, ConnectError::NoCapabilities { .. }), "{greeted_before:?}");
}

/// The last event counts: the server is silent if its backlog is full, and gone if its socket is.
#[test]
fn c20_a_silent_server_that_is_gone_is_told_as_gone() {
    let mut connecting = Connecting::to(unix(), &long(), Instant::now());
    let silent = ConnectError::NoCapabilities { waited: SILENCE, evidence: None };
    connecting.again(silent).unwrap();
    let mut opened = |errno: rustix::io::Errno| {
        let error = SocketError::new(unix(), Step::Connect, SILENCE * 4, errno.into());
        connecting.opened(Err(ConnectError::NoSocket(error))).unwrap_err()
    };
    for full in [rustix::io::Errno::AGAIN, rustix::io::Errno::TIMEDOUT] {
        let error = opened(full);
        assert!(matches!(error, ConnectError::NoCapabilities { .. }), "{error:?}");
    }
    for gone in [rustix::io::Errno::NOENT, rustix::io::Errno::CONNREFUSED] {
        let error = opened(gone);
        assert!(matches!(error, ConnectError::NoSocket(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("is QEMU running"), "{text}");
        assert!(text.contains("; before that: the server greeted, but did not"), "{text}");
    }
}

#[test]
fn c20_a_connection_that_exists_is_looked_at_at_the_deadline_only() {
    let options = long();
    let shared = greeted(&options);
    let mut connecting = Connecting::once(&options, Instant::now());
    let deadline = connecting.deadline();
    let mut handshake = connecting.handshake(shared);
    assert!(handshake.poll(Waker::noop()).is_pending());
    assert_eq!(handshake.look_at(), deadline);
}

/// A second after the reply is owed, and not before the greeting.
#[test]
fn c20_silence_is_looked_at_after_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q");
    let _listener = UnixListener::bind(&path).unwrap();
    let options = long();
    let mut connecting = Connecting::to(path.as_path().into(), &options, Instant::now());
    let deadline = connecting.deadline();
    let stream = connect_unix(&path, deadline).unwrap();
    connecting.opened(Ok(stream.into())).unwrap();
    let shared = options.shared(false, Instant::now());
    let mut handshake = connecting.handshake(shared.clone());
    let before = Instant::now();
    assert!(handshake.poll(Waker::noop()).is_pending());
    assert_eq!(handshake.look_at(), deadline);
    shared.receive(Received::Bytes(GREETING));
    assert!(handshake.poll(Waker::noop()).is_pending());
    assert_eq!(handshake.look_at(), deadline, "qmp_capabilities is not sent");
    assert_eq!(shared.flush(|bytes, _| Ok(bytes.len())), Flushed::All);
    assert!(handshake.poll(Waker::noop()).is_pending());
    let look_at = handshake.look_at();
    assert!((before + SILENCE..=Instant::now() + SILENCE).contains(&look_at));
    // What comes meanwhile does not put it off.
    shared.receive(Received::Bytes(br#"{"event": "STOP", "timestamp": {}}"#));
    assert!(handshake.poll(Waker::noop()).is_pending());
    assert_eq!(handshake.look_at(), look_at);
}

/// The socket that a server would see is the first one, whose end is a reset.
#[test]
fn c20_a_silent_tcp_connection_is_reset() {
    use std::io::Read;

    for silent in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address::Tcp { host: "127.0.0.1".into(), port };
        let options = long();
        let mut connecting = Connecting::to(address, &options, Instant::now());
        let stream = connect_tcp("127.0.0.1", port, connecting.deadline()).unwrap();
        let opened = connecting.opened(Ok(stream.into())).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let shared = if silent { greeted(&options) } else { options.shared(false, Instant::now()) };
        let mut handshake = connecting.handshake(shared);
        assert!(matches!(handshake.poll(Waker::noop()), Poll::Pending));
        drop(handshake);
        drop(opened);
        let end = server.read(&mut [0]).map_err(|error| error.kind());
        let expected = if silent { Err(ErrorKind::ConnectionReset) } else { Ok(0) };
        assert_eq!(end, expected);
    }
}

/// An error of the server's names the cause; an event or half a message does not.
#[test]
fn c20_an_end_after_an_event_keeps_its_hint() {
    let error = CommandError::generic("too many").into();
    for (evidence, end) in [
        (None, ": the server closed the connection; is QEMU quitting, or failing at its start?"),
        (
            Some(Evidence::Event),
            "; the server had sent an event; is QEMU quitting, or failing at its start?",
        ),
        (Some(Evidence::Error(error)), "; the server had sent the error GenericError: too many"),
    ] {
        let mut connecting = Connecting::to(unix(), &options(Duration::ZERO), Instant::now());
        let error = connecting.again(ConnectError::Ended { reason: EOF, evidence }).unwrap_err();
        assert!(error.to_string().ends_with(end), "{error}");
    }
}
