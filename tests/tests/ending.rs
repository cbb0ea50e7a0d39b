//! C17, C18 and C19: how a connection ends, and that everybody learns of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use qmp_blocking::{
    Builder, Client, CloseReason, Error, Raw, Refusal, connect, connect_with_events,
};
use qmp_tests::scripted::{PATIENCE, Peer, Server, pair, run};

const WINDOW: usize = 4;

type Script = dyn FnOnce(&mut Peer) + Send;

fn unix(script: Box<Script>) -> Server {
    Server::unix(script)
}

fn tcp(script: Box<Script>) -> Server {
    Server::tcp(script)
}

/// Many threads wait, each for something else, when the connection ends in this way.
#[track_caller]
fn everybody_learns(server: impl Fn(Box<Script>) -> Server, end: fn(&mut Peer), expected: &str) {
    let (full, is_full) = mpsc::channel();
    let (queued, may_end) = mpsc::channel();
    let server = server(Box::new(move |peer| {
        peer.greet();
        let _in_flight = peer.commands(WINDOW);
        full.send(()).unwrap();
        may_end.recv_timeout(PATIENCE).unwrap();
        end(peer);
    }));
    let client = Builder::new().window(WINDOW).max_queued(WINDOW + 1, usize::MAX);
    let (client, events) = client.connect_with_events(server.address()).unwrap();
    thread::scope(|scope| {
        let sent = [(); WINDOW].map(|()| scope.spawn(|| run(&client, "sent")));
        let idle = scope.spawn(|| client.wait_idle(None));
        let closed = scope.spawn(|| client.closed());
        let ended = scope.spawn(|| events.count());
        is_full.recv_timeout(PATIENCE).unwrap();
        let not_sent = scope.spawn(|| run_when_there_is_room(&client));
        wait_until_no_room(&client);
        queued.send(()).unwrap();
        let reason = closed.join().unwrap();
        assert_eq!(reason.to_string(), expected);
        for thread in sent {
            assert_eq!(thread.join().unwrap(), Err(Error::Unanswered(reason.clone())));
        }
        assert_eq!(not_sent.join().unwrap(), Err(Error::NotSent(reason)));
        assert_eq!(idle.join().unwrap(), Ok(()), "a connection that has ended is idle");
        assert_eq!(ended.join().unwrap(), 0);
    });
    after_the_end(&client, &client.closed());
    drop(client);
    server.join();
}

fn run_when_there_is_room(client: &Client) -> Result<Raw, Error> {
    loop {
        match run(client, "queued") {
            Err(Error::Refused(Refusal::QueueFull)) => thread::yield_now(),
            outcome => return outcome,
        }
    }
}

/// Waits until another thread has taken the last place in the queue. What is tried meanwhile takes
/// it itself, and is withdrawn.
fn wait_until_no_room(client: &Client) {
    let hasty = client.with_timeout(Duration::ZERO);
    loop {
        match run(&hasty, "withdrawn") {
            Err(Error::Refused(Refusal::QueueFull)) => return,
            Err(Error::TimedOut { sent: false }) => thread::yield_now(),
            other => panic!("{other:?}"),
        }
    }
}

/// Everything says at once, and each time, how it ended.
fn after_the_end(client: &Client, reason: &CloseReason) {
    for _ in 0..2 {
        assert_eq!(client.closed(), *reason);
        assert_eq!(client.close_reason().as_ref(), Some(reason));
        let refused = run(client, "late").unwrap_err();
        assert_eq!(refused, Error::Refused(Refusal::Closed(reason.clone())));
        assert_eq!(client.wait_idle(None), Ok(()));
        assert!(client.events().next().is_none());
        assert_eq!(client.close(PATIENCE), Ok(()));
    }
}

#[test]
fn c17_everybody_learns_of_eof() {
    for server in [unix, tcp] {
        everybody_learns(server, |_| {}, "the server closed the connection");
    }
}

#[test]
fn c17_everybody_learns_of_an_end_in_the_middle_of_a_message() {
    let end = |peer: &mut Peer| peer.send(r#"{"return": {"status": "runn"#);
    everybody_learns(unix, end, "the server closed the connection in the middle of a message");
}

#[test]
fn c17_everybody_learns_of_a_reset() {
    everybody_learns(tcp, Peer::reset, "the server reset the connection");
}

#[test]
fn c17_everybody_learns_of_the_servers_faults() {
    let end = |peer: &mut Peer| {
        peer.send("(qemu) ");
        peer.expect_eof();
    };
    everybody_learns(unix, end, "expected a JSON object, found the byte 0x28");
    let end = |peer: &mut Peer| {
        peer.say_hello();
        peer.expect_eof();
    };
    everybody_learns(unix, end, "a second greeting: the server has restarted");
    let end = |peer: &mut Peer| {
        peer.send("{\"return\": {}]");
        peer.expect_eof();
    };
    everybody_learns(unix, end, "mismatched bracket at byte 13 of a message");
    let end = |peer: &mut Peer| {
        peer.send(r#"{"error": {"class": "GenericError", "desc": "which?"}}"#);
        peer.expect_eof();
    };
    let expected = "an error without an id, while several commands wait: GenericError: which?";
    everybody_learns(unix, end, expected);
}

/// What came before the end is not lost with it.
#[test]
fn c17_replies_and_events_before_the_end_are_told() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        let command = peer.expect("stop");
        peer.event("STOP", "{}");
        peer.reply(&command, "{}");
    });
    let client = qmp_blocking::from_stream(socket).unwrap();
    let events = client.events();
    run(&client, "stop").unwrap();
    assert_eq!(client.closed(), CloseReason::Eof { mid_message: false });
    assert_eq!(events.map(|event| event.unwrap().name().to_owned()).collect::<Vec<_>>(), ["STOP"]);
    script.join();
}

/// It goes on to send, or might: but no command can reach it any more.
#[test]
fn c17_a_server_that_takes_nothing_any_more_ends_it() {
    let (ended, has_ended) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let stop = peer.expect("stop");
        peer.finish_reading();
        peer.reply(&stop, "{}");
        has_ended.recv_timeout(PATIENCE).expect("the client gives up");
    });
    let client = qmp_blocking::from_stream(socket).unwrap();
    run(&client, "stop").unwrap();
    let reset = CloseReason::Failed(qmp_proto::IoFailure::Reset);
    assert_eq!(run(&client, "cont"), Err(Error::Unanswered(reset.clone())));
    after_the_end(&client, &reset);
    ended.send(()).unwrap();
    script.join();
}

/// QEMU serves one client at a time: one that is kept open by mistake locks out everyone else.
#[test]
fn c18_the_last_client_dropped_closes_at_once() {
    let server = Server::unix_listener(|listener| {
        let mut first = listener.accept();
        first.greet();
        first.expect_eof();
        let mut second = listener.accept();
        second.greet();
        assert_eq!(second.serve(), ["stop"]);
        // Only now is the first one's socket closed on this side.
        drop(first);
    });
    let (client, mut idle) = connect_with_events(server.address()).unwrap();
    let busy = client.events();
    let with_timeout = client.with_timeout(PATIENCE);
    let other = client.clone();
    thread::scope(|scope| {
        // One iterator waits, in a read of the socket perhaps; the other is just there.
        let waiting = scope.spawn(|| busy.count());
        drop(client);
        drop(other);
        assert_eq!(with_timeout.close_reason(), None, "one handle is left");
        drop(with_timeout);
        assert_eq!(waiting.join().unwrap(), 0);
    });
    let second = connect(server.address()).unwrap();
    run(&second, "stop").unwrap();
    drop(second);
    server.join();
    assert!(idle.next().is_none());
}

/// A client that has given up a command which its server does not answer.
fn with_a_reply_owed() -> (Client, qmp_tests::scripted::Script) {
    let (socket, script) = pair(|peer| {
        peer.greet();
        peer.expect("slow");
        peer.expect_eof();
    });
    let client = qmp_blocking::from_stream(socket).unwrap();
    assert!(run(&client.with_timeout(Duration::ZERO), "slow").is_err());
    (client, script)
}

#[test]
fn c18_a_client_dropped_with_replies_owed_closes_at_once() {
    let (client, script) = with_a_reply_owed();
    drop(client);
    script.join();
}

#[test]
fn c19_close_waits_for_replies_and_refuses_new_commands() {
    let (sent, is_sent) = mpsc::channel();
    let (closing, may_answer) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let slow = peer.expect("slow");
        sent.send(()).unwrap();
        may_answer.recv_timeout(PATIENCE).unwrap();
        peer.reply(&slow, "\"late, but there\"");
        peer.expect_eof();
    });
    let builder = Builder::new().window(1).max_queued(2, usize::MAX);
    let client = builder.from_stream(socket).unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| run(&client, "slow"));
        is_sent.recv_timeout(PATIENCE).unwrap();
        let queued = scope.spawn(|| run_when_there_is_room(&client));
        wait_until_no_room(&client);
        let close = scope.spawn(|| client.close(PATIENCE));
        let refused = loop {
            match run(&client.with_timeout(Duration::ZERO), "late").unwrap_err() {
                Error::Refused(Refusal::QueueFull) => thread::yield_now(),
                other => break other,
            }
        };
        assert_eq!(refused, Error::Refused(Refusal::Closing));
        closing.send(()).unwrap();
        assert_eq!(queued.join().unwrap(), Err(Error::NotSent(CloseReason::Requested)));
        assert_eq!(slow.join().unwrap().unwrap().as_str(), Ok("\"late, but there\""));
        assert_eq!(close.join().unwrap(), Ok(()));
    });
    after_the_end(&client, &CloseReason::Requested);
    script.join();
}

#[test]
fn c19_close_ends_at_its_deadline() {
    let (client, script) = with_a_reply_owed();
    assert_eq!(client.close(Duration::from_millis(10)), Err(Error::StillBusy));
    after_the_end(&client, &CloseReason::Requested);
    script.join();
}

/// Many close at once, from several clones, while others execute.
#[test]
fn c19_closing_from_everywhere_ends_each_command_once() {
    for _ in 0..50 {
        let (socket, script) = pair(|peer| {
            peer.greet();
            peer.serve();
        });
        let client = qmp_blocking::from_stream(socket).unwrap();
        thread::scope(|scope| {
            for thread in 0..6 {
                let client = client.clone();
                scope.spawn(move || match thread % 3 {
                    0 => drop(client.close(PATIENCE)),
                    1 => while run(&client, "stop").is_ok() {},
                    _ => assert_eq!(client.closed(), CloseReason::Requested),
                });
            }
        });
        assert_eq!(client.closed(), CloseReason::Requested);
        script.join();
    }
}
