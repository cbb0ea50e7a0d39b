//! Servers that are slow, deaf, noisy, confused, or gone in the middle of a word: each costs the
//! client no more than it must, and never its deadline.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::{
    Builder, Client, CloseReason, ConnectError, Error, EventLimits, Raw, Refusal, Request,
    from_stream,
};
use qmp_tests::scripted::{Command, GREETING, PATIENCE, Peer, Server, event_text, pair, run};

/// How long somebody waits who is not patient.
const SHORT: Duration = Duration::from_millis(100);

/// How long a slow server takes for a byte: long enough that many bytes take longer than anybody
/// waits, and short enough that some come meanwhile.
const PACE: Duration = Duration::from_millis(20);

/// Sends a byte after the other with time between them, until the test has seen enough; the rest
/// follows at once.
fn send_slowly(peer: &mut Peer, text: &str, seen_enough: &Receiver<()>) {
    let slow = |_: &&u8| seen_enough.recv_timeout(PACE).is_err();
    let sent = text.as_bytes().iter().take_while(slow).map(|byte| peer.try_send([*byte])).count();
    peer.try_send(&text.as_bytes()[sent..]);
}

fn timed_out_in_time(start: Instant) {
    let elapsed = start.elapsed();
    assert!(elapsed >= SHORT && elapsed < PATIENCE / 2, "{elapsed:?}");
}

#[test]
fn c20_a_greeting_byte_by_byte_does_not_put_off_the_deadline() {
    let (tell, seen_enough) = mpsc::channel();
    let (socket, script) = pair(move |peer| send_slowly(peer, GREETING, &seen_enough));
    let start = Instant::now();
    let error = Builder::new().deadline(SHORT).from_stream(socket).unwrap_err();
    timed_out_in_time(start);
    assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error:?}");
    tell.send(()).unwrap();
    script.join();
}

#[test]
fn c8_a_reply_byte_by_byte_does_not_put_off_the_timeout_and_spoils_nothing() {
    let (tell, seen_enough) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let slow = peer.expect("slow");
        send_slowly(peer, &slow.success(&format!("\"{}\"", "x".repeat(500))), &seen_enough);
        let next = peer.expect("next");
        peer.reply(&next, "\"next\"");
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    let start = Instant::now();
    let outcome = run(&client.with_timeout(SHORT), "slow");
    timed_out_in_time(start);
    assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
    tell.send(()).unwrap();
    assert_eq!(run(&client, "next").unwrap().as_str(), Ok("\"next\""));
    drop(client);
    script.join();
}

#[test]
fn c13_replies_in_a_flood_of_events_find_those_who_wait() {
    const THREADS: usize = 4;
    const COMMANDS: usize = 5;
    let (socket, script) = pair(|peer| {
        peer.greet();
        let flood = event_text("FLOOD", "{\"a\": [1, 2, 3]}").repeat(1_000);
        while let Some(command) = peer.try_command() {
            peer.send(&flood);
            peer.reply(&command, &format!("\"{}\"", command.name));
        }
    });
    let limits = EventLimits { events: 10, ..EventLimits::default() };
    let client = Builder::new().event_limits(limits).from_stream(socket).unwrap();
    let unread = client.events();
    thread::scope(|scope| {
        for name in ["a", "b", "c", "d"].into_iter().take(THREADS) {
            let client = &client;
            scope.spawn(move || {
                for _ in 0..COMMANDS {
                    let expected = format!("\"{name}\"");
                    assert_eq!(run(client, name).unwrap().as_str(), Ok(&*expected));
                }
            });
        }
    });
    drop(client);
    script.join();
    assert_eq!(unread.count(), 11, "one of them tells how many are lost");
}

/// The flood never ends, so there is always something to read.
#[test]
fn c8_a_flood_of_events_does_not_put_off_the_timeout() {
    let (tell, seen_enough) = mpsc::channel::<()>();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let lost = peer.expect("lost");
        let flood = event_text("FLOOD", "{}").repeat(100);
        while seen_enough.try_recv().is_err() {
            peer.send(&flood);
        }
        peer.reply(&lost, "\"late\"");
        assert_eq!(peer.serve(), ["next"]);
    });
    let client = from_stream(socket).unwrap();
    let start = Instant::now();
    assert_eq!(run(&client.with_timeout(SHORT), "lost"), Err(Error::TimedOut { sent: true }));
    timed_out_in_time(start);
    tell.send(()).unwrap();
    run(&client, "next").unwrap();
    drop(client);
    script.join();
}

/// A command of some size, to a server that does not read: not for long.
fn run_big(client: &Client) -> Error {
    let arguments = serde_json::json!({ "text": "x".repeat(400_000) });
    let start = Instant::now();
    let outcome = client.execute_request(Request::new("big").arguments(arguments));
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    outcome.unwrap_err()
}

/// What this does to memory is seen in `memory.rs`.
#[test]
fn c8_a_server_that_never_reads_puts_off_no_timeout() {
    let (tell, seen_enough) = mpsc::channel::<()>();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        seen_enough.recv_timeout(PATIENCE).unwrap();
    });
    let client = from_stream(socket).unwrap();
    let hasty = client.with_timeout(Duration::from_millis(2));
    assert_eq!(run_big(&hasty), Error::TimedOut { sent: true });
    for _ in 0..20 {
        assert_eq!(run_big(&hasty), Error::TimedOut { sent: false });
    }
    tell.send(()).unwrap();
    script.join();
    let reason = client.closed();
    assert!(matches!(reason, CloseReason::Eof { .. } | CloseReason::Failed(_)), "{reason:?}");
}

/// Those who wait do not give up, so the queue has to refuse.
#[test]
fn c3_a_server_that_never_reads_fills_a_queue_that_is_bounded() {
    let (tell, seen_enough) = mpsc::channel::<()>();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        seen_enough.recv_timeout(PATIENCE).unwrap();
    });
    let client = Builder::new().max_queued(1_000, 1 << 20).from_stream(socket).unwrap();
    let refused = thread::scope(|scope| {
        let waiting: Vec<_> = (0..16).map(|_| scope.spawn(|| run_big(&client))).collect();
        while !waiting.iter().any(|thread| thread.is_finished()) {
            thread::yield_now();
        }
        tell.send(()).unwrap();
        let outcomes = waiting.into_iter().map(|thread| thread.join().unwrap());
        outcomes.filter(|error| *error == Error::Refused(Refusal::QueueFull)).count()
    });
    assert!(refused > 0, "nothing was refused");
    script.join();
}

#[test]
fn c6_answers_given_twice_or_to_nobody_are_nobodys() {
    const COMMANDS: usize = 50;
    let (socket, script) = pair(|peer| {
        peer.greet();
        for number in 0..COMMANDS {
            let command = peer.expect("number");
            let never_asked = command.id.as_u64().unwrap() + 1_000;
            peer.send(format!("{{\"return\": \"never asked\", \"id\": {never_asked}}}"));
            peer.reply(&command, &number.to_string());
            peer.reply(&command, "\"again\"");
            peer.fail(&command, "GenericError", "and again");
            peer.send(r#"{"return": "nobody's"}"#);
        }
        // The client stays until it has been sent all of it.
        let last = peer.expect("last");
        peer.reply(&last, "{}");
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    for number in 0..COMMANDS {
        assert_eq!(run(&client, "number").unwrap().parse(), Ok(number));
    }
    run(&client, "last").unwrap();
    client.wait_idle(PATIENCE).unwrap();
    drop(client);
    script.join();
}

/// How a server leaves.
type Leave = fn(&mut Peer);

/// A server that has so many bytes left to send, and then leaves.
struct Failing<'a> {
    peer: &'a mut Peer,
    left: usize,
    leave: Leave,
}

impl Failing<'_> {
    /// Whether it goes on.
    fn send(&mut self, text: &str) -> bool {
        let sent = &text.as_bytes()[..self.left.min(text.len())];
        self.left -= sent.len();
        self.peer.try_send(sent);
        if self.left == 0 {
            (self.leave)(self.peer);
        }
        self.left > 0
    }

    fn reply(&mut self, command: &Command) -> bool {
        self.send(&command.success("{\"a\": [\"}\", 1]}"))
    }

    /// A whole session: whether all of it was sent.
    fn play(&mut self) -> bool {
        self.send(&format!("{GREETING}\r\n"))
            && self.peer.try_command().is_some_and(|negotiation| self.reply(&negotiation))
            && self.send(&event_text("STOP", "{}"))
            && self.peer.try_command().is_some_and(|stop| self.reply(&stop))
    }
}

/// Connects to a server that leaves after each number of bytes, until it says all that it has to.
fn leaves_everywhere(leave: Leave) {
    let (tell, told) = mpsc::channel();
    for left in 0.. {
        let tell = tell.clone();
        let server = Server::tcp(move |peer| {
            let whole = Failing { peer, left, leave }.play();
            tell.send(whole).unwrap();
            if whole {
                peer.expect_eof();
            }
        });
        let outcome = session(&server);
        server.join();
        let whole = told.recv().unwrap();
        // Its last byte is a line end.
        let complete = outcome.as_ref().is_ok_and(|raw| raw.as_str() == Ok("{\"a\": [\"}\", 1]}"));
        assert!(complete || !whole, "{left} bytes: {outcome:?}");
        if whole {
            assert!(left > 300, "the session has only {left} bytes");
            return;
        }
    }
}

/// Everything ends, and says how.
fn session(server: &Server) -> Result<Raw, String> {
    let client = Builder::new()
        .deadline(PATIENCE)
        .command_timeout(PATIENCE)
        .connect(server.address())
        .map_err(|error| match error {
            ConnectError::Ended(reason) => reason.to_string(),
            // It was reset before it was there.
            ConnectError::NoSocket(error) => error.to_string(),
            other => panic!("{other:?}"),
        })?;
    let events = client.events();
    let outcome = run(&client, "stop").map_err(|error| match error {
        Error::NotSent(reason) | Error::Unanswered(reason) => {
            assert_eq!(client.closed(), reason);
            reason.to_string()
        }
        Error::Refused(Refusal::Closed(reason)) => reason.to_string(),
        other => panic!("{other:?}"),
    });
    drop(client);
    assert!(events.count() <= 1);
    outcome
}

#[test]
fn c17_a_server_that_closes_at_any_byte_ends_everything_at_once() {
    leaves_everywhere(|peer| {
        peer.finish_sending();
        peer.stop_reading();
    });
}

#[test]
fn c17_a_server_that_resets_at_any_byte_ends_everything_at_once() {
    leaves_everywhere(Peer::reset);
}
