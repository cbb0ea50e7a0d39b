//! Callbacks of events: in order, one at a time, bounded, and gone when they are unregistered.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use qmp_blocking::commands::{Cont, QueryStatus, RunState, Stop};
use qmp_blocking::{Builder, CloseReason, Event, EventLimits, Pool};
use qmp_tests::calls::{Calls, Gate, client, client_with, machine};
use qmp_tests::scripted::{PATIENCE, event_text, run};

fn number(event: &Event) -> usize {
    event.data().unwrap().parse().unwrap()
}

#[test]
fn a_callback_hears_its_event_alone_and_a_wildcard_hears_all() {
    let client = machine(&Builder::new());
    let (callback, stops) = Calls::new();
    let _stop = client.on_event("STOP", move |event| callback(event.name().to_owned()));
    let (callback, all) = Calls::new();
    let _all = client.on_any_event(move |event| callback(event.name().to_owned()));
    client.execute(&Cont).unwrap();
    client.execute(&Stop).unwrap();
    client.execute(&Cont).unwrap();
    assert_eq!(all.take(3), ["RESUME", "STOP", "RESUME"]);
    assert_eq!(stops.next(), "STOP");
    client.wait_idle(PATIENCE).unwrap();
    stops.none_yet();
}

#[test]
fn several_callbacks_of_one_event_are_all_called() {
    let client = machine(&Builder::new());
    let (callback, numbers) = Calls::new();
    let registrations: Vec<_> = (0..5)
        .map(|number| {
            let callback = callback.clone();
            client.on_event("RESUME", move |_| callback(number))
        })
        .collect();
    client.execute(&Cont).unwrap();
    let mut called = numbers.take(5);
    called.sort();
    assert_eq!(called, [0, 1, 2, 3, 4]);
    drop((registrations, callback));
    numbers.over();
}

#[test]
fn c14_events_are_in_order_and_one_at_a_time_on_a_pool_of_many_threads() {
    const EVENTS: usize = 3_000;
    let (client, script) = client(|peer| {
        peer.expect("begin");
        (0..EVENTS).for_each(|number| peer.event("COUNT", &number.to_string()));
        peer.expect_eof();
    });
    let (callback, done) = Calls::new();
    let registrations: Vec<_> = (0..4)
        .map(|_| {
            let (callback, busy, mut next) = (callback.clone(), AtomicBool::new(false), 0);
            client.on_event("COUNT", move |event| {
                assert!(!busy.swap(true, Ordering::SeqCst), "two at once");
                assert_eq!(number(&event), next);
                next += 1;
                if next % 100 == 0 {
                    std::thread::yield_now();
                }
                assert!(busy.swap(false, Ordering::SeqCst));
                if next == EVENTS {
                    callback(());
                }
            })
        })
        .collect();
    client.submit_request(qmp_blocking::Request::new("begin"), drop).unwrap();
    done.take(4);
    assert!(registrations.iter().all(|registration| registration.lost() == 0));
    drop(client);
    script.join();
}

/// The queue holds four; while the callback is at the first event, 20 come.
#[test]
fn c14_a_slow_callback_loses_its_own_oldest_events_and_learns_how_many() {
    let limits = EventLimits { events: 4, bytes: usize::MAX };
    let (client, script) = client_with(&Builder::new().event_limits(limits), |peer| {
        let first = peer.expect("first");
        peer.event("COUNT", "0");
        peer.reply(&first, "{}");
        let next = peer.expect("next");
        (1..=20).for_each(|number| {
            peer.event("COUNT", &number.to_string());
            // They take no room in the queue of those who asked for the others.
            peer.event("NOISE", "{}");
        });
        peer.reply(&next, "{}");
        peer.expect_eof();
    });
    let (gate, wait) = Gate::new();
    let (callback, heard) = Calls::new();
    let lagged = callback.clone();
    let registration = client
        .on_event("COUNT", move |event| {
            callback(Ok(number(&event)));
            if number(&event) == 0 {
                wait();
            }
        })
        .on_lagged(move |lost| lagged(Err(lost.0)));
    run(&client, "first").unwrap();
    assert_eq!(heard.next(), Ok(0));
    run(&client, "next").unwrap();
    assert_eq!(registration.lost(), 0, "it has not come to that yet");
    gate.open();
    assert_eq!(heard.next(), Err(16));
    assert_eq!(heard.take(4), [Ok(17), Ok(18), Ok(19), Ok(20)]);
    assert_eq!(registration.lost(), 16);
    client.wait_idle(PATIENCE).unwrap();
    drop((client, registration));
    heard.over();
    script.join();
}

#[test]
fn dropping_the_guard_unregisters_and_drops_the_callback() {
    let client = machine(&Builder::new());
    let (callback, resumes) = Calls::new();
    let registration = client.on_event("RESUME", move |_| callback(()));
    client.execute(&Cont).unwrap();
    resumes.next();
    drop(registration);
    resumes.over();
    client.execute(&Stop).unwrap();
    client.execute(&Cont).unwrap();
    client.wait_idle(PATIENCE).unwrap();
}

#[test]
fn a_call_that_has_begun_goes_on_after_unregistering_and_no_other_begins() {
    let client = machine(&Builder::new());
    let (gate, wait) = Gate::new();
    let (callback, heard) = Calls::new();
    let registration = client.on_any_event(move |event| {
        callback(format!("{} begins", event.name()));
        wait();
        callback("it returns".to_owned());
    });
    client.execute(&Cont).unwrap();
    assert_eq!(heard.next(), "RESUME begins");
    // This one waits for the first to return.
    client.execute(&Stop).unwrap();
    drop(registration);
    heard.none_yet();
    gate.open();
    assert_eq!(heard.next(), "it returns");
    heard.over();
}

#[test]
fn a_callback_may_unregister_itself() {
    let client = machine(&Builder::new().callback_threads(1));
    let slot = Arc::new(Mutex::new(None));
    let (callback, heard) = Calls::new();
    let own = slot.clone();
    let mut ready = slot.lock().unwrap();
    let registration = client.on_any_event(move |event| {
        let registration = own.lock().unwrap().take();
        assert!(registration.is_some(), "called again");
        drop(registration);
        callback(event.name().to_owned());
    });
    *ready = Some(registration);
    drop(ready);
    client.execute(&Cont).unwrap();
    assert_eq!(heard.next(), "RESUME");
    heard.over();
    client.execute(&Stop).unwrap();
    client.wait_idle(PATIENCE).unwrap();
}

/// The event never comes: what ends it is the connection's end, and its captures unregister it.
#[test]
fn a_callback_that_holds_its_own_guard_ends_with_the_connection() {
    let (client, script) = client(|peer| drop(peer.expect("go")));
    let slot = Arc::new(Mutex::new(None));
    let (callback, heard) = Calls::<()>::new();
    let own = slot.clone();
    let registration = client.on_event("NEVER", move |_| {
        drop(own.lock().unwrap().take());
        callback(());
    });
    *slot.lock().unwrap() = Some(registration);
    drop(slot);
    run(&client, "go").unwrap_err();
    script.join();
    heard.over();
    let (told, idle) = mpsc::channel();
    std::thread::spawn(move || told.send(client.wait_idle(PATIENCE)));
    assert_eq!(idle.recv_timeout(2 * PATIENCE), Ok(Ok(())));
}

/// Runs it when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// While captures are dropped, another thread looks at all callbacks: it would wait for a lock that
/// was held meanwhile.
#[test]
fn captures_are_dropped_with_no_lock_held() {
    for unregister in [false, true] {
        let (client, script) = client(|peer| drop(peer.serve()));
        let (told, outcomes) = mpsc::channel();
        let other = client.clone();
        let captured = OnDrop(move || {
            let (other, (sender, looked)) = (other.clone(), mpsc::channel());
            std::thread::spawn(move || sender.send(other.wait_idle(PATIENCE)));
            told.send(looked.recv_timeout(PATIENCE)).unwrap();
        });
        let registration = client.on_event("NEVER", move |_| {
            let _captured = &captured;
        });
        // At the connection's end it is kept: whoever looks at all callbacks finds it.
        let mut registration = Some(registration);
        match unregister {
            true => drop(registration.take()),
            false => client.close(PATIENCE).unwrap(),
        }
        assert_eq!(outcomes.recv_timeout(2 * PATIENCE), Ok(Ok(Ok(()))));
        drop((registration, client));
        script.join();
    }
}

/// A guard is kept, and has nothing left to guard.
#[test]
fn a_guard_keeps_neither_a_pool_nor_a_callback_of_an_ended_connection() {
    let (callback, of_pool) = Calls::<()>::new();
    let pool = Pool::from(move |job: qmp_blocking::Job| {
        let _captured = &callback;
        job();
    });
    let (client, script) =
        client_with(&Builder::new().callback_pool(pool), |peer| drop(peer.serve()));
    let (callback, heard) = Calls::<()>::new();
    let registration = client.on_any_event(move |_| callback(()));
    drop(client);
    script.join();
    heard.over();
    of_pool.over();
    let (callback, lagged) = Calls::<()>::new();
    let registration = registration.on_lagged(move |_| callback(()));
    lagged.over();
    assert_eq!(registration.lost(), 0);
}

#[test]
fn a_detached_callback_stays_until_the_connection_ends() {
    let client = machine(&Builder::new());
    let (callback, heard) = Calls::new();
    client.on_any_event(move |event| callback(event.name().to_owned())).detach();
    client.execute(&Cont).unwrap();
    client.execute(&Stop).unwrap();
    assert_eq!(heard.take(2), ["RESUME", "STOP"]);
    drop(client);
    heard.over();
}

#[test]
fn c17_events_that_had_come_are_told_after_the_connections_end() {
    let (client, script) = client(|peer| {
        let go = peer.expect("go");
        (0..50).for_each(|number| peer.event("COUNT", &number.to_string()));
        peer.reply(&go, "{}");
    });
    let (gate, wait) = Gate::new();
    let (callback, numbers) = Calls::new();
    client
        .on_event("COUNT", move |event| {
            wait();
            callback(number(&event));
        })
        .detach();
    run(&client, "go").unwrap();
    script.join();
    assert_eq!(client.closed(), CloseReason::Eof { mid_message: false });
    gate.open();
    assert_eq!(numbers.take(50), (0..50).collect::<Vec<_>>());
    numbers.over();
    // Who comes too late hears nothing, and is not kept.
    let (callback, late) = Calls::<()>::new();
    client.on_any_event(move |_| callback(())).detach();
    late.over();
}

#[test]
fn c18_callbacks_keep_no_connection_alive() {
    let (client, script) = client(|peer| peer.expect_eof());
    let (callback, heard) = Calls::<()>::new();
    let kept = callback.clone();
    let registration = client.on_event("OTHER", move |_| kept(()));
    let weak = client.downgrade();
    client
        .on_event("OTHER", move |_| {
            assert!(weak.upgrade().is_some());
            callback(());
        })
        .detach();
    let weak = client.downgrade();
    drop(client);
    // It waits for the end of the stream.
    script.join();
    assert!(weak.upgrade().is_none());
    heard.over();
    drop(registration);
}

/// What a callback has captured keeps the connection alive, until the connection ends otherwise, or
/// the callback is unregistered.
#[test]
fn c18_a_client_in_a_callback_is_a_client() {
    for unregister in [false, true] {
        let (gate, wait) = mpsc::channel::<()>();
        let (client, script) = client(move |peer| {
            assert!(wait.recv_timeout(PATIENCE).is_err());
            peer.expect_eof();
        });
        let captured = client.clone();
        let registration = client.on_event("OTHER", move |_| drop(run(&captured, "stop")));
        let weak = client.downgrade();
        drop(client);
        let client = weak.upgrade().expect("the callback has one");
        drop(gate);
        match unregister {
            true => drop((registration, client)),
            false => {
                registration.detach();
                client.close(PATIENCE).unwrap();
                drop(client);
            }
        }
        script.join();
    }
}

#[test]
fn one_pool_serves_many_connections_and_a_flood_of_one_starves_no_other() {
    let (stop, stopped) = mpsc::channel::<()>();
    let builder = Builder::new().callback_pool(Pool::threads(1));
    let (noisy, script) = client_with(&builder, move |peer| {
        // Until the other has been heard. The client may fall behind.
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            peer.try_send(event_text("NOISE", "{}"));
        }
        // What the client has not read makes a reset of its end.
        peer.serve();
    });
    let noise = Arc::new(AtomicUsize::new(0));
    let count = noise.clone();
    let registration = noisy.on_any_event(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let machines: Vec<_> = (0..20).map(|_| machine(&builder)).collect();
    let (callback, heard) = Calls::new();
    for machine in &machines {
        let callback = callback.clone();
        machine.on_event("RESUME", move |_| callback(())).detach();
        machine.submit(&Cont, drop).unwrap();
    }
    heard.take(20);
    for machine in &machines {
        machine.wait_idle(PATIENCE).unwrap();
        assert_eq!(machine.execute(&QueryStatus).unwrap().status, RunState::Running);
    }
    drop(stop);
    noisy.wait_idle(PATIENCE).unwrap();
    assert!(noise.load(Ordering::SeqCst) > 0);
    drop((registration, noisy));
    script.join();
}
