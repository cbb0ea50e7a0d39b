//! Connections that are opened and dropped leave no thread and no descriptor behind. This counts
//! those of the whole process, so it is a test alone.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::commands::{Getfd, Stop};
use qmp_blocking::{Address, Builder, ConnectError, connect, connect_with_events, from_io};
use qmp_tests::qemu::make_fifo;
use qmp_tests::scripted::{Listener, PATIENCE, Peer, Script, Server, pair, pipes, run};

fn count(what: &str) -> usize {
    fs::read_dir(format!("/proc/self/{what}")).unwrap().count()
}

/// Runs it a few times, so that whatever stays for good is there, and then many times. Threads that
/// are about to end have time to.
#[track_caller]
fn leaves_nothing(times: usize, mut run: impl FnMut()) {
    (0..3).for_each(|_| run());
    settle_at(usize::MAX, usize::MAX);
    let (threads, descriptors) = (count("task"), count("fd"));
    (0..times).for_each(|_| run());
    settle_at(threads, descriptors);
}

/// Waits until there are no more than so many; with no limits, until this thread is alone with the
/// one that started it.
#[track_caller]
fn settle_at(threads: usize, descriptors: usize) {
    let start = Instant::now();
    let threads = threads.min(2);
    while count("task") > threads || count("fd") > descriptors {
        assert!(
            start.elapsed() < PATIENCE,
            "{} threads (not {threads}) and {} descriptors (not {descriptors}) are left",
            count("task"),
            count("fd")
        );
        thread::yield_now();
    }
}

fn serve_until_eof(peer: &mut Peer) {
    peer.greet();
    peer.serve();
}

#[test]
fn c18_c11_connections_leave_no_thread_and_no_descriptor_behind() {
    leaves_nothing(1_000, || {
        let server = Server::unix(serve_until_eof);
        let (client, events) = connect_with_events(server.address()).unwrap();
        run(&client, "stop").unwrap();
        drop(client);
        server.join();
        drop(events);
    });
    leaves_nothing(50, || {
        let server = Server::tcp(serve_until_eof);
        run(&connect(server.address()).unwrap(), "stop").unwrap();
        server.join();
    });
    leaves_nothing(50, || {
        let (reader, writer, script) = pipes(serve_until_eof);
        run(&from_io(reader, writer).unwrap(), "stop").unwrap();
        script.join();
    });
    // The server ends it, while threads wait.
    leaves_nothing(50, || {
        let (socket, script) = pair(|peer| {
            peer.greet();
            peer.commands(3);
        });
        let client = qmp_blocking::from_stream(socket).unwrap();
        thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(|| run(&client, "stop").unwrap_err())));
        });
        script.join();
    });
    // The guard of a callback is kept for longer.
    let mut kept = Vec::new();
    leaves_nothing(50, || {
        let server = Server::unix(serve_until_eof);
        let client = connect(server.address()).unwrap();
        kept.push(client.on_any_event(|_| {}));
        drop(client);
        server.join();
    });
    drop(kept);
    failed_connections();
    failed_connections_over_fifos();
    descriptors_of_commands();
}

fn failed_connections() {
    let hasty = Builder::new().deadline(Duration::from_millis(2));
    leaves_nothing(50, || {
        let (socket, script) = pair(|peer| peer.expect_eof());
        hasty.from_stream(socket).unwrap_err();
        script.join();
    });
    leaves_nothing(50, || {
        let (socket, script) = pair(|peer| {
            // The client may have given up by now.
            peer.try_send("(qemu) ");
            peer.serve();
        });
        hasty.from_stream(socket).unwrap_err();
        script.join();
    });
    // A server that never accepts: what waits in its backlog is gone with it.
    leaves_nothing(20, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp.sock");
        let listener = Listener::bind(&path);
        hasty.connect(path.to_str().unwrap()).unwrap_err();
        drop(listener);
    });
}

/// The server of fifos outlives its clients, and does not learn that they are gone.
fn failed_connections_over_fifos() {
    let hasty = Builder::new().deadline(Duration::from_millis(2));
    let folder = tempfile::tempdir().unwrap();
    let address = Address::Pipe(folder.path().join("qmp"));
    let [input, output] = ["qmp.in", "qmp.out"].map(|name| folder.path().join(name));
    make_fifo(&input);
    make_fifo(&output);
    leaves_nothing(20, || {
        let error = hasty.connect(&address).unwrap_err();
        assert!(matches!(error, ConnectError::NoSocket(_)), "{error:?}");
    });
    let server = [input, output].map(|path| File::options().read(true).write(true).open(path));
    let server = server.map(Result::unwrap);
    let peer = || {
        let [input, output] = server.each_ref().map(|file| file.try_clone().unwrap().into());
        Peer::new(input, output)
    };
    leaves_nothing(20, || {
        let error = hasty.connect(&address).unwrap_err();
        assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error:?}");
    });
    leaves_nothing(20, || {
        let mut peer = peer();
        let script = Script::start(move || {
            peer.send("(qemu) ");
        });
        Builder::new().connect(&address).unwrap_err();
        script.join();
    });
    // What is left of one that timed out takes nothing from the next.
    leaves_nothing(20, || {
        hasty.connect(&address).unwrap_err();
        let mut peer = peer();
        let script = Script::start(move || {
            peer.greet();
            let command = peer.expect("stop");
            peer.reply(&command, "{}");
        });
        run(&connect(&address).unwrap(), "stop").unwrap();
        script.join();
    });
}

/// Sent, withdrawn, refused, or on their way when the connection ends.
fn descriptors_of_commands() {
    let open = || File::open("/dev/null").unwrap();
    let command = Getfd { fdname: "a" };
    leaves_nothing(50, || {
        let server = Server::unix(|peer| {
            peer.greet();
            let sent = peer.expect("getfd");
            assert_eq!(sent.descriptors.len(), 1);
            peer.reply(&sent, "{}");
            peer.expect("stop");
        });
        let client = Builder::new().window(1).connect(server.address()).unwrap();
        client.execute_with_fd(&command, open()).unwrap();
        let hasty = client.with_timeout(Duration::ZERO);
        assert!(hasty.execute(&Stop).is_err());
        hasty.execute_with_fd(&command, open()).unwrap_err();
        server.join();
        client.closed();
        client.execute_with_fd(&command, open()).unwrap_err();
    });
    leaves_nothing(50, || {
        let server = Server::tcp(serve_until_eof);
        connect(server.address()).unwrap().execute_with_fd(&command, open()).unwrap_err();
        server.join();
    });
}
