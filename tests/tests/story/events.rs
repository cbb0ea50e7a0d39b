//! C14: each subscriber has a queue of its own, in order, bounded, with its losses counted.

use std::ops::Range;
use std::sync::mpsc;
use std::time::Duration;

use qmp_tests::qemu::{Monitor, Setup};
use qmp_tests::scripted::{PATIENCE, Server, event_text, pair};

use super::qmp::commands::{Cont, Quit, Stop, SystemReset};
use super::qmp::events::{Reset, Shutdown, ShutdownCause};
use super::qmp::{Builder, EventLimits, Events, Lagged};
use super::runtime::{finish, next, start, tell};
use super::{heard, names_of, next_event, patient, qmp, run};

/// So many events, each with its number.
fn numbered(count: usize) -> String {
    (0..count).map(|number| event_text("NUMBER", &number.to_string())).collect()
}

/// The numbers, or losses, that the subscriber has so far.
async fn found(events: &mut Events) -> Vec<Result<usize, Lagged>> {
    let mut found = Vec::new();
    while let Some(next) = wait!(events.next_timeout(Duration::ZERO)) {
        found.push(next.map(|event| event.data().unwrap().parse().unwrap()));
    }
    found
}

fn all(range: Range<usize>) -> Vec<Result<usize, Lagged>> {
    range.map(Ok).collect()
}

#[test]
fn c14_connect_with_events_misses_none() {
    tell(async {
        let server = Server::unix(|peer| {
            peer.say_hello();
            let negotiation = peer.expect("qmp_capabilities");
            peer.event("EARLY", "{}");
            peer.reply(&negotiation, "{}");
            peer.event("LATER", "{}");
        });
        let (client, events) = wait!(qmp::connect_with_events(server.address())).unwrap();
        assert_eq!(names_of(events).await, ["EARLY", "LATER"]);
        drop(client);
        server.join();
    });
}

#[test]
fn c14_a_slow_subscriber_loses_its_own_oldest_and_knows_how_many() {
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            for _ in 0..2 {
                let command = peer.expect("flood");
                peer.send(numbered(1_000));
                peer.reply(&command, "{}");
            }
            peer.expect_eof();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let mut slow = client.events_with(EventLimits { events: 100, bytes: usize::MAX });
        let mut good = client.events();
        run(&client, "flood").await.unwrap();
        let mut late = client.events();
        assert_eq!(found(&mut good).await, all(0..1_000));
        assert_eq!(found(&mut slow).await, [vec![Err(Lagged(900))], all(900..1_000)].concat());
        assert_eq!(found(&mut late).await, []);
        run(&client, "flood").await.unwrap();
        assert_eq!(found(&mut late).await, all(0..1_000));
        assert_eq!(found(&mut good).await, all(0..1_000));
        assert_eq!(found(&mut slow).await, [vec![Err(Lagged(900))], all(900..1_000)].concat());
        drop(client);
        script.join();
    });
}

#[test]
fn c14_a_subscribers_queue_is_bounded_in_bytes() {
    const EVENT: usize = 1_000;
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            let command = peer.expect("flood");
            let event = event_text("BIG", &format!("\"{}\"", "x".repeat(EVENT)));
            peer.send(event.repeat(1_000));
            peer.reply(&command, "{}");
            peer.expect_eof();
        });
        let limits = EventLimits { events: usize::MAX, bytes: 20 * EVENT };
        let client = wait!(Builder::new().event_limits(limits).from_stream(socket)).unwrap();
        let mut events = client.events();
        run(&client, "flood").await.unwrap();
        let Some(Err(Lagged(lost))) = next(&mut events).await else { panic!("most are lost") };
        let mut kept = 0;
        while let Some(event) = wait!(events.next_timeout(Duration::ZERO)) {
            event.unwrap();
            kept += 1;
        }
        assert_eq!(lost + kept, 1_000);
        assert!((10..20).contains(&kept), "{kept} are kept");
        drop(client);
        script.join();
    });
}

/// Nobody takes the events, and every command is answered all the same.
#[test]
fn c14_unread_events_delay_no_reply() {
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            for _ in 0..20 {
                let command = peer.expect("flood");
                peer.send(numbered(1_000));
                peer.reply(&command, "{}");
            }
            peer.expect_eof();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let mut unread: Vec<_> = (0..3).map(|_| client.events()).collect();
        for _ in 0..20 {
            run(&client, "flood").await.unwrap();
        }
        for events in &mut unread {
            let found = found(events).await;
            assert_eq!(found.len(), 1 + 4_096);
            assert_eq!(found[0], Err(Lagged(20_000 - 4_096)));
        }
        drop(client);
        script.join();
    });
}

#[test]
fn c14_many_subscribers_each_get_all_in_order() {
    const EVENTS: usize = 3_000;
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            let command = peer.expect("begin");
            peer.reply(&command, "{}");
            // In pieces that have nothing to do with messages.
            numbered(EVENTS).as_bytes().chunks(777).for_each(|piece| peer.send(piece));
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let subscribers = [(); 4].map(|()| {
            let mut events = client.events();
            start(async move {
                let mut numbers = 0..;
                while let Some(event) = next(&mut events).await {
                    let number: usize = event.unwrap().data().unwrap().parse().unwrap();
                    assert_eq!(Some(number), numbers.next());
                }
                assert_eq!(numbers.next(), Some(EVENTS));
            })
        });
        run(&client, "begin").await.unwrap();
        for subscriber in subscribers {
            finish(subscriber).await;
        }
        drop(client);
        script.join();
    });
}

#[test]
fn c14_a_wait_for_an_event_has_its_own_timeout() {
    tell(async {
        let (timed_out, may_go_on) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            heard(&may_go_on);
            peer.event("STOP", "{}");
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let mut events = client.events();
        assert!(wait!(events.next_timeout(Duration::from_millis(5))).is_none());
        timed_out.send(()).unwrap();
        assert_eq!(next_event(&mut events).await.name(), "STOP");
        assert!(wait!(events.next_timeout(PATIENCE)).is_none(), "the connection ends");
        assert!(next(&mut events).await.is_none());
        drop(client);
        script.join();
    });
}

#[test]
fn c14_the_events_of_qemu_come_to_each_subscriber_in_order_and_typed() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let mut server = setup.monitor(Monitor::Unix).start();
        let (client, mut typed) = wait!(patient().connect_with_events(server.address())).unwrap();
        // One looks on while it happens, the other ones afterwards.
        let looks_on = start(names_of(client.events()));
        let afterwards = client.events();
        wait!(client.execute(&Cont)).unwrap();
        wait!(client.execute(&Stop)).unwrap();
        wait!(client.execute(&SystemReset)).unwrap();
        wait!(client.execute(&Quit)).unwrap();
        let expected = ["RESUME", "STOP", "RESET", "SHUTDOWN"];
        assert_eq!(finish(looks_on).await, expected);
        assert_eq!(names_of(afterwards).await, expected);
        for name in ["RESUME", "STOP"] {
            assert_eq!(next_event(&mut typed).await.name(), name);
        }
        let reset = next_event(&mut typed).await.parse_as::<Reset>().unwrap().unwrap();
        assert_eq!((reset.guest, reset.reason), (false, ShutdownCause::HostQmpSystemReset));
        let shutdown = next_event(&mut typed).await.parse_as::<Shutdown>().unwrap().unwrap();
        assert_eq!((shutdown.guest, shutdown.reason), (false, ShutdownCause::HostQmpQuit));
        assert!(next(&mut typed).await.is_none());
        assert!(server.wait().success());
    });
}

/// The caller is another client, so that this one does nothing but listen.
#[test]
fn c14_events_of_qemu_come_while_nobody_calls() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
        let [first, second] = server.addresses() else { panic!() };
        let caller = wait!(patient().connect(first)).unwrap();
        let silent = wait!(patient().connect(second)).unwrap();
        let mut events = silent.events();
        let limits = EventLimits { events: 3, ..EventLimits::default() };
        let mut slow = silent.events_with(limits);
        for _ in 0..10 {
            wait!(caller.execute(&Cont)).unwrap();
            wait!(caller.execute(&Stop)).unwrap();
        }
        for _ in 0..10 {
            assert_eq!(next_event(&mut events).await.name(), "RESUME");
            assert_eq!(next_event(&mut events).await.name(), "STOP");
        }
        assert_eq!(next(&mut slow).await.unwrap().unwrap_err(), Lagged(17));
        for name in ["STOP", "RESUME", "STOP"] {
            assert_eq!(next_event(&mut slow).await.name(), name);
        }
        assert!(wait!(slow.next_timeout(Duration::ZERO)).is_none());
    });
}
