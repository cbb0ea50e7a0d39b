//! C9 and C20: servers that are starting or quitting. They greet twice, fall silent, or end
//! connections before these are ready.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use qmp_tests::scripted::{GREETING, Listener, PATIENCE, Peer, Server};

use super::qmp::{Builder, Client, CloseReason, ConnectError, NotQmp};
use super::runtime::tell;
use super::{names_of, patient, qmp, run};

/// A command is answered, and then the client leaves.
async fn works(client: Result<Client, ConnectError>) {
    run(&client.unwrap(), "stop").await.unwrap();
}

/// Serves a client that executes one command.
fn serve(peer: &mut Peer) {
    assert_eq!(peer.serve(), ["stop"]);
}

/// Greets a client, and reads its `qmp_capabilities`.
fn hear_capabilities(listener: &Listener) -> Peer {
    let mut peer = listener.accept();
    peer.say_hello();
    peer.expect("qmp_capabilities");
    peer
}

/// A connection that is closed without a word.
fn expect_wake_up(listener: &Listener) {
    assert!(listener.accept().try_command().is_none());
}

/// What QEMU answers to the second `qmp_capabilities`.
fn refuse(peer: &mut Peer) {
    let again = peer.expect("qmp_capabilities");
    let desc = "Capabilities negotiation is already complete, command ignored";
    peer.fail(&again, "CommandNotFound", desc);
}

#[test]
fn c9_two_greetings_in_one_write() {
    tell(async {
        let server = Server::unix(|peer| {
            peer.send(format!("{GREETING}\r\n{GREETING}\r\n"));
            let first = peer.expect("qmp_capabilities");
            peer.reply(&first, "{}");
            refuse(peer);
            serve(peer);
        });
        works(wait!(qmp::connect(server.address()))).await;
        server.join();
    });
}

#[test]
fn c9_another_greeting_after_qmp_capabilities_was_read() {
    tell(async {
        for oob in [false, true] {
            let server = Server::unix(move |peer| {
                peer.say_hello();
                let first = peer.expect("qmp_capabilities");
                assert_eq!(first.arguments.is_null(), !oob);
                peer.say_hello();
                let again = peer.expect("qmp_capabilities");
                assert_eq!(again.arguments, first.arguments);
                assert_ne!(again.id, first.id);
                peer.reply(&first, "{}");
                // This answer comes when the client is ready.
                let stop = peer.expect("stop");
                peer.fail(&again, "CommandNotFound", "already complete");
                peer.reply(&stop, "{}");
                peer.expect_eof();
            });
            works(wait!(Builder::new().oob(oob).connect(server.address()))).await;
            server.join();
        }
    });
}

#[test]
fn c9_only_the_second_qmp_capabilities_is_answered() {
    tell(async {
        let server = Server::unix(|peer| {
            peer.say_hello();
            peer.expect("qmp_capabilities");
            peer.greet();
            serve(peer);
        });
        works(wait!(qmp::connect(server.address()))).await;
        server.join();
    });
}

#[test]
fn c20_a_server_that_hangs_is_woken_by_another_connection() {
    tell(async {
        for tcp in [false, true] {
            let server = Server::listener(tcp, |listener| {
                let mut first = listener.accept();
                first.say_hello();
                let negotiation = first.expect("qmp_capabilities");
                // It is closed at once, or when the first one is ready.
                let mut second = listener.accept();
                first.reply(&negotiation, "{}");
                assert!(second.try_command().is_none());
                serve(&mut first);
            });
            let start = Instant::now();
            works(wait!(patient().connect(server.address()))).await;
            assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
            server.join();
        }
    });
}

/// It has no room for other connections, and is not left for that.
#[test]
fn c20_a_server_that_is_busy_is_kept() {
    tell(async {
        for tcp in [false, true] {
            let server = Server::listener(tcp, |listener| {
                let mut first = listener.accept();
                first.say_hello();
                let negotiation = first.expect("qmp_capabilities");
                listener.wait_for_client();
                first.reply(&negotiation, "{}");
                serve(&mut first);
                expect_wake_up(listener);
            });
            works(wait!(patient().connect(server.address()))).await;
            server.join();
        }
    });
}

#[test]
fn c20_a_server_that_stays_silent_is_connected_to_again() {
    tell(async {
        for (tcp, greetings) in [(false, 2), (true, 1)] {
            let server = Server::listener(tcp, move |listener| {
                let mut first = hear_capabilities(listener);
                for _ in 1..greetings {
                    first.say_hello();
                    first.expect("qmp_capabilities");
                }
                expect_wake_up(listener);
                expect_wake_up(listener);
                assert!(first.try_command().is_none(), "it is given up");
                // It ends the next one too, as it may after such a hang.
                drop(listener.accept());
                let mut third = listener.accept();
                third.greet();
                serve(&mut third);
            });
            works(wait!(patient().connect(server.address()))).await;
            server.join();
        }
    });
}

#[test]
fn c20_silence_until_the_deadline_is_told_as_such() {
    tell(async {
        // One that is woken in vain, and one that accepts no one else.
        for greeted_later in [false, true] {
            let server = Server::unix_listener(move |listener| {
                let mut first = hear_capabilities(listener);
                expect_wake_up(listener);
                if greeted_later {
                    expect_wake_up(listener);
                    assert!(first.try_command().is_none());
                    // No greeting this time.
                    assert!(listener.accept().try_command().is_none());
                } else {
                    assert!(first.try_command().is_none());
                }
            });
            let deadline = Duration::from_millis(if greeted_later { 4_500 } else { 1_500 });
            let error =
                wait!(Builder::new().deadline(deadline).connect(server.address())).unwrap_err();
            let ConnectError::NoCapabilities { waited, .. } = error else { panic!("{error:?}") };
            assert!((deadline..PATIENCE).contains(&waited), "{waited:?}");
            server.join();
        }
    });
}

/// How a server ends a connection.
type End = fn(Peer);

const ENDS: [End; 6] = [
    drop,
    |mut peer| peer.reset(),
    |mut peer| peer.send(r#"{"QMP": {"vers"#),
    |mut peer| peer.event("SHUTDOWN", "{}"),
    |mut peer| peer.send(r#"{"return": {}, "id": "gone"}"#),
    |mut peer| peer.say_hello(),
];

#[test]
fn c20_connections_that_end_before_they_are_ready_are_made_again() {
    tell(async {
        for tcp in [false, true] {
            let server = Server::listener(tcp, |listener| {
                ENDS.iter().for_each(|end| end(listener.accept()));
                let mut last = listener.accept();
                last.event("STOP", "{}");
                last.greet();
                serve(&mut last);
            });
            let address = server.address();
            let (client, events) = wait!(patient().connect_with_events(address)).unwrap();
            works(Ok(client)).await;
            assert_eq!(names_of(events).await, ["STOP"], "those of this connection");
            server.join();
        }
    });
}

/// The next server is at the same path.
#[test]
fn c20_a_server_that_quits_is_waited_for_until_the_next_one_is_there() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp.sock");
        let dying = Listener::bind(&path);
        let next = qmp_tests::scripted::Script::start({
            let path = path.clone();
            move || {
                // It is connected to, and accepts nobody any more.
                dying.wait_for_client();
                drop(dying);
                std::fs::remove_file(&path).unwrap();
                let listener = Listener::bind(&path);
                let mut peer = listener.accept();
                peer.greet();
                serve(&mut peer);
            }
        });
        works(wait!(patient().connect(path))).await;
        next.join();
    });
}

#[test]
fn c20_an_address_that_ends_every_connection_is_told_with_how_often() {
    tell(async {
        let (stop, stopped) = mpsc::channel::<()>();
        let server = Server::tcp_listener(move |listener| {
            while stopped.try_recv().is_err() {
                listener.accept();
            }
        });
        let deadline = Duration::from_millis(500);
        let start = Instant::now();
        let error = wait!(Builder::new().deadline(deadline).connect(server.address())).unwrap_err();
        assert!((deadline..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
        let ConnectError::KeptEnding { times, waited, .. } = &error else { panic!("{error:?}") };
        // The pauses grow up to 50 ms.
        assert!((2..25).contains(times) && *waited >= deadline, "{error}");
        let text = error.to_string();
        let expected = format!(
            "the connection to {} ended before the server was ready, {times} times",
            server.address()
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("is QEMU quitting"), "{text}");
        stop.send(()).unwrap();
        drop(wait!(Builder::new().deadline(deadline).connect(server.address())));
        server.join();
    });
}

#[test]
fn c7_what_is_not_qmp_is_not_tried_again() {
    tell(async {
        let server = Server::unix(|peer| {
            peer.send("SSH-2.0-OpenSSH_9.2p1\r\n");
            peer.expect_eof();
        });
        let patient = Builder::new().deadline(Duration::MAX);
        let error = wait!(patient.connect(server.address())).unwrap_err();
        let ConnectError::Ended { reason, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*reason, CloseReason::NotQmp(NotQmp::Ssh));
        server.join();
    });
}
