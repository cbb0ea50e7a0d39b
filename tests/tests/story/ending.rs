//! C17: a connection ends, and everybody learns of it.

use std::sync::mpsc;
use std::time::Duration;

use qmp_tests::faulty_streams::{Failing, Truncated};
use qmp_tests::scripted::{Peer, Server, pair, pipes};
use smol::future::yield_now;

use super::qmp::{Builder, Client, CloseReason, Error, IoFailure, Raw, Refusal};
use super::runtime::{finish, start, tell};
use super::{after_the_end, heard, names_of, qmp, run, runtime};

const WINDOW: usize = 4;

/// Many wait, each for something else, when the connection ends in this way.
async fn everybody_learns(tcp: bool, end: fn(&mut Peer), expected: &str) {
    let (full, is_full) = mpsc::channel();
    let (queued, may_end) = mpsc::channel();
    let script = move |peer: &mut Peer| {
        peer.greet();
        let _in_flight = peer.commands(WINDOW);
        full.send(()).unwrap();
        heard(&may_end);
        end(peer);
    };
    let server = if tcp { Server::tcp(script) } else { Server::unix(script) };
    let builder = Builder::new().window(WINDOW).max_queued(WINDOW + 1, usize::MAX);
    let (client, events) = wait!(builder.connect_with_events(server.address())).unwrap();
    let sent = [(); WINDOW].map(|()| {
        let client = client.clone();
        start(async move { run(&client, "sent").await })
    });
    let idle = start({
        let client = client.clone();
        async move { wait!(client.wait_idle(None)) }
    });
    let closed = start({
        let client = client.clone();
        async move { wait!(client.closed()) }
    });
    let ended = start(names_of(events));
    heard(&is_full);
    let not_sent = start(run_when_there_is_room(client.clone()));
    wait_until_no_room(&client).await;
    queued.send(()).unwrap();
    let reason = finish(closed).await;
    assert_eq!(reason.to_string(), expected);
    for caller in sent {
        assert_eq!(finish(caller).await, Err(Error::Unanswered(reason.clone())));
    }
    assert_eq!(finish(not_sent).await, Err(Error::NotSent(reason.clone())));
    assert_eq!(finish(idle).await, Ok(()), "a connection that has ended is idle");
    assert!(finish(ended).await.is_empty());
    after_the_end(&client, &reason).await;
    drop(client);
    server.join();
}

pub(super) async fn run_when_there_is_room(client: Client) -> Result<Raw, Error> {
    loop {
        match run(&client, "queued").await {
            Err(Error::Refused(Refusal::QueueFull)) => yield_now().await,
            outcome => return outcome,
        }
    }
}

/// Waits until another caller has taken the last place in the queue. What is tried meanwhile takes
/// it itself, and is withdrawn.
pub(super) async fn wait_until_no_room(client: &Client) {
    let hasty = client.with_timeout(Duration::ZERO);
    loop {
        match run(&hasty, "withdrawn").await {
            Err(Error::Refused(Refusal::QueueFull)) => return,
            Err(Error::TimedOut { sent: false }) => yield_now().await,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn c17_everybody_learns_of_eof() {
    tell(async {
        for tcp in [false, true] {
            everybody_learns(tcp, |_| {}, "the server closed the connection").await;
        }
    });
}

#[test]
fn c17_everybody_learns_of_an_end_in_the_middle_of_a_message() {
    tell(async {
        let end = |peer: &mut Peer| peer.send(r#"{"return": {"status": "runn"#);
        let expected = "the server closed the connection in the middle of a message";
        everybody_learns(false, end, expected).await;
    });
}

#[test]
fn c17_everybody_learns_of_a_reset() {
    tell(async {
        everybody_learns(true, Peer::reset, "the server reset the connection").await;
    });
}

#[test]
fn c17_everybody_learns_of_the_servers_faults() {
    tell(async {
        let end = |peer: &mut Peer| {
            peer.send("(qemu) ");
            peer.expect_eof();
        };
        everybody_learns(false, end, "expected a JSON object, found the byte 0x28").await;
        let end = |peer: &mut Peer| {
            peer.say_hello();
            peer.expect_eof();
        };
        let expected = "a second greeting: the server has restarted";
        everybody_learns(false, end, expected).await;
        let end = |peer: &mut Peer| {
            peer.send("{\"return\": {}]");
            peer.expect_eof();
        };
        everybody_learns(false, end, "mismatched bracket at byte 13 of a message").await;
        let end = |peer: &mut Peer| {
            peer.send(r#"{"error": {"class": "GenericError", "desc": "which?"}}"#);
            peer.expect_eof();
        };
        let expected =
            "an error without an id, which any command may have caused: GenericError: which?";
        everybody_learns(false, end, expected).await;
    });
}

/// What came before the end is not lost with it.
#[test]
fn c17_replies_and_events_before_the_end_are_told() {
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            let command = peer.expect("stop");
            peer.event("STOP", "{}");
            peer.reply(&command, "{}");
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let events = client.events();
        run(&client, "stop").await.unwrap();
        assert_eq!(wait!(client.closed()), CloseReason::Eof { mid_message: false });
        assert_eq!(names_of(events).await, ["STOP"]);
        script.join();
    });
}

/// It goes on to send, or might: but no command can reach it any more, so it can be sent elsewhere.
#[test]
fn c17_a_server_that_takes_nothing_any_more_ends_it() {
    tell(async {
        let (ended, has_ended) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let stop = peer.expect("stop");
            peer.finish_reading();
            peer.reply(&stop, "{}");
            heard(&has_ended);
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        run(&client, "stop").await.unwrap();
        let reset = CloseReason::Failed(IoFailure::Reset);
        assert_eq!(run(&client, "cont").await, Err(Error::NotSent(reset.clone())));
        after_the_end(&client, &reset).await;
        ended.send(()).unwrap();
        script.join();
    });
}

/// Many servers close TLS without its farewell, QEMU at its `quit` too.
#[test]
fn c12_c17_a_tls_stream_that_just_ends_has_ended() {
    tell(async {
        for (name, mid_message, expected) in [
            ("stop", false, CloseReason::Eof { mid_message: false }),
            ("stop", true, CloseReason::Eof { mid_message: true }),
            ("quit", false, CloseReason::Quit),
        ] {
            let (reader, writer, script) = pipes(move |peer| {
                peer.greet();
                let command = peer.expect(name);
                peer.reply(&command, "{}");
                if mid_message {
                    peer.send("{");
                }
            });
            let reader = Truncated(runtime::stream(reader));
            let client = wait!(qmp::from_io(reader, runtime::stream(writer))).unwrap();
            run(&client, name).await.unwrap();
            after_the_end(&client, &expected).await;
            script.join();
        }
    });
}

/// What the stream says of its failure is told: for streams other than sockets there is no number.
#[test]
fn c17_c22_a_stream_that_fails_is_told_in_its_own_words() {
    tell(async {
        let (reader, writer, script) = pipes(|peer| {
            peer.greet();
            peer.expect_eof();
        });
        let reader = Failing { stream: runtime::stream(reader), after: 2 };
        let error = match wait!(qmp::from_io(reader, runtime::stream(writer))) {
            Ok(client) => wait!(client.closed()).to_string(),
            Err(error) => error.to_string(),
        };
        assert!(
            error.ends_with("the transport failed: invalid data: no such certificate"),
            "{error}"
        );
        script.join();
    });
}
