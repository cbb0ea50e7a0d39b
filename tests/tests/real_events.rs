//! Events of a real QEMU, typed and in order.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::thread;
use std::time::Instant;

use qmp_blocking::commands::{Cont, Quit, Stop, SystemPowerdown, SystemReset};
use qmp_blocking::events::{self, Powerdown, Reset, Resume, Shutdown, ShutdownCause};
use qmp_blocking::{Client, CloseReason, Events, TypedEvent};
use qmp_tests::qemu::{DEADLINE, Monitor, Setup, closed, next_event, patient, within};

#[track_caller]
fn next<T: TypedEvent>(events: &mut Events) -> T {
    let event = next_event(events);
    let typed = event.parse_as::<T>();
    typed.unwrap_or_else(|| panic!("{} instead of {}", event.name(), T::NAME)).unwrap()
}

/// What `run` causes, without a guest that adds to it.
fn check_events(mut events: Events) {
    next::<Resume>(&mut events);
    next::<events::Stop>(&mut events);
    let Reset { guest, reason, .. } = next(&mut events);
    assert_eq!((guest, reason), (false, ShutdownCause::HostQmpSystemReset));
    next::<Powerdown>(&mut events);
    let Shutdown { guest, reason, .. } = next(&mut events);
    assert_eq!((guest, reason), (false, ShutdownCause::HostQmpQuit));
    assert!(within(move || events.next()).is_none());
}

fn run(client: &Client) {
    client.execute(&Cont).unwrap();
    client.execute(&Stop).unwrap();
    client.execute(&SystemReset).unwrap();
    client.execute(&SystemPowerdown).unwrap();
    client.execute(&Quit).unwrap();
}

#[test]
fn c14_two_subscribers_each_find_all_events_typed_and_in_order() {
    for pretty in [false, true] {
        let Some(setup) = Setup::bare() else { return };
        let setup = if pretty { setup.pretty() } else { setup };
        let server = setup.monitor(Monitor::Unix).start();
        let (client, first) = patient().connect_with_events(server.address()).unwrap();
        let second = client.events();
        // One looks on while it happens, the other one afterwards.
        let looks_on = thread::spawn(move || check_events(first));
        run(&client);
        check_events(second);
        within(move || looks_on.join()).unwrap();
        assert_eq!(closed(&client), CloseReason::Quit);
    }
}

#[test]
fn c14_events_come_while_nobody_calls() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
    let [first, second] = server.addresses() else { unreachable!() };
    let caller = patient().connect(first).unwrap();
    let silent = patient().connect(second).unwrap();
    let mut subscribed = silent.events();
    run(&caller);
    // This asks the client and does not read: somebody else has to have done so.
    let deadline = Instant::now() + DEADLINE;
    while silent.close_reason().is_none() {
        assert!(Instant::now() < deadline, "nobody reads");
        thread::yield_now();
    }
    next::<Resume>(&mut subscribed);
    next::<events::Stop>(&mut subscribed);
    next::<Reset>(&mut subscribed);
    next::<Powerdown>(&mut subscribed);
    next::<Shutdown>(&mut subscribed);
    assert!(subscribed.next_timeout(DEADLINE).is_none());
}

#[test]
fn events_bear_the_time_at_which_they_happened() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
    let mut events = client.events();
    let before = now();
    client.execute(&Cont).unwrap();
    let at = next_event(&mut events).timestamp().unwrap();
    let at = at.seconds as u128 * 1_000_000 + at.microseconds as u128;
    assert!((before..=now()).contains(&at), "{before} {at}");
}
