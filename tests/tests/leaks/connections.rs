//! Connections of every kind, and of every fate.

use std::cell::Cell;
use std::fs::File;
use std::time::Duration;

use qmp_tests::qemu::make_fifo;
use qmp_tests::scripted::{Listener, Peer, Script, Server, pair, pipes};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::super::leaves_nothing;
use super::qmp;
use super::qmp::commands::{Getfd, Stop};
use super::qmp::{Address, Builder, Client, ConnectError, Error, Raw, Request};
use super::runtime::{finish, start, stream, tell};

pub(in super::super) fn come_and_go() {
    dropped();
    ended_by_the_server();
    failed();
    failed_over_fifos();
    stuck_over_fifos();
    stuck_over_terminals();
    descriptors_of_commands();
}

/// Runs a session so many times.
#[track_caller]
fn sessions(times: usize, session: impl AsyncFn()) {
    leaves_nothing(times, || tell(session()));
}

async fn run(client: &Client, name: &'static str) -> Result<Raw, Error> {
    wait!(client.execute_request(Request::new(name)))
}

fn serve_until_eof(peer: &mut Peer) {
    peer.greet();
    peer.serve();
}

fn hasty() -> Builder {
    Builder::new().deadline(Duration::from_millis(2))
}

fn dropped() {
    sessions(1_000, async || {
        let server = Server::unix(serve_until_eof);
        let (client, events) = wait!(qmp::connect_with_events(server.address())).unwrap();
        run(&client, "stop").await.unwrap();
        drop(client);
        server.join();
        drop(events);
    });
    sessions(50, async || {
        let server = Server::tcp(serve_until_eof);
        run(&wait!(qmp::connect(server.address())).unwrap(), "stop").await.unwrap();
        server.join();
    });
    sessions(50, async || {
        let (reader, writer, script) = pipes(serve_until_eof);
        let (reader, writer) = (stream(reader), stream(writer));
        run(&wait!(qmp::from_io(reader, writer)).unwrap(), "stop").await.unwrap();
        script.join();
    });
}

/// While commands wait for their replies.
fn ended_by_the_server() {
    const CALLERS: usize = 3;
    sessions(50, async || {
        let (socket, script) = pair(|peer| {
            peer.greet();
            peer.commands(CALLERS);
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let callers = [(); CALLERS].map(|()| {
            let client = client.clone();
            start(async move { run(&client, "stop").await.unwrap_err() })
        });
        for caller in callers {
            finish(caller).await;
        }
        script.join();
    });
}

fn failed() {
    sessions(50, async || {
        let (socket, script) = pair(|peer| peer.expect_eof());
        wait!(hasty().from_stream(socket)).unwrap_err();
        script.join();
    });
    sessions(50, async || {
        let (socket, script) = pair(|peer| {
            // The client may have given up by now.
            peer.try_send("(qemu) ");
            peer.serve();
        });
        wait!(hasty().from_stream(socket)).unwrap_err();
        script.join();
    });
    // A server that never accepts: what waits in its backlog is gone with it.
    sessions(20, async || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp.sock");
        let listener = Listener::bind(&path);
        wait!(hasty().connect(path.to_str().unwrap())).unwrap_err();
        drop(listener);
    });
}

/// The server of fifos outlives its clients, and does not learn that they are gone.
fn failed_over_fifos() {
    let folder = tempfile::tempdir().unwrap();
    let address = Address::Pipe(folder.path().join("qmp"));
    let [input, output] = ["qmp.in", "qmp.out"].map(|name| folder.path().join(name));
    make_fifo(&input);
    make_fifo(&output);
    sessions(20, async || {
        let error = wait!(hasty().connect(&address)).unwrap_err();
        assert!(matches!(error, ConnectError::NoSocket(_)), "{error:?}");
    });
    let server = [input, output].map(|path| File::options().read(true).write(true).open(path));
    let server = server.map(Result::unwrap);
    let peer = || {
        let [input, output] = server.each_ref().map(|file| file.try_clone().unwrap().into());
        Peer::new(input, output)
    };
    sessions(20, async || {
        let error = wait!(hasty().connect(&address)).unwrap_err();
        assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error:?}");
    });
    sessions(20, async || {
        let mut peer = peer();
        let script = Script::start(move || {
            peer.send("(qemu) ");
        });
        wait!(Builder::new().connect(&address)).unwrap_err();
        script.join();
    });
    // What is left of one that timed out takes nothing from the next.
    sessions(20, async || {
        wait!(hasty().connect(&address)).unwrap_err();
        let mut peer = peer();
        let script = Script::start(move || {
            peer.greet();
            let command = peer.expect("stop");
            peer.reply(&command, "{}");
        });
        run(&wait!(qmp::connect(&address)).unwrap(), "stop").await.unwrap();
        script.join();
    });
}

/// Servers that are busy read nothing: what their clients have sent fills the way to them when they
/// are dropped.
fn stuck_over_fifos() {
    let folder = tempfile::tempdir().unwrap();
    get_stuck(|number| {
        let path = folder.path().join(number.to_string());
        let ends = ["in", "out"].map(|end| {
            let path = path.with_extension(end);
            make_fifo(&path);
            File::options().read(true).write(true).open(path).unwrap()
        });
        (ends, Address::Pipe(path))
    });
}

fn stuck_over_terminals() {
    get_stuck(|_| {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).and_then(|()| unlockpt(&ours)).unwrap();
        // It does not echo, as QEMU's.
        let mut attributes = tcgetattr(&ours).unwrap();
        attributes.make_raw();
        tcsetattr(&ours, OptionalActions::Now, &attributes).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let ours = File::from(ours);
        let address = Address::Terminal(name.to_str().unwrap().into());
        ([ours.try_clone().unwrap(), ours], address)
    });
}

/// Each client negotiates with a server of its own, which lives on, and sends more than the way to it
/// takes.
fn get_stuck(server: impl Fn(usize) -> ([File; 2], Address)) {
    const TIMES: usize = 7;
    // Some go before the count.
    let servers: Vec<_> = (0..TIMES + 3).map(server).collect();
    let next = Cell::new(0);
    sessions(TIMES, async || {
        let (ends, address) = &servers[next.replace(next.get() + 1)];
        let [input, output] = ends.each_ref().map(|end| end.try_clone().unwrap().into());
        let script = Script::start(move || {
            Peer::new(input, output).greet();
        });
        let client = wait!(qmp::connect(address)).unwrap();
        script.join();
        let large = serde_json::json!({ "device": "x".repeat(1 << 20) });
        let hasty = client.with_timeout(Duration::from_millis(20));
        let error = wait!(hasty.execute_request(Request::new("eject").arguments(large)));
        assert_eq!(error.unwrap_err(), Error::TimedOut { sent: true });
    });
}

/// Sent, withdrawn, refused, or on their way when the connection ends.
fn descriptors_of_commands() {
    let open = || File::open("/dev/null").unwrap();
    let command = Getfd { fdname: "a" };
    sessions(50, async || {
        let server = Server::unix(|peer| {
            peer.greet();
            let sent = peer.expect("getfd");
            assert_eq!(sent.descriptors.len(), 1);
            peer.reply(&sent, "{}");
            peer.expect("stop");
        });
        let client = wait!(Builder::new().window(1).connect(server.address())).unwrap();
        wait!(client.execute_with_fd(&command, open())).unwrap();
        let hasty = client.with_timeout(Duration::ZERO);
        assert!(wait!(hasty.execute(&Stop)).is_err());
        wait!(hasty.execute_with_fd(&command, open())).unwrap_err();
        server.join();
        wait!(client.closed());
        wait!(client.execute_with_fd(&command, open())).unwrap_err();
    });
    sessions(50, async || {
        let server = Server::tcp(serve_until_eof);
        let client = wait!(qmp::connect(server.address())).unwrap();
        wait!(client.execute_with_fd(&command, open())).unwrap_err();
        drop(client);
        server.join();
    });
}
