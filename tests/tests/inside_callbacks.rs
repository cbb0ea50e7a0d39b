//! What a callback may call, and what is waited for when callbacks are: never a silent hang.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use qmp_blocking::commands::{Cont, QueryStatus, QueryVersion, Quit, RunState, Stop};
use qmp_blocking::{Builder, Client, CloseReason, ConnectError, Error, Job, Pool, Request};
use qmp_tests::calls::{Calls, Gate, client, client_with, machine};
use qmp_tests::scripted::{PATIENCE, event_text, run};

/// Pools on which a callback could wait for itself.
fn narrow_pools() -> Vec<(&'static str, Pool)> {
    let (sender, jobs) = mpsc::sync_channel::<Job>(0);
    thread::spawn(move || jobs.into_iter().for_each(|job| job()));
    vec![
        ("one thread", Pool::threads(1)),
        ("the thread that hands jobs out", Pool::from(|job: Job| job())),
        ("one thread, and a hand-over that blocks", Pool::from(move |job| drop(sender.send(job)))),
    ]
}

#[test]
fn every_blocking_method_works_inside_a_callback_on_one_thread() {
    for (name, pool) in narrow_pools() {
        let client = machine(&Builder::new().callback_pool(pool));
        let (callback, done) = Calls::new();
        let inner = client.clone();
        // One callback of events and one of a command, each of which does everything.
        let everything = move || {
            assert_eq!(inner.execute(&QueryVersion).unwrap().qemu.major, 7);
            inner.query("status").unwrap();
            assert!(inner.supports("stop").unwrap());
            let mut events = inner.events();
            let is_stop = |event: &qmp_blocking::Event| event.name() == "STOP";
            inner.execute(&Cont).unwrap();
            inner.execute_until(&Stop, is_stop).unwrap();
            while events.next_timeout(PATIENCE).unwrap().unwrap().name() != "STOP" {}
            let late = inner.with_timeout(Duration::ZERO).execute(&QueryStatus);
            assert!(matches!(late, Ok(_) | Err(Error::TimedOut { .. })));
            assert_eq!(inner.wait_idle(PATIENCE), Err(Error::InsideCallback));
            assert_eq!(inner.wait_idle(None), Err(Error::InsideCallback));
            inner.submit(&QueryStatus, drop).unwrap();
        };
        let (first, told) = (everything.clone(), callback.clone());
        let mut once = Some(());
        let registration = client.on_event("RESET", move |_| {
            if once.take().is_some() {
                first();
                told("event");
            }
        });
        run(&client, "system_reset").unwrap();
        assert_eq!(done.next(), "event", "{name}");
        client
            .submit(&QueryStatus, move |_| {
                everything();
                callback("command");
            })
            .unwrap();
        assert_eq!(done.next(), "command", "{name}");
        client.wait_idle(PATIENCE).unwrap();
        drop(registration);
    }
}

#[test]
fn the_connection_may_be_closed_and_awaited_inside_a_callback() {
    for (name, pool) in narrow_pools() {
        let client = machine(&Builder::new().callback_pool(pool));
        let inner = client.clone();
        let (callback, reasons) = Calls::new();
        client
            .submit(&QueryStatus, move |_| {
                inner.execute(&Quit).unwrap();
                callback(inner.closed());
                inner.close(PATIENCE).unwrap();
            })
            .unwrap();
        assert_eq!(reasons.next(), CloseReason::Quit, "{name}");
        assert_eq!(client.closed(), CloseReason::Quit);
        client.wait_idle(PATIENCE).unwrap();
    }
}

/// Two machines, one thread: each callback would wait for the other's, which waits for the thread.
#[test]
fn waiting_for_another_clients_callbacks_inside_a_callback_is_refused_too() {
    let builder = Builder::new().callback_pool(Pool::threads(1));
    let clients = [machine(&builder), machine(&builder)];
    let (callback, outcomes) = Calls::new();
    for (one, other) in [(0, 1), (1, 0)] {
        let (other, callback) = (clients[other].clone(), callback.clone());
        let wait = move |_| callback(other.wait_idle(None));
        clients[one].submit(&QueryStatus, wait).unwrap();
    }
    assert_eq!(outcomes.take(2), [Err(Error::InsideCallback), Err(Error::InsideCallback)]);
    clients.iter().for_each(|client| client.wait_idle(PATIENCE).unwrap());
}

#[test]
fn a_scope_inside_a_callback_is_refused_before_it_begins() {
    let client = machine(&Builder::new());
    let (callback, refused) = Calls::new();
    client
        .submit(&QueryStatus, move |_| {
            let outcome = qmp_blocking::scope("unix:/nowhere", |_| panic!("it does not begin"));
            let Err(ConnectError::Io(error)) = outcome else { panic!("not refused") };
            callback(error.kind());
        })
        .unwrap();
    assert_eq!(refused.next(), std::io::ErrorKind::Deadlock);
    client.wait_idle(PATIENCE).unwrap();
}

#[test]
fn the_last_client_may_go_inside_a_callback() {
    let (client, script) = client_with(&Builder::new().callback_threads(1), |peer| {
        let go = peer.expect("go");
        peer.reply(&go, "{}");
        peer.expect_eof();
    });
    let inner = client.clone();
    let (gate, wait) = Gate::new();
    let (callback, heard) = Calls::new();
    let last = move |_| {
        wait();
        drop(inner);
        callback(());
    };
    client.submit_request(Request::new("go"), last).unwrap();
    drop(client);
    gate.open();
    heard.next();
    heard.over();
    script.join();
}

#[test]
fn c16_waiting_for_idleness_waits_for_commands_and_their_callbacks() {
    for threads in [1, 10] {
        let client = machine(&Builder::new().callback_threads(threads));
        let (gate, wait) = Gate::new();
        let returned = Arc::new(AtomicUsize::new(0));
        let count = returned.clone();
        client
            .submit(&QueryStatus, move |_| {
                wait();
                count.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        assert_eq!(client.wait_idle(Duration::from_millis(20)), Err(Error::StillBusy));
        assert_eq!(client.wait_idle(Duration::ZERO), Err(Error::StillBusy));
        gate.open();
        client.wait_idle(None).unwrap();
        assert_eq!(returned.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn c16_what_a_callback_submits_is_waited_for_too() {
    fn chain(client: &Client, left: usize, called: Arc<AtomicUsize>) {
        let next = client.clone();
        let callback = move |_| {
            called.fetch_add(1, Ordering::SeqCst);
            if left > 1 {
                chain(&next, left - 1, called);
            }
        };
        client.query_then("status", callback).unwrap();
    }
    let client = machine(&Builder::new().callback_threads(1));
    let called = Arc::new(AtomicUsize::new(0));
    chain(&client, 50, called.clone());
    client.wait_idle(PATIENCE).unwrap();
    assert_eq!(called.load(Ordering::SeqCst), 50);
}

/// The event comes before the reply, so whoever waits after the reply has it handled too.
#[test]
fn c16_callbacks_of_events_that_have_come_are_waited_for() {
    let client = machine(&Builder::new());
    let heard = Arc::new(AtomicUsize::new(0));
    let (gate, wait) = Gate::new();
    let count = heard.clone();
    let _registration = client.on_any_event(move |_| {
        wait();
        count.fetch_add(1, Ordering::SeqCst);
    });
    client.submit(&Cont, drop).unwrap();
    client.submit(&Stop, drop).unwrap();
    assert_eq!(client.wait_idle(Duration::from_millis(20)), Err(Error::StillBusy));
    gate.open_once();
    assert_eq!(client.wait_idle(Duration::from_millis(20)), Err(Error::StillBusy));
    gate.open_once();
    client.wait_idle(PATIENCE).unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 2);
}

#[test]
fn c16_a_callback_that_was_unregistered_is_waited_for_until_it_returns() {
    for unregister_first in [false, true] {
        let client = machine(&Builder::new());
        let (gate, wait) = Gate::new();
        let (callback, heard) = Calls::new();
        let registration = client.on_any_event(move |event| {
            callback(event.name().to_owned());
            wait();
        });
        client.execute(&Cont).unwrap();
        // It is called with the first, and will not be with the second.
        client.execute(&Stop).unwrap();
        assert_eq!(heard.next(), "RESUME");
        let waits = |client: &Client| client.wait_idle(Duration::from_millis(20));
        if unregister_first {
            drop(registration);
            assert_eq!(waits(&client), Err(Error::StillBusy));
        } else {
            thread::scope(|scope| {
                let waiting = scope.spawn(|| client.wait_idle(PATIENCE));
                assert_eq!(waits(&client), Err(Error::StillBusy));
                drop(registration);
                assert_eq!(waits(&client), Err(Error::StillBusy));
                gate.open_once();
                waiting.join().unwrap().unwrap();
            });
        }
        drop(gate);
        client.wait_idle(PATIENCE).unwrap();
        heard.over();
    }
}

/// Events go on all the time: those that come later are not waited for.
#[test]
fn c16_a_flood_of_events_does_not_keep_it_from_being_idle() {
    let (stop, stopped) = mpsc::channel::<()>();
    let (client, script) = client(move |peer| {
        let stop = peer.expect("stop");
        peer.reply(&stop, "{}");
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            peer.try_send(event_text("NOISE", "{}"));
        }
        // What the client has not read makes a reset of its end.
        peer.serve();
    });
    let registration = client.on_any_event(|_| thread::yield_now());
    client.submit_request(Request::new("stop"), drop).unwrap();
    for _ in 0..20 {
        client.wait_idle(PATIENCE).unwrap();
    }
    drop(stop);
    drop((registration, client));
    script.join();
}

/// Such a pool is at fault; but nobody waits for what it has dropped.
#[test]
fn a_pool_that_drops_its_jobs_leaves_nobody_waiting() {
    let client = machine(&Builder::new().callback_pool(drop::<Job>));
    let (callback, never) = Calls::<()>::new();
    let told = callback.clone();
    let registration = client.on_any_event(move |_| told(()));
    client.submit(&Cont, move |_| callback(())).unwrap();
    client.wait_idle(PATIENCE).unwrap();
    never.over();
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Running);
    drop(registration);
}

/// A client is used from whichever thread, and so is what came of it.
#[test]
fn a_client_of_one_thread_is_used_and_dropped_in_others() {
    let client = thread::spawn(|| machine(&Builder::new())).join().unwrap();
    let clone = client.clone();
    let used = thread::spawn(move || {
        clone.execute(&Cont).unwrap();
        clone.query("status").unwrap()
    });
    assert!(used.join().unwrap().as_str().unwrap().contains("running"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| client.query_then("status", |status| drop(status.unwrap())).unwrap());
        }
    });
    let (callback, heard) = Calls::new();
    let registration = client.on_event("STOP", move |_| callback(thread::current().id()));
    let (client, registration) = thread::spawn(move || {
        client.execute(&Stop).unwrap();
        (client, registration)
    })
    .join()
    .unwrap();
    assert_ne!(heard.next(), thread::current().id());
    client.wait_idle(PATIENCE).unwrap();
    thread::spawn(move || drop((client, registration))).join().unwrap();
    heard.over();
}

/// `close` has its deadline, and callbacks are none of its business.
#[test]
fn c19_closing_does_not_wait_for_callbacks() {
    let (client, script) = client(|peer| {
        let go = peer.expect("go");
        peer.reply(&go, "{}");
        peer.expect_eof();
    });
    let (gate, wait) = Gate::new();
    let (callback, heard) = Calls::new();
    client
        .submit_request(Request::new("go"), move |outcome| {
            callback(outcome.is_ok());
            wait();
        })
        .unwrap();
    assert!(heard.next());
    client.close(PATIENCE).unwrap();
    script.join();
    assert_eq!(client.wait_idle(Duration::ZERO), Err(Error::StillBusy));
    gate.open();
    client.wait_idle(PATIENCE).unwrap();
}
