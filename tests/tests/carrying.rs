//! C10 and C11: how many commands are in flight, and the descriptors that ride along.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use qmp_blocking::commands::{AddFd, Getfd};
use qmp_blocking::{
    Builder, Client, Empty, Error, Refusal, Request, connect, from_io, from_stream,
};
use qmp_tests::scripted::{Command, PATIENCE, Server, pair, pipes, run};
use serde::Serialize;

/// A command that is given up at once; tells whether it was sent.
fn is_sent(client: &Client, name: &'static str) -> bool {
    is_sent_request(client, Request::new(name))
}

fn is_sent_request<A: Serialize>(client: &Client, request: Request<A, OwnedFd>) -> bool {
    match client.with_timeout(Duration::ZERO).execute_request(request) {
        Err(Error::TimedOut { sent }) => sent,
        other => panic!("expected a timeout, found {other:?}"),
    }
}

/// A descriptor, and what tells when it is closed.
struct Tracked(File);

fn tracked() -> (OwnedFd, Tracked) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    (writer, Tracked(reader.into()))
}

impl Tracked {
    /// What was written into it, once it is closed everywhere.
    fn written(mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        text
    }

    #[track_caller]
    fn assert_closed(self) {
        assert_eq!(self.written(), "");
    }
}

/// The one descriptor of a command, which came with its first byte.
fn descriptor_of(command: &mut Command) -> File {
    let [(at, descriptor)] = <[_; 1]>::try_from(std::mem::take(&mut command.descriptors)).unwrap();
    assert_eq!(at, 0, "it came with the first byte");
    descriptor.into()
}

fn getfd(name: &str) -> Getfd<'_> {
    Getfd { fdname: name }
}

#[test]
fn c10_with_oob_seven_in_band_commands_are_in_flight_and_exec_oob_passes_them() {
    let (timed_out, may_answer) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let commands = peer.commands(7);
        may_answer.recv_timeout(PATIENCE).unwrap();
        let urgent = peer.expect("yank");
        assert!(urgent.out_of_band && commands.iter().all(|command| !command.out_of_band));
        peer.reply(&urgent, "{}");
        // One reply makes room for one command, though nobody waited for it.
        peer.reply(&commands[0], "{}");
        let eighth = peer.expect("eighth");
        peer.reply(&eighth, "{}");
        peer.expect_eof();
    });
    let client = Builder::new().oob(true).from_stream(socket).unwrap();
    assert!((0..7).all(|_| is_sent(&client, "slow")));
    assert!(!is_sent(&client, "withdrawn"));
    timed_out.send(()).unwrap();
    client.execute_request(Request::new("yank").out_of_band()).unwrap();
    run(&client, "eighth").unwrap();
    drop(client);
    script.join();
}

#[test]
fn c10_without_oob_the_window_is_wide() {
    for (window, builder) in [(64, Builder::new()), (3, Builder::new().window(3))] {
        let (socket, script) = pair(move |peer| {
            let negotiation = peer.greet();
            assert!(negotiation.arguments.is_null(), "oob is off");
            peer.commands(window);
            peer.expect_eof();
        });
        let client = builder.from_stream(socket).unwrap();
        let refused = client.execute_request(Request::new("yank").out_of_band());
        assert_eq!(refused, Err(Error::Refused(Refusal::OobNotNegotiated)));
        assert!((0..window).all(|_| is_sent(&client, "slow")));
        assert!(!is_sent(&client, "withdrawn"));
        drop(client);
        script.join();
    }
}

#[test]
fn c11_a_descriptor_comes_once_with_the_first_byte_of_its_command() {
    const COMMANDS: usize = 3;
    let (socket, script) = pair(|peer| {
        peer.greet();
        peer.read_bytewise();
        for number in 0..COMMANDS {
            let plain = peer.expect("stop");
            assert!(plain.descriptors.is_empty());
            peer.reply(&plain, "{}");
            let mut command = peer.expect("getfd");
            std::io::Write::write_all(&mut descriptor_of(&mut command), &[b'0' + number as u8])
                .unwrap();
            peer.reply(&command, "{}");
        }
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    for number in 0..COMMANDS {
        let (descriptor, tracked) = tracked();
        run(&client, "stop").unwrap();
        let Empty {} = client.execute_with_fd(&getfd("a"), descriptor).unwrap();
        // The one that this process had is closed too.
        assert_eq!(tracked.written(), number.to_string());
    }
    drop(client);
    script.join();
}

/// The socket is full when the command's turn comes, and it is larger than what then has room.
#[test]
fn c11_after_a_partial_write_the_descriptor_is_not_sent_again() {
    const BIG: usize = 40_000;
    let (full, may_read) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        may_read.recv_timeout(PATIENCE).unwrap();
        peer.read_bytewise();
        let mut first = peer.expect("getfd");
        assert!(first.raw.len() > BIG);
        std::io::Write::write_all(&mut descriptor_of(&mut first), b"here").unwrap();
        let last = peer.expect("last");
        assert!(last.descriptors.is_empty());
        peer.reply(&last, "{}");
        peer.expect_eof();
    });
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, BIG / 10).unwrap();
    let client = from_stream(socket).unwrap();
    let text = "x".repeat(BIG);
    let big = |name| Request::new(name).arguments(serde_json::json!({ "text": &text }));
    let (descriptor, tracked) = tracked();
    assert!(is_sent_request(&client, big("getfd").descriptor(descriptor)));
    full.send(()).unwrap();
    run(&client, "last").unwrap();
    assert_eq!(tracked.written(), "here");
    drop(client);
    script.join();
}

#[test]
fn c11_with_oob_a_descriptor_is_a_barrier() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        let mut first = peer.expect("getfd");
        let plain = peer.expect("stop");
        drop(descriptor_of(&mut first));
        peer.reply(&plain, "{}");
        peer.reply(&first, "{}");
        let mut second = peer.expect("add-fd");
        drop(descriptor_of(&mut second));
        peer.reply(&second, r#"{"fdset-id": 1, "fd": 9}"#);
        peer.expect_eof();
    });
    let client = Builder::new().oob(true).from_stream(socket).unwrap();
    let ((first, one), (second, two), (third, three)) = (tracked(), tracked(), tracked());
    assert!(is_sent_request(&client, Request::of(&getfd("a")).descriptor(first)));
    assert!(!is_sent_request(&client, Request::of(&getfd("b")).descriptor(second)));
    two.assert_closed();
    run(&client, "stop").unwrap();
    let added = client.execute_with_fd(&AddFd::default(), third).unwrap();
    assert_eq!(added.fd, 9);
    [one, three].into_iter().for_each(Tracked::assert_closed);
    let (descriptor, tracked) = tracked();
    let command = getfd("a");
    let out_of_band = Request::of(&command).out_of_band().descriptor(descriptor);
    let refused = client.execute_request(out_of_band);
    assert_eq!(refused, Err(Error::Refused(Refusal::DescriptorOutOfBand)));
    tracked.assert_closed();
    drop(client);
    script.join();
}

#[track_caller]
fn assert_refused(client: &Client) {
    let (descriptor, tracked) = tracked();
    let refused = client.execute_with_fd(&getfd("a"), descriptor).unwrap_err();
    assert_eq!(refused, Error::Refused(Refusal::NoDescriptors));
    tracked.assert_closed();
    run(client, "stop").unwrap();
}

/// The kernel, or a thread between, would lose it without a word.
#[test]
fn c11_a_descriptor_is_refused_where_the_transport_cannot_carry_it() {
    let script = |peer: &mut qmp_tests::scripted::Peer| {
        peer.greet();
        let stop = peer.expect("stop");
        peer.reply(&stop, "{}");
    };
    for server in [Server::tcp(script), Server::fifos(script)] {
        assert_refused(&connect(server.address()).unwrap());
        server.join();
    }
    let (reader, writer, script) = pipes(script);
    assert_refused(&from_io(reader, writer).unwrap());
    script.join();
}

/// However its command ends, it is closed here.
#[test]
fn c11_a_descriptor_is_closed_when_its_command_fails() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        let command = peer.expect("getfd");
        peer.fail(&command, "GenericError", "no");
        drop(command);
        peer.expect("getfd");
    });
    let client = Builder::new().window(1).from_stream(socket).unwrap();
    let ((failed, one), (unanswered, two), (refused, three)) = (tracked(), tracked(), tracked());
    assert!(matches!(client.execute_with_fd(&getfd("a"), failed), Err(Error::Command(_))));
    one.assert_closed();
    assert!(matches!(client.execute_with_fd(&getfd("a"), unanswered), Err(Error::Unanswered(_))));
    script.join();
    two.assert_closed();
    assert!(matches!(client.execute_with_fd(&getfd("a"), refused), Err(Error::Refused(_))));
    three.assert_closed();
}
