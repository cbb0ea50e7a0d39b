//! Servers that are slow, deaf, noisy or confused: each costs the client no more than it must, and
//! never its deadline.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use qmp_tests::scripted::{GREETING, PATIENCE, Peer, event_text, pair};

use super::qmp::{
    Builder, Client, CloseReason, ConnectError, Error, EventLimits, Refusal, Request,
};
use super::runtime::{finish, start, tell};
use super::{count, heard, qmp, run};

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
    tell(async {
        let (tell, seen_enough) = mpsc::channel();
        let (socket, script) = pair(move |peer| send_slowly(peer, GREETING, &seen_enough));
        let start = Instant::now();
        let error = wait!(Builder::new().deadline(SHORT).from_stream(socket)).unwrap_err();
        timed_out_in_time(start);
        assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error:?}");
        tell.send(()).unwrap();
        script.join();
    });
}

#[test]
fn c8_a_reply_byte_by_byte_does_not_put_off_the_timeout_and_spoils_nothing() {
    tell(async {
        let (tell, seen_enough) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let slow = peer.expect("slow");
            send_slowly(peer, &slow.success(&format!("\"{}\"", "x".repeat(500))), &seen_enough);
            let next = peer.expect("next");
            peer.reply(&next, "\"next\"");
            peer.expect_eof();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let start = Instant::now();
        let outcome = run(&client.with_timeout(SHORT), "slow").await;
        timed_out_in_time(start);
        assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
        tell.send(()).unwrap();
        assert_eq!(run(&client, "next").await.unwrap().as_str(), Ok("\"next\""));
        drop(client);
        script.join();
    });
}

#[test]
fn c13_replies_in_a_flood_of_events_find_those_who_wait() {
    const COMMANDS: usize = 5;
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            let flood = event_text("FLOOD", "{\"a\": [1, 2, 3]}").repeat(1_000);
            while let Some(command) = peer.try_command() {
                peer.send(&flood);
                peer.reply(&command, &format!("\"{}\"", command.name));
            }
        });
        let limits = EventLimits { events: 10, ..EventLimits::default() };
        let client = wait!(Builder::new().event_limits(limits).from_stream(socket)).unwrap();
        let unread = client.events();
        let callers = ["a", "b", "c", "d"].map(|name| {
            let client = client.clone();
            start(async move {
                for _ in 0..COMMANDS {
                    let expected = format!("\"{name}\"");
                    assert_eq!(run(&client, name).await.unwrap().as_str(), Ok(&*expected));
                }
            })
        });
        for caller in callers {
            finish(caller).await;
        }
        drop(client);
        script.join();
        assert_eq!(count(unread).await, 11, "one of them tells how many are lost");
    });
}

/// The flood never ends, so there is always something to read.
#[test]
fn c8_a_flood_of_events_does_not_put_off_the_timeout() {
    tell(async {
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
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let start = Instant::now();
        let outcome = run(&client.with_timeout(SHORT), "lost").await;
        assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
        timed_out_in_time(start);
        tell.send(()).unwrap();
        run(&client, "next").await.unwrap();
        drop(client);
        script.join();
    });
}

/// A command of some size, to a server that does not read: not for long.
async fn run_big(client: &Client) -> Error {
    let arguments = serde_json::json!({ "text": "x".repeat(400_000) });
    let start = Instant::now();
    let outcome = wait!(client.execute_request(Request::new("big").arguments(arguments)));
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    outcome.unwrap_err()
}

/// What this does to memory is seen in `memory.rs`.
#[test]
fn c8_a_server_that_never_reads_puts_off_no_timeout() {
    tell(async {
        let (tell, seen_enough) = mpsc::channel::<()>();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            heard(&seen_enough);
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let hasty = client.with_timeout(Duration::from_millis(2));
        assert_eq!(run_big(&hasty).await, Error::TimedOut { sent: true });
        for _ in 0..20 {
            assert_eq!(run_big(&hasty).await, Error::TimedOut { sent: false });
        }
        tell.send(()).unwrap();
        script.join();
        let reason = wait!(client.closed());
        let ended = matches!(reason, CloseReason::Eof { .. } | CloseReason::Failed(_));
        assert!(ended, "{reason:?}");
    });
}

/// Those who wait do not give up, so the queue has to refuse.
#[test]
fn c3_a_server_that_never_reads_fills_a_queue_that_is_bounded() {
    const CALLERS: usize = 16;
    tell(async {
        let (tell, seen_enough) = mpsc::channel::<()>();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            heard(&seen_enough);
        });
        let builder = Builder::new().max_queued(1_000, 1 << 20);
        let client = wait!(builder.from_stream(socket)).unwrap();
        let (failed, has_failed) = mpsc::channel();
        let callers = [(); CALLERS].map(|()| {
            let (client, failed) = (client.clone(), failed.clone());
            start(async move { failed.send(run_big(&client).await).unwrap() })
        });
        let first = has_failed.recv_timeout(PATIENCE).unwrap();
        assert_eq!(first, Error::Refused(Refusal::QueueFull));
        tell.send(()).unwrap();
        for caller in callers {
            finish(caller).await;
        }
        script.join();
    });
}

#[test]
fn c6_answers_given_twice_or_to_nobody_are_nobodys() {
    const COMMANDS: usize = 50;
    tell(async {
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
        let client = wait!(qmp::from_stream(socket)).unwrap();
        for number in 0..COMMANDS {
            assert_eq!(run(&client, "number").await.unwrap().parse(), Ok(number));
        }
        run(&client, "last").await.unwrap();
        wait!(client.wait_idle(PATIENCE)).unwrap();
        drop(client);
        script.join();
    });
}
