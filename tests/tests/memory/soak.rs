//! What would fill memory, if anything stayed of it.

use std::cell::Cell;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use qmp_tests::scripted::{PATIENCE, Peer, event_text, pair};

use super::super::{alone, resident_bytes, stayed_at};
use super::qmp::{self, Builder, Client, Error, EventLimits, Events, Raw, Request};
use super::runtime::{finish, next, start, tell};

/// Each command would add 400,000 bytes, if it stayed.
#[test]
fn c3_memory_stays_flat_at_a_server_that_never_reads() {
    const COMMANDS: usize = 60;
    let _alone = alone();
    tell(async {
        let (tell, seen_enough) = mpsc::channel::<()>();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            seen_enough.recv_timeout(4 * PATIENCE).unwrap();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let client = client.with_timeout(Duration::from_millis(1));
        let text = "x".repeat(400_000);
        let run_big = async || {
            let arguments = serde_json::json!({ "text": text });
            let request = Request::new("big").arguments(arguments);
            wait!(client.execute_request(request)).unwrap_err()
        };
        assert_eq!(run_big().await, Error::TimedOut { sent: true });
        let before = resident_bytes();
        for _ in 0..COMMANDS {
            assert_eq!(run_big().await, Error::TimedOut { sent: false });
        }
        stayed_at(before);
        tell.send(()).unwrap();
        script.join();
    });
}

/// Session after session: of one alone, a leak may hide in what the allocator holds.
#[test]
fn c3_memory_stays_flat_at_full_speed() {
    let _alone = alone();
    let seconds = std::env::var("QMP_SOAK_SECONDS");
    let duration = Duration::from_secs(seconds.map_or(3, |text| text.parse().expect("seconds")));
    let events = Cell::new(0);
    let session = || tell(async { events.set(events.get() + busy_session().await) });
    session();
    let (start, before) = (Instant::now(), resident_bytes());
    let (mut sessions, mut minutes) = (0, 0);
    while start.elapsed() < duration {
        session();
        sessions += 1;
        stayed_at(before);
        if start.elapsed().as_secs() / 60 > minutes {
            minutes += 1;
            report(start, sessions, events.get());
        }
    }
    report(start, sessions, events.get());
}

fn report(start: Instant, sessions: usize, events: usize) {
    let commands = sessions * 2 * WORKERS.len() * ROUNDS;
    let (seconds, resident) = (start.elapsed().as_secs(), resident_bytes() >> 10);
    println!(
        "{seconds} s: {sessions} sessions, {commands} commands, {events} events, {resident} KiB"
    );
}

/// What is executed beside each other, and how often.
const WORKERS: [&str; 3] = ["small", "events", "large"];
const ROUNDS: usize = 100;

/// Callers that execute and give up, events that are read and events that are not, small replies and
/// large ones, and strays. Gives how many events were read.
async fn busy_session() -> usize {
    let (socket, script) = pair(serve);
    let limits = EventLimits { events: 100, ..EventLimits::default() };
    let client = wait!(Builder::new().event_limits(limits).from_stream(socket)).unwrap();
    let (unread, read) = (client.events(), client.events());
    let reader = start(count(read));
    let workers = WORKERS.map(|name| start(work(client.clone(), name)));
    for worker in workers {
        finish(worker).await;
    }
    wait!(client.close(PATIENCE)).unwrap();
    let events = finish(reader).await;
    script.join();
    assert_eq!(count(unread).await, 101, "one of them tells how many are lost");
    events
}

async fn work(client: Client, name: &'static str) {
    let hasty = client.with_timeout(Duration::from_micros(50));
    for _ in 0..ROUNDS {
        run(&client, name).await.unwrap();
        // Nobody waits so briefly: the reply comes when it is discarded, or the command is withdrawn.
        match run(&hasty, name).await {
            Ok(_) | Err(Error::TimedOut { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn run(client: &Client, name: &'static str) -> Result<Raw, Error> {
    wait!(client.execute_request(Request::new(name)))
}

async fn count(mut events: Events) -> usize {
    let mut count = 0;
    while next(&mut events).await.is_some() {
        count += 1;
    }
    count
}

fn serve(peer: &mut Peer) {
    peer.greet();
    let events = event_text("NOISE", "{\"a\": [1, 2, 3]}").repeat(20);
    let large = format!("\"{}\"", "x".repeat(200_000));
    while let Some(command) = peer.try_command() {
        let value = if command.name == "large" { &large } else { "{}" };
        let mut text = command.success(value);
        if command.name == "events" {
            text = format!("{events}{text}{{\"return\": {{}}, \"id\": \"stray\"}}");
        }
        peer.try_send(text);
    }
}
