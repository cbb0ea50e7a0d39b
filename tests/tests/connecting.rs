//! C7 and C20: from an address to a server that is ready for commands.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::error::Error as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::{Builder, CloseReason, ConnectError, connect, connect_unix, from_stream};
use qmp_tests::scripted::{Listener, PATIENCE, Peer, Script, Server, pair, run};

const SHORT: Duration = Duration::from_millis(50);

#[track_caller]
fn assert_waited(waited: Duration) {
    assert!((SHORT..PATIENCE).contains(&waited), "it waited {waited:?}");
}

#[test]
fn c20_no_socket() {
    let start = Instant::now();
    let error = Builder::new().deadline(SHORT).connect("unix:/nonexistent/qmp.sock").unwrap_err();
    assert!(matches!(error, ConnectError::NoSocket(_)), "{error:?}");
    assert_waited(start.elapsed());
    let text = error.to_string();
    assert!(text.starts_with("no connection to unix:/nonexistent/qmp.sock in "), "{text}");
    assert!(
        text.contains("is QEMU running with -qmp unix:/nonexistent/qmp.sock,server=on"),
        "{text}"
    );
    assert!(error.source().is_some());
}

#[test]
fn c20_a_server_that_goes_away_is_no_matter_of_time() {
    let eof = |mid_message| CloseReason::Eof { mid_message };
    for (script, expected) in [
        ((|_| {}) as fn(&mut Peer), eof(false)),
        (|peer| peer.send(r#"{"QMP""#), eof(true)),
        (Peer::say_hello, eof(false)),
    ] {
        let (socket, script) = pair(script);
        let error = Builder::new().deadline(PATIENCE * 10).from_stream(socket).unwrap_err();
        let ConnectError::Ended { reason, .. } = &error else { panic!("{error:?}") };
        // It may go before qmp_capabilities is sent.
        let reset = CloseReason::Failed(qmp_proto::IoFailure::Reset);
        assert!([expected, reset].contains(reason), "{reason:?}");
        script.join();
    }
}

#[test]
fn c20_a_server_that_appears_later_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    thread::scope(|scope| {
        let client = scope.spawn(|| connect_unix(&path));
        // The first attempt fails, most of the time.
        thread::yield_now();
        let listener = Listener::bind(&path);
        let script = Script::start(move || {
            let mut peer = listener.accept();
            peer.greet();
            peer.expect_eof();
        });
        drop(client.join().unwrap().unwrap());
        script.join();
    });
}

/// Giving up and coming again would fill the backlog, which is of one.
#[test]
fn c20_a_second_client_holds_on_until_the_first_leaves() {
    let (waits, second_waits) = mpsc::channel();
    let server = Server::unix_listener(move |listener| {
        let mut first = listener.accept();
        first.greet();
        listener.wait_for_client();
        waits.send(()).unwrap();
        first.expect_eof();
        let mut second = listener.accept();
        second.greet();
        assert_eq!(second.serve(), ["stop"]);
    });
    let first = connect(server.address()).unwrap();
    thread::scope(|scope| {
        let second = scope.spawn(|| connect(server.address()));
        second_waits.recv_timeout(PATIENCE).unwrap();
        drop(first);
        run(&second.join().unwrap().unwrap(), "stop").unwrap();
    });
    server.join();
}

#[test]
fn c20_a_deadline_of_any_length_is_taken() {
    let script = |peer: &mut Peer| {
        peer.greet();
        peer.expect_eof();
    };
    for deadline in [Duration::MAX, Duration::from_secs(1 << 40)] {
        for server in
            [Server::unix(script), Server::tcp(script), Server::fifos(|peer| drop(peer.greet()))]
        {
            drop(Builder::new().deadline(deadline).connect(server.address()).unwrap());
            server.join();
        }
    }
}

/// The handshake in pieces of one byte.
#[test]
fn c20_a_slow_server_is_waited_for() {
    let (socket, script) = pair(|peer| {
        let (greeting, event) =
            (qmp_tests::scripted::GREETING, "{\"event\": \"E\", \"timestamp\": 0}");
        greeting.as_bytes().chunks(1).for_each(|byte| peer.send(byte));
        let negotiation = peer.expect("qmp_capabilities");
        event.as_bytes().chunks(1).for_each(|byte| peer.send(byte));
        let reply = format!("{{\"id\": {}, \"return\": {{}}}}", negotiation.id);
        reply.as_bytes().chunks(1).for_each(|byte| peer.send(byte));
        peer.expect_eof();
    });
    drop(from_stream(socket).unwrap());
    script.join();
}

#[test]
fn c7_what_is_no_qmp_is_named_at_once() {
    let hmp = "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ";
    let cases: [(&[u8], &str); 6] = [
        (hmp.as_bytes(), "human monitor"),
        (b"\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00", "telnet"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "SSH"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "HTTP"),
        (b"RFB 003.008\n", "VNC"),
        (b"{\"jsonrpc\": \"2.0\"}\r\n", "not a QMP message"),
    ];
    for (said, expected) in cases {
        let (socket, script) = pair(move |peer| {
            peer.send(said);
            // It hangs up, and has not sent anything to whatever that is.
            peer.expect_eof();
        });
        let error = Builder::new().deadline(PATIENCE * 10).from_stream(socket).unwrap_err();
        assert!(
            matches!(error, ConnectError::Ended { reason: CloseReason::NotQmp(_), .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(expected), "{error}");
        script.join();
    }
}
