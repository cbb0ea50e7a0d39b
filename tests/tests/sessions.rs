//! One client's connection, seen from the server; what stands between two; and a trace as a server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;

use qmp_blocking::commands::{Cont, Getfd, Quit};
use qmp_blocking::{Client, CommandError, Empty, Event, Raw, Request, Timestamp};
use qmp_client::descriptors;
use qmp_proto::trace::{Direction, Recorder, Trace};
use qmp_server::net::{ReplayError, Session, connect_machine, relay, replay};
use qmp_server::{Call, CloseReason, Config, Machine};
use qmp_tests::qemu::{closed, next_event, patient, within};
use qmp_tests::scripted::{PATIENCE, Script, run};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

type Answer = Result<Empty, CommandError>;

fn pair() -> (UnixStream, Session) {
    pair_with(Config::default())
}

fn pair_with(config: Config) -> (UnixStream, Session) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    (ours, Session::new(theirs, config).unwrap())
}

fn done() -> Answer {
    Ok(Empty {})
}

fn event(size: usize) -> Event {
    let data = Raw::new(&"x".repeat(size)).unwrap();
    Event::new("ODD", Some(&data), Timestamp { seconds: 0, microseconds: 0 })
}

fn expect(session: &Session, name: &str) -> Call {
    let call = session.next_call().expect("a command, not the end");
    assert_eq!(call.name, name);
    call
}

#[test]
fn an_answer_from_another_thread_lets_the_next_command_come() {
    let (socket, session) = pair();
    let (calls, called) = mpsc::channel::<Call>();
    let script = Script::start(move || {
        thread::scope(|scope| {
            scope.spawn(|| {
                for call in called {
                    session.respond(call.ticket, done()).unwrap();
                }
            });
            // Without out-of-band execution, nothing is read before the answer.
            while let Some(call) = session.next_call() {
                calls.send(call).unwrap();
            }
            drop(calls);
        });
    });
    let client = patient().from_stream(socket).unwrap();
    for _ in 0..1000 {
        run(&client, "stop").unwrap();
    }
    drop(client);
    script.join();
}

#[test]
fn an_out_of_band_command_passes_one_that_runs() {
    let (socket, session) = pair();
    let script = Script::start(move || {
        let slow = expect(&session, "slow");
        let urgent = expect(&session, "urgent");
        assert!(urgent.out_of_band && !slow.out_of_band);
        session.respond(urgent.ticket, done()).unwrap();
        // Answered after the next in-band command has come, which waits for it.
        session.respond(slow.ticket, done()).unwrap();
        let next = expect(&session, "next");
        session.respond(next.ticket, done()).unwrap();
        assert!(session.next_call().is_none());
    });
    let client = patient().oob(true).from_stream(socket).unwrap();
    let other = client.clone();
    let (sent, is_sent) = mpsc::channel();
    let slow = thread::spawn(move || {
        let hurry = other.with_timeout(std::time::Duration::ZERO);
        assert!(run(&hurry, "slow").is_err());
        sent.send(()).unwrap();
        run(&other, "next")
    });
    is_sent.recv_timeout(PATIENCE).unwrap();
    client.execute_request(Request::new("urgent").out_of_band()).unwrap();
    within(|| slow.join()).unwrap().unwrap();
    drop(client);
    script.join();
}

#[test]
fn each_command_goes_to_one_of_several_threads() {
    let (socket, session) = pair();
    let script = Script::start(move || {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(call) = session.next_call() {
                        session.respond(call.ticket, done()).unwrap();
                    }
                });
            }
        });
        assert_eq!(session.close_reason(), Some(CloseReason::Eof { mid_message: false }));
    });
    let client = patient().from_stream(socket).unwrap();
    for _ in 0..300 {
        run(&client, "stop").unwrap();
    }
    drop(client);
    script.join();
}

#[test]
fn what_finds_no_room_is_sent_when_the_client_reads() {
    const SIZE: usize = 8 << 20;
    let (mut socket, session) = pair();
    let (answered, is_answered) = mpsc::channel();
    let script = Script::start(move || {
        let call = expect(&session, "large");
        // It does not wait for the client, which reads nothing yet.
        session.respond(call.ticket, Ok("x".repeat(SIZE))).unwrap();
        assert!(!session.event(&event(1)), "too much waits already");
        answered.send(()).unwrap();
        assert!(session.next_call().is_none());
    });
    socket.write_all(br#"{"execute": "qmp_capabilities"}{"execute": "large"}"#).unwrap();
    is_answered.recv_timeout(PATIENCE).unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"xx\"}\r\n") {
        let mut piece = vec![0; 64 << 10];
        let length = socket.read(&mut piece).unwrap();
        assert!(length > 0, "the end after {} bytes", said.len());
        said.extend_from_slice(&piece[..length]);
    }
    assert!(said.len() > SIZE);
    drop(socket);
    script.join();
}

/// As above, but a thread waits for the next command when the event comes that finds no room.
#[test]
fn a_thread_that_waits_learns_that_there_is_more_to_send() {
    let (mut socket, session) = pair_with({
        let mut config = Config::default();
        config.max_output = usize::MAX;
        config
    });
    let (ready, is_ready) = mpsc::channel();
    let session = Arc::new(session);
    let its = session.clone();
    let waiting = Script::start(move || assert!(its.next_call().is_none()));
    let telling = Script::start(move || {
        is_ready.recv_timeout(PATIENCE).unwrap();
        assert!((0..50).all(|_| session.event(&event(100_000))));
    });
    socket.write_all(br#"{"execute": "qmp_capabilities"}"#).unwrap();
    let mut total = 0;
    let mut buffer = vec![0; 64 << 10];
    while !buffer[..total].ends_with(b"{\"return\": {}}\r\n") {
        total += socket.read(&mut buffer[total..]).unwrap();
    }
    ready.send(()).unwrap();
    let mut left = 50 * 100_000;
    while left > 0 {
        let length = socket.read(&mut buffer).unwrap();
        assert!(length > 0);
        left -= buffer[..length].iter().filter(|byte| **byte == b'x').count();
    }
    drop(socket);
    telling.join();
    waiting.join();
}

#[test]
fn a_client_that_leaves_is_told_by_the_next_call() {
    let (mut socket, session) = pair();
    socket.write_all(br#"{"execute": "qmp_capabilities"}{"execute": "stop"}{"exe"#).unwrap();
    drop(socket);
    let call = expect(&session, "stop");
    session.respond(call.ticket, done()).unwrap();
    assert!(session.next_call().is_none());
    assert_eq!(session.close_reason(), Some(CloseReason::Eof { mid_message: true }));
}

#[test]
fn close_sends_what_was_said_and_abort_does_not_wait() {
    let (mut socket, session) = pair();
    session.close();
    assert!(session.next_call().is_none());
    assert_eq!(session.close_reason(), Some(CloseReason::Requested));
    let mut said = String::new();
    // While the session is still there.
    socket.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("{\"QMP\""), "{said}");

    let (mut socket, session) = pair();
    socket.write_all(br#"{"execute": "qmp_capabilities"}{"execute": "large"}"#).unwrap();
    let call = expect(&session, "large");
    session.respond(call.ticket, Ok("x".repeat(8 << 20))).unwrap();
    session.close();
    assert_eq!(session.close_reason(), None, "not everything is sent");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| session.next_call().is_none());
        session.abort();
        assert!(waiting.join().unwrap());
    });
    assert_eq!(session.close_reason(), Some(CloseReason::Requested));
    let late = session.respond(call.ticket, done());
    assert_eq!(late, Err(qmp_server::RespondError::NotOutstanding));
}

/// What is to be sent, and what tells what became of it.
fn pipe() -> (OwnedFd, File) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    (writer, reader.into())
}

fn write(descriptor: Option<OwnedFd>, text: &str) {
    File::from(descriptor.expect("it came")).write_all(text.as_bytes()).unwrap();
}

/// What was written, once every copy of the other end is closed.
fn written(mut reader: File) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

/// The second half of a command that came with a descriptor does not take the next command's.
#[test]
fn c11_each_command_finds_the_descriptor_that_came_with_it() {
    let (socket, session) = pair();
    let ((a, read_a), (b, read_b)) = (pipe(), pipe());
    let send = |text: &str, descriptor: Option<OwnedFd>| {
        let descriptor = descriptor.as_ref().map(AsFd::as_fd);
        let sent = descriptors::send(socket.as_fd(), text.as_bytes(), descriptor).unwrap();
        assert_eq!(sent, text.len());
    };
    send(r#"{"execute": "qmp_capabilities"}"#, None);
    send(r#"{"execute": "ge"#, Some(a));
    send(r#"tfd", "arguments": {"fdname": "a"}}"#, None);
    send(r#"{"execute": "getfd", "arguments": {"fdname": "b"}}"#, Some(b));
    // All of that is there now.
    for text in ["first", "second"] {
        let call = expect(&session, "getfd");
        write(session.take_descriptor(), text);
        session.respond(call.ticket, done()).unwrap();
    }
    assert!(session.take_descriptor().is_none());
    assert_eq!([read_a, read_b].map(written), ["first", "second"]);
}

#[test]
fn c11_of_several_descriptors_in_a_message_the_first_counts_and_none_stays_open() {
    let (socket, session) = pair();
    let (writers, readers): (Vec<_>, Vec<_>) = [pipe(), pipe(), pipe()].into_iter().unzip();
    let borrowed: Vec<_> = writers.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    let text = br#"{"execute": "qmp_capabilities"}{"execute": "getfd"}"#;
    let bytes = [IoSlice::new(text)];
    let sent = rustix::net::sendmsg(&socket, &bytes, &mut control, SendFlags::empty());
    assert_eq!(sent, Ok(text.len()));
    drop(writers);
    expect(&session, "getfd");
    write(session.take_descriptor(), "taken");
    assert_eq!(readers.into_iter().map(written).collect::<Vec<_>>(), ["taken", "", ""]);
}

/// What a client did, and what the trace of it is.
fn recorded(server: impl Into<OwnedFd>, act: impl FnOnce(&Client)) -> Trace {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = server.into();
    let (sender, receiver) = mpsc::channel();
    let script = Script::start(move || {
        let mut recorder = Recorder::new(1 << 20);
        let mut text = recorder.header().to_owned();
        let at = std::time::Duration::ZERO;
        relay(theirs, server, |direction, bytes| {
            match bytes {
                [] => recorder.end(direction, at),
                bytes => recorder.record(direction, bytes, at),
            }
            while let Some(entry) = recorder.poll_entry() {
                text += &format!("{entry}\n");
            }
            Ok(())
        })
        .unwrap();
        sender.send(text).unwrap();
    });
    let client = patient().from_stream(ours).unwrap();
    act(&client);
    drop(client);
    script.join();
    receiver.recv_timeout(PATIENCE).unwrap().parse().unwrap()
}

fn story(client: &Client) {
    let mut events = client.events();
    client.execute(&Cont).unwrap();
    assert_eq!(next_event(&mut events).name(), "RESUME");
    assert!(run(client, "nonsense").is_err());
}

#[test]
fn a_relay_is_not_noticed_and_what_it_saw_replays() {
    for quits in [false, true] {
        let trace = recorded(connect_machine(Machine::new()).unwrap(), |client| {
            story(client);
            if quits {
                client.execute(&Quit).unwrap();
                assert_eq!(closed(client), qmp_blocking::CloseReason::Quit);
            }
        });
        let (ours, theirs) = UnixStream::pair().unwrap();
        let again = thread::spawn(move || replay(theirs, trace));
        let client = patient().from_stream(ours).unwrap();
        story(&client);
        if quits {
            client.execute(&Quit).unwrap();
        }
        drop(client);
        within(|| again.join()).unwrap().unwrap();
    }
}

#[test]
fn a_replay_tells_where_the_client_does_otherwise() {
    let trace = recorded(connect_machine(Machine::new()).unwrap(), story);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let again = thread::spawn(move || replay(theirs, trace));
    let client = patient().from_stream(ours).unwrap();
    client.execute(&Cont).unwrap();
    assert!(run(&client, "other").is_err());
    let Err(ReplayError::Mismatch(mismatch)) = within(|| again.join()).unwrap() else { panic!() };
    assert!(mismatch.expected.contains("nonsense") && mismatch.got.contains("other"));
}

#[test]
fn c11_a_relay_passes_descriptors_on() {
    let (server, session) = pair();
    let script = Script::start(move || {
        let call = expect(&session, "getfd");
        write(session.take_descriptor(), "taken");
        session.respond(call.ticket, done()).unwrap();
        assert!(session.next_call().is_none());
    });
    let (writer, reader) = pipe();
    recorded(server, |client| {
        client.execute_with_fd(&Getfd { fdname: "a" }, writer).unwrap();
    });
    assert_eq!(written(reader), "taken");
    script.join();
}

/// The server answers what came before the end, and the client gets it.
#[test]
fn a_relay_passes_the_end_of_a_stream_on_as_such() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let (server, session) = pair();
    let (ended, has_ended) = mpsc::channel();
    let relaying = Script::start(move || {
        relay(theirs, server, |direction, bytes| {
            if (direction, bytes) == (Direction::ToServer, &[]) {
                ended.send(()).unwrap();
            }
            Ok(())
        })
        .unwrap();
    });
    let serving = Script::start(move || {
        let call = expect(&session, "slow");
        has_ended.recv_timeout(PATIENCE).unwrap();
        session.respond(call.ticket, done()).unwrap();
        assert!(session.next_call().is_none());
        assert_eq!(session.close_reason(), Some(CloseReason::Eof { mid_message: false }));
    });
    ours.write_all(br#"{"execute": "qmp_capabilities"}{"execute": "slow", "id": 7}"#).unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("{\"return\": {}, \"id\": 7}\r\n"), "{said}");
    relaying.join();
    serving.join();
}

#[test]
fn an_error_of_the_one_who_sees_ends_a_relay() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = connect_machine(Machine::new()).unwrap();
    let script = Script::start(move || {
        let error = relay(theirs, server, |direction, bytes| {
            let is_command = direction == Direction::ToServer && bytes.ends_with(b"}\n");
            match is_command && String::from_utf8_lossy(bytes).contains("cont") {
                true => Err(ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
    });
    let client = patient().from_stream(ours).unwrap();
    assert!(client.execute(&Cont).is_err());
    script.join();
}
