//! C15: a command and the event that it brings about, waited for together.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::commands::{DeviceDel, Stop};
use qmp_blocking::{
    Builder, Client, CloseReason, Error, ErrorClass, Event, EventLimits, connect_with_events,
    from_stream,
};
use qmp_tests::scripted::{Command, PATIENCE, Peer, Script, Server, event_text, pair, run};

const GONE: &str = r#"{"device": "net0", "path": "/machine/peripheral/net0"}"#;

fn gone() -> String {
    event_text("DEVICE_DELETED", GONE)
}

fn unplug(client: &Client) -> Result<Event, Error> {
    let matcher = |event: &Event| event.name() == "DEVICE_DELETED";
    client.execute_until(&DeviceDel { id: "net0" }, matcher).map(|(_, event)| event)
}

/// A client, and a server that greets, gets `device_del`, and then does as it likes.
fn unplugged(then: impl FnOnce(&mut Peer, Command) + Send + 'static) -> (Client, Script) {
    let (socket, script) = pair(|peer| {
        peer.greet();
        let command = peer.expect("device_del");
        then(peer, command);
    });
    (from_stream(socket).unwrap(), script)
}

#[track_caller]
fn assert_found(outcome: Result<Event, Error>) {
    let event = outcome.expect("the reply and the event");
    assert_eq!((event.name(), event.data().unwrap().as_str()), ("DEVICE_DELETED", Ok(GONE)));
}

#[test]
fn c15_the_event_before_the_reply() {
    let (client, script) = unplugged(|peer, command| {
        peer.send(gone());
        peer.reply(&command, "{}");
        peer.expect_eof();
    });
    assert_found(unplug(&client));
    drop(client);
    script.join();
}

#[test]
fn c15_the_event_long_after_the_reply() {
    let (replied, has_replied) = mpsc::channel();
    let (client, script) = unplugged(move |peer, command| {
        peer.reply(&command, "{}");
        replied.send(()).unwrap();
        // Another command is served meanwhile.
        let other = peer.expect("other");
        peer.reply(&other, "{}");
        peer.send(gone());
        peer.expect_eof();
    });
    thread::scope(|scope| {
        let unplugging = scope.spawn(|| unplug(&client));
        has_replied.recv_timeout(PATIENCE).unwrap();
        run(&client, "other").unwrap();
        assert_found(unplugging.join().unwrap());
    });
    drop(client);
    script.join();
}

#[test]
fn c15_event_and_reply_in_one_write_in_either_order() {
    for event_first in [true, false] {
        let (client, script) = unplugged(move |peer, command| {
            let mut texts = [gone(), command.success("{}")];
            if !event_first {
                texts.reverse();
            }
            peer.send(texts.concat());
            peer.expect_eof();
        });
        assert_found(unplug(&client));
        drop(client);
        script.join();
    }
}

#[test]
fn c15_no_flood_of_other_events_hides_it() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        let command = peer.expect("device_del");
        peer.send(event_text("NOISE", "{}").repeat(5_000));
        peer.send(gone());
        peer.send(event_text("NOISE", "{}").repeat(5_000));
        peer.reply(&command, "{}");
        peer.expect_eof();
    });
    let limits = EventLimits { events: 10, bytes: 10_000 };
    let client = Builder::new().event_limits(limits).from_stream(socket).unwrap();
    // A subscriber that does not read loses it, and has no say in this.
    let mut lost = client.events();
    assert_found(unplug(&client));
    assert!(lost.next_timeout(Duration::ZERO).unwrap().is_err());
    drop(client);
    script.join();
}

#[test]
fn c15_an_error_ends_it_at_once() {
    let (client, script) = unplugged(|peer, command| {
        peer.fail(&command, "DeviceNotFound", "Device 'net0' not found");
        peer.expect_eof();
    });
    let Err(Error::Command(error)) = unplug(&client) else { panic!("the server's error") };
    assert_eq!(error.class, ErrorClass::DeviceNotFound);
    drop(client);
    script.join();
}

#[test]
fn c15_a_panic_in_the_matcher_fails_that_call_alone() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        let command = peer.expect("stop");
        (0..3).for_each(|_| peer.event("STOP", "{}"));
        peer.reply(&command, "{}");
        assert_eq!(peer.serve(), ["last"]);
    });
    let client = from_stream(socket).unwrap();
    let mut events = client.events();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = asked.clone();
    let outcome = client.execute_until(&Stop, move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        panic!("a matcher panics, as this test wants it")
    });
    assert_eq!(outcome.map(|_| ()), Err(Error::MatcherPanicked));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    run(&client, "last").unwrap();
    assert!((0..3).all(|_| events.next().unwrap().unwrap().name() == "STOP"));
    drop(client);
    script.join();
}

#[test]
fn c15_an_event_from_before_the_command_does_not_count() {
    let server = Server::unix(|peer| {
        peer.greet();
        peer.send(gone());
        let command = peer.expect("device_del");
        peer.reply(&command, "{}");
        peer.event("OTHER", "{}");
        peer.expect_eof();
    });
    let (client, mut events) = connect_with_events(server.address()).unwrap();
    assert_found(Ok(events.next().unwrap().unwrap()));
    let outcome = unplug(&client.with_timeout(Duration::from_millis(20)));
    assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
    drop(client);
    server.join();
}

#[test]
fn c15_its_timeout_is_for_both() {
    let (timed_out, may_go_on) = mpsc::channel();
    let (client, script) = unplugged(move |peer, command| {
        peer.reply(&command, "{}");
        may_go_on.recv_timeout(PATIENCE).unwrap();
        peer.send(gone());
        assert_eq!(peer.serve(), ["last"]);
    });
    let mut events = client.events();
    let outcome = unplug(&client.with_timeout(Duration::from_millis(20)));
    assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
    timed_out.send(()).unwrap();
    // The event is a subscriber's all the same.
    assert_eq!(events.next_timeout(PATIENCE).unwrap().unwrap().name(), "DEVICE_DELETED");
    run(&client, "last").unwrap();
    drop(client);
    script.join();
}

#[test]
fn c15_the_end_of_the_connection_ends_it() {
    let eof = || CloseReason::Eof { mid_message: false };
    let (client, script) = unplugged(|_, _| {});
    assert_eq!(unplug(&client), Err(Error::Unanswered(eof())));
    script.join();
    // With the reply, and without the event.
    let (client, script) = unplugged(|peer, command| peer.reply(&command, "{}"));
    assert_eq!(unplug(&client), Err(Error::Closed(eof())));
    script.join();
    // With both, in one write with the end.
    let (client, script) = unplugged(|peer, command| {
        peer.send([command.success("{}"), gone()].concat());
    });
    assert_found(unplug(&client));
    script.join();
}

/// Each waits for its own event, and each sees all of them.
#[test]
fn c15_many_wait_at_once() {
    const THREADS: usize = 6;
    let (socket, script) = pair(|peer| {
        peer.greet();
        let commands = peer.commands(THREADS);
        for command in commands.iter().rev() {
            peer.send(event_text("DEVICE_DELETED", &command.arguments.to_string()));
        }
        commands.iter().for_each(|command| peer.reply(command, "{}"));
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let client = &client;
            scope.spawn(move || {
                let id = format!("net{thread}");
                let wanted = format!("{{\"id\":\"{id}\"}}");
                let data = wanted.clone();
                let matcher = move |event: &Event| {
                    event.data().is_some_and(|data| data.as_str() == Ok(&wanted))
                };
                let (_, event) = client.execute_until(&DeviceDel { id: &id }, matcher).unwrap();
                assert_eq!(event.data().unwrap().as_str(), Ok(&*data));
            });
        }
    });
    drop(client);
    script.join();
}

/// Long enough for the background thread to have taken over. To be parked might end early.
fn be_silent() {
    let end = Instant::now() + Duration::from_millis(5);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

/// Its thread reads its reply, so that it need not be woken. Once in a while the background thread
/// is quicker, when the reply is there before the caller has begun to wait for it.
#[test]
fn c15_after_a_silence_too_a_lone_command_is_read_by_its_own_thread() {
    const ROUNDS: usize = 20;
    let (socket, script) = pair(|peer| {
        peer.greet();
        for _ in 0..ROUNDS {
            let command = peer.expect("device_del");
            peer.send(gone() + &command.success("{}"));
        }
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    let its_own = Arc::new(AtomicUsize::new(0));
    for _ in 0..ROUNDS {
        be_silent();
        let (caller, its_own) = (thread::current().id(), its_own.clone());
        let matcher = move |_: &Event| {
            its_own.fetch_add(usize::from(thread::current().id() == caller), Ordering::Relaxed);
            true
        };
        client.execute_until(&DeviceDel { id: "net0" }, matcher).unwrap();
    }
    let its_own = its_own.load(Ordering::Relaxed);
    assert!(its_own > ROUNDS / 2, "{its_own} of {ROUNDS}");
    drop(client);
    script.join();
}
