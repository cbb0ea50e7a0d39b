//! C9 and C20: every way to a server that is ready for commands.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::mpsc;

use qmp_tests::scripted::{PATIENCE, Peer, Server, pair, pipes};
use serde_json::{Value, json};

use super::qmp::{Address, Builder, Client, CloseReason, ConnectError, Event};
use super::runtime::{self, finish, start, tell};
use super::{names_of, qmp, run};

/// Commands, some of them at once, an event, and the end.
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

async fn session(client: Client) {
    assert_eq!(client.greeting().version.as_ref().unwrap().qemu.major, 7);
    let events = client.events();
    let named = |name: &'static str| {
        let client = client.clone();
        start(async move { run(&client, name).await.unwrap() })
    };
    for (name, caller) in [("one", named("one")), ("two", named("two"))] {
        assert_eq!(finish(caller).await.parse::<&str>(), Ok(name));
    }
    assert_eq!(run(&client, "big").await.unwrap().as_str().unwrap().len(), 1_000_002);
    drop(client);
    assert_eq!(names_of(events).await, ["STOP"]);
}

async fn session_with(server: Server, client: Result<Client, ConnectError>) {
    session(client.unwrap()).await;
    server.join();
}

#[test]
fn c20_the_ways_to_a_unix_socket() {
    tell(async {
        let server = Server::unix(script);
        let client = wait!(qmp::connect(server.address()));
        session_with(server, client).await;

        let server = Server::unix(script);
        let address: Address = server.address().parse().unwrap();
        let client = wait!(Builder::new().connect(&address));
        session_with(server, client).await;

        let server = Server::unix(script);
        let client = wait!(qmp::connect_unix(server.folder().join("qmp.sock")));
        session_with(server, client).await;

        let server = Server::unix(script);
        let path = server.folder().join("qmp.sock");
        let (client, events) = wait!(qmp::connect_with_events(path)).unwrap();
        session_with(server, Ok(client)).await;
        assert_eq!(names_of(events).await, ["STOP"]);
    });
}

#[test]
fn c20_the_ways_to_a_tcp_port() {
    tell(async {
        let server = Server::tcp(script);
        let client = wait!(qmp::connect(server.address()));
        session_with(server, client).await;

        let server = Server::tcp(script);
        let Address::Tcp { host, port } = server.address().parse().unwrap() else { panic!() };
        let client = wait!(qmp::connect_tcp(host, port));
        session_with(server, client).await;
    });
}

#[test]
fn c20_a_given_socket_in_either_mode() {
    tell(async {
        for nonblocking in [false, true] {
            let (socket, script) = pair(script);
            socket.set_nonblocking(nonblocking).unwrap();
            session(wait!(qmp::from_stream(socket)).unwrap()).await;
            script.join();
        }
        let (socket, script) = pair(script);
        let (client, events) = wait!(Builder::new().from_stream_with_events(socket)).unwrap();
        session(client).await;
        assert_eq!(names_of(events).await, ["STOP"]);
        script.join();
    });
}

#[test]
fn c20_any_pair_of_streams() {
    tell(async {
        let (reader, writer, script) = pipes(script);
        let (reader, writer) = (runtime::stream(reader), runtime::stream(writer));
        session(wait!(qmp::from_io(reader, writer)).unwrap()).await;
        script.join();
    });
    tell(async {
        let (reader, writer, script) = pipes(script);
        let (reader, writer) = (runtime::stream(reader), runtime::stream(writer));
        let (client, events) = wait!(Builder::new().from_io_with_events(reader, writer)).unwrap();
        session(client).await;
        assert_eq!(names_of(events).await, ["STOP"]);
        script.join();
    });
}

#[test]
fn c20_two_fifos() {
    tell(async {
        let server = Server::fifos(|peer| {
            peer.greet();
            let stop = peer.expect("stop");
            peer.reply(&stop, "{}");
            peer.expect("last");
            // The end of a fifo is where nobody writes into it any more: QEMU has ended.
        });
        let client = wait!(qmp::connect(server.address())).unwrap();
        run(&client, "stop").await.unwrap();
        run(&client, "last").await.unwrap_err();
        assert_eq!(wait!(client.closed()), CloseReason::Eof { mid_message: false });
        server.join();
    });
}

#[test]
fn c20_an_inherited_descriptor_by_its_number() {
    tell(async {
        let (socket, script) = pair(script);
        // A sandbox may forbid what this needs beyond 0, 1 and 2.
        match wait!(qmp::connect(format!("fd:{}", socket.as_raw_fd()))) {
            Ok(client) => session(client).await,
            Err(ConnectError::Io(error)) if is_forbidden(&error) => {
                eprintln!("LEFT OUT: {error}");
                session(wait!(qmp::from_stream(socket.try_clone().unwrap())).unwrap()).await;
            }
            Err(error) => panic!("{error}"),
        }
        drop(socket);
        script.join();
    });
}

fn is_forbidden(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

/// Else each small command would wait until the one before is acknowledged.
#[cfg(target_os = "linux")]
#[test]
fn tcp_sends_at_once() {
    use qmp_client::descriptors::duplicate_inherited;

    tell(async {
        let server = Server::tcp(|peer| {
            peer.greet();
            peer.expect_eof();
        });
        let Address::Tcp { host, port } = server.address().parse().unwrap() else { panic!() };
        let peer = SocketAddr::new(host.parse().unwrap(), port);
        let client = wait!(qmp::connect(server.address())).unwrap();
        // Of all that is open here, the one that leads there.
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let opened: Vec<_> = numbers.map(duplicate_inherited).collect();
        let forbidden = |outcome: &Result<_, _>| outcome.as_ref().is_err_and(is_forbidden);
        let mut sockets = opened.iter().flatten().filter(|socket| {
            let at = rustix::net::getpeername(socket).ok().flatten();
            at.and_then(|at| at.try_into().ok()) == Some(peer)
        });
        match sockets.next() {
            Some(socket) => assert!(rustix::net::sockopt::tcp_nodelay(socket).unwrap()),
            None if opened.iter().any(forbidden) => eprintln!("LEFT OUT: pidfd_getfd is forbidden"),
            None => panic!("there is no socket to {peer}"),
        }
        drop((opened, client));
        server.join();
    });
}

#[test]
fn c9_negotiation_comes_first_and_by_itself() {
    tell(async {
        let mut ids = Vec::new();
        for oob in [false, true] {
            let (say, said) = mpsc::channel();
            let (socket, script) = pair(move |peer| {
                peer.say_hello();
                let negotiation = peer.expect("qmp_capabilities");
                peer.reply(&negotiation, "{}");
                say.send((negotiation.arguments, negotiation.id)).unwrap();
                assert_eq!(peer.serve(), ["stop"]);
            });
            let client = wait!(Builder::new().oob(oob).from_stream(socket)).unwrap();
            assert_eq!(client.greeting().capabilities, ["oob"]);
            run(&client, "stop").await.unwrap();
            let (arguments, id) = said.recv_timeout(PATIENCE).unwrap();
            let enabled = json!({ "enable": ["oob"] });
            assert_eq!(arguments, if oob { enabled } else { Value::Null });
            ids.push(id);
            drop(client);
            script.join();
        }
        assert_ne!(ids[0], ids[1], "another connection's id");
    });
}

#[test]
fn c9_what_another_client_left_behind_does_no_harm() {
    tell(async {
        let server = Server::unix(|peer| {
            peer.say_hello();
            peer.send(r#"{"return": {}, "id": "gone"}{"return": {}}{"return": 7, "id": 1}"#);
            peer.send(r#"{"error": {"class": "GenericError", "desc": "not yours"}}"#);
            let negotiation = peer.expect("qmp_capabilities");
            peer.event("EARLY", "{}");
            peer.reply(&negotiation, "{}");
            assert_eq!(peer.serve(), ["stop"]);
        });
        let (client, events) = wait!(qmp::connect_with_events(server.address())).unwrap();
        run(&client, "stop").await.unwrap();
        drop(client);
        assert_eq!(names_of(events).await, ["EARLY"]);
        server.join();
    });
}

/// QEMU sends events, and a previous client's replies, to whoever is connected.
#[test]
fn c9_events_and_replies_may_come_before_the_greeting() {
    tell(async {
        let server = Server::unix(|peer| {
            peer.event("VSERPORT_CHANGE", r#"{"open": false, "id": "channel0"}"#);
            peer.send(r#"{"return": {}, "id": "gone"}{"return": {}}{"return": 7, "id": 1}"#);
            peer.send(r#"{"error": {"class": "GenericError", "desc": "not yours"}}"#);
            peer.event("STOP", "{}");
            peer.greet();
            assert_eq!(peer.serve(), ["stop"]);
        });
        let (client, events) = wait!(qmp::connect_with_events(server.address())).unwrap();
        run(&client, "stop").await.unwrap();
        drop(client);
        assert_eq!(names_of(events).await, ["VSERPORT_CHANGE", "STOP"]);
        server.join();
    });
}

/// They are no reason to wait for longer than the deadline.
#[test]
fn c20_events_without_a_greeting_do_not_put_off_the_deadline() {
    tell(async {
        let (socket, script) = pair(move |peer| {
            let flood = qmp_tests::scripted::event_text("FLOOD", "{}").repeat(100);
            while peer.try_send(&flood) {}
        });
        let hasty = Builder::new().deadline(std::time::Duration::from_millis(100));
        let error = wait!(hasty.from_stream(socket)).unwrap_err();
        assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error:?}");
        script.join();
    });
}

#[test]
fn c20_a_server_that_comes_later_is_waited_for() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp.sock");
        let connecting = start({
            let path = path.clone();
            async move { wait!(qmp::connect_unix(path)) }
        });
        let machine = qmp_server::Machine::new();
        let server = qmp_server::net::Server::bind(&path, machine).unwrap();
        let client = finish(connecting).await.unwrap();
        let resumed = |event: &Event| event.name() == "RESUME";
        wait!(client.execute_until(&qmp::commands::Cont, resumed)).unwrap();
        drop((client, server));
    });
}
