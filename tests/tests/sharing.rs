//! C13, C14 and C16: many threads, many subscribers, one connection.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use qmp_blocking::{
    Builder, Error, EventLimits, Events, Lagged, Request, connect_with_events, from_stream,
};
use qmp_tests::scripted::{PATIENCE, Random, Server, event_text, pair, run};
use serde_json::{Value, json};

#[test]
fn c13_replies_find_their_callers_in_any_order() {
    const THREADS: usize = 8;
    const COMMANDS: usize = 500;
    let (socket, script) = pair(|peer| {
        peer.greet();
        let mut random = Random::new(1);
        for _ in 0..COMMANDS {
            // Each thread waits for one of them.
            let mut commands = peer.commands(THREADS);
            while !commands.is_empty() {
                let at = random.below(commands.len() as u64) as usize;
                let command = commands.swap_remove(at);
                peer.reply(&command, &command.arguments.to_string());
            }
        }
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let client = client.clone();
            scope.spawn(move || {
                for number in 0..COMMANDS {
                    let arguments = json!({ "thread": thread, "number": number });
                    let reply =
                        client.execute_request(Request::new("echo").arguments(&arguments)).unwrap();
                    assert_eq!(reply.parse::<Value>().unwrap(), arguments);
                }
            });
        }
    });
    drop(client);
    script.join();
}

/// So many events, each with its number, and a reply behind them.
fn numbered(count: usize) -> String {
    (0..count).map(|number| event_text("NUMBER", &number.to_string())).collect()
}

/// The numbers, or losses, that the subscriber has so far.
fn found(events: &mut Events) -> Vec<Result<usize, Lagged>> {
    let next = || events.next_timeout(Duration::ZERO);
    let number = |event: qmp_blocking::Event| event.data().unwrap().parse().unwrap();
    std::iter::from_fn(next).map(|found| found.map(number)).collect()
}

fn all(range: std::ops::Range<usize>) -> Vec<Result<usize, Lagged>> {
    range.map(Ok).collect()
}

#[test]
fn c14_a_slow_subscriber_loses_its_own_oldest_and_knows_how_many() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        for _ in 0..2 {
            let command = peer.expect("flood");
            peer.send(numbered(1_000));
            peer.reply(&command, "{}");
        }
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    let mut slow = client.events_with(EventLimits { events: 100, bytes: usize::MAX });
    let mut good = client.events();
    run(&client, "flood").unwrap();
    let mut late = client.events();
    assert_eq!(found(&mut good), all(0..1_000));
    assert_eq!(found(&mut slow), [vec![Err(Lagged(900))], all(900..1_000)].concat());
    assert_eq!(found(&mut late), []);
    run(&client, "flood").unwrap();
    assert_eq!(found(&mut late), all(0..1_000));
    assert_eq!(found(&mut good), all(0..1_000));
    assert_eq!(found(&mut slow), [vec![Err(Lagged(900))], all(900..1_000)].concat());
    drop(client);
    script.join();
}

#[test]
fn c14_a_subscribers_queue_is_bounded_in_bytes() {
    const EVENT: usize = 1_000;
    let (socket, script) = pair(|peer| {
        peer.greet();
        let command = peer.expect("flood");
        let event = event_text("BIG", &format!("\"{}\"", "x".repeat(EVENT)));
        peer.send(event.repeat(1_000));
        peer.reply(&command, "{}");
        peer.expect_eof();
    });
    let limits = EventLimits { events: usize::MAX, bytes: 20 * EVENT };
    let client = Builder::new().event_limits(limits).from_stream(socket).unwrap();
    let mut events = client.events();
    run(&client, "flood").unwrap();
    let mut next = || events.next_timeout(Duration::ZERO);
    let Some(Err(Lagged(lost))) = next() else { panic!("most of them are lost") };
    let kept = std::iter::from_fn(next).map(Result::unwrap).count() as u64;
    assert_eq!(lost + kept, 1_000);
    assert!((10..20).contains(&kept), "{kept} are kept");
    drop(client);
    script.join();
}

/// Nobody takes the events, and every command is answered all the same.
#[test]
fn c14_unread_events_delay_no_reply() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        for _ in 0..20 {
            let command = peer.expect("flood");
            peer.send(numbered(1_000));
            peer.reply(&command, "{}");
        }
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    let mut unread: Vec<_> = (0..3).map(|_| client.events()).collect();
    (0..20).for_each(|_| drop(run(&client, "flood").unwrap()));
    for events in &mut unread {
        let found = found(events);
        assert_eq!(found.len(), 1 + 4_096);
        assert_eq!(found[0], Err(Lagged(20_000 - 4_096)));
    }
    drop(client);
    script.join();
}

#[test]
fn c14_every_subscriber_gets_all_in_order_in_a_thread_of_its_own() {
    const EVENTS: usize = 3_000;
    let (socket, script) = pair(|peer| {
        peer.greet();
        let command = peer.expect("begin");
        peer.reply(&command, "{}");
        // In pieces that have nothing to do with messages.
        numbered(EVENTS).as_bytes().chunks(777).for_each(|piece| peer.send(piece));
    });
    let client = from_stream(socket).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            let events = client.events();
            scope.spawn(move || {
                let numbers =
                    events.map(|event| event.unwrap().data().unwrap().parse::<usize>().unwrap());
                assert!(numbers.eq(0..EVENTS));
            });
        }
        run(&client, "begin").unwrap();
    });
    drop(client);
    script.join();
}

#[test]
fn c14_connect_with_events_misses_none() {
    let server = Server::unix(|peer| {
        peer.say_hello();
        let negotiation = peer.expect("qmp_capabilities");
        peer.event("EARLY", "{}");
        peer.reply(&negotiation, "{}");
        peer.event("LATER", "{}");
    });
    let (client, events) = connect_with_events(server.address()).unwrap();
    let names: Vec<_> = events.map(|event| event.unwrap().name().to_owned()).collect();
    assert_eq!(names, ["EARLY", "LATER"]);
    drop(client);
    server.join();
}

#[test]
fn c14_a_wait_for_an_event_has_its_own_timeout() {
    let (timed_out, may_go_on) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        may_go_on.recv_timeout(PATIENCE).unwrap();
        peer.event("STOP", "{}");
    });
    let client = from_stream(socket).unwrap();
    let mut events = client.events();
    assert!(events.next_timeout(Duration::from_millis(5)).is_none());
    timed_out.send(()).unwrap();
    assert_eq!(events.next_timeout(PATIENCE).unwrap().unwrap().name(), "STOP");
    assert!(events.next_timeout(PATIENCE).is_none(), "the connection ends");
    assert!(events.next().is_none());
    drop(client);
    script.join();
}

#[test]
fn c16_idle_is_when_late_replies_have_come_too() {
    let (asked, may_answer) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let commands = peer.commands(3);
        may_answer.recv_timeout(PATIENCE).unwrap();
        commands.iter().for_each(|command| peer.reply(command, "{}"));
        peer.event("ALL ANSWERED", "{}");
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    assert_eq!(client.wait_idle(Duration::ZERO), Ok(()));
    let hasty = client.with_timeout(Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(run(&hasty, "slow").unwrap_err(), Error::TimedOut { sent: true });
    }
    assert_eq!(client.wait_idle(Duration::from_millis(5)), Err(Error::StillBusy));
    let mut events = client.events();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| client.wait_idle(None))).collect();
        asked.send(()).unwrap();
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap() == Ok(())));
    });
    assert_eq!(events.next().unwrap().unwrap().name(), "ALL ANSWERED");
    drop((client, hasty));
    script.join();
}
