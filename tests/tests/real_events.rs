//! Events of a real QEMU, typed and in order.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::commands::{
    Cont, DeviceAdd, DeviceDel, QueryStatus, Quit, RunState, Stop, SystemPowerdown, SystemReset,
};
use qmp_blocking::events::{
    self, DeviceDeleted, Powerdown, Reset, Resume, Shutdown, ShutdownCause,
};
use qmp_blocking::{
    Client, CloseReason, Error, ErrorClass, Event, EventLimits, Events, Lagged, TypedEvent,
};
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
fn c14_a_slow_subscriber_loses_its_oldest_events_and_is_told_how_many() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    let mut slow = client.events_with(EventLimits { events: 3, ..EventLimits::default() });
    let mut other = client.events();
    for _ in 0..10 {
        client.execute(&Cont).unwrap();
        client.execute(&Stop).unwrap();
    }
    client.execute(&SystemPowerdown).unwrap();
    for _ in 0..10 {
        next::<Resume>(&mut other);
        next::<events::Stop>(&mut other);
    }
    next::<Powerdown>(&mut other);
    assert_eq!(slow.next_timeout(DEADLINE).unwrap().unwrap_err(), Lagged(18));
    next::<Resume>(&mut slow);
    next::<events::Stop>(&mut slow);
    next::<Powerdown>(&mut slow);
    assert!(slow.next_timeout(Duration::ZERO).is_none());
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

fn deletes(id: &'static str) -> impl Fn(&Event) -> bool {
    move |event| match event.parse_as::<DeviceDeleted>() {
        Some(deleted) => deleted.unwrap().device.as_deref() == Some(id),
        None => false,
    }
}

#[test]
fn c15_devices_are_gone_when_execute_until_returns() {
    let Some(setup) = Setup::q35() else { return };
    let setup = setup.args(["-device", "qemu-xhci,id=xhci,p2=8,p3=8"]);
    let server = setup.monitor(Monitor::Unix).start();
    let client = &server.connect();
    thread::scope(|scope| {
        for id in ["first", "second", "third", "fourth"] {
            scope.spawn(move || {
                for _ in 0..10 {
                    plug_and_unplug(client, id);
                }
            });
        }
    });
}

fn plug_and_unplug(client: &Client, id: &'static str) {
    let (name, bus) = (Some(id), Some("xhci.0"));
    let add =
        DeviceAdd { driver: "usb-tablet", id: name, bus, properties: serde_json::Map::default() };
    client.execute(&add).unwrap();
    let (_, event) = client.execute_until(&DeviceDel { id }, deletes(id)).unwrap();
    let deleted = event.parse_as::<DeviceDeleted>().unwrap().unwrap();
    assert_eq!(deleted.path, format!("/machine/peripheral/{id}"));
    // Now it is gone indeed.
    let again = client.execute(&DeviceDel { id }).unwrap_err();
    let Error::Command(error) = again else { panic!("{again:?}") };
    assert_eq!(error.class, ErrorClass::DeviceNotFound);
}

#[test]
fn c15_an_error_of_the_command_ends_the_wait() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    let outcome = client.execute_until(&DeviceDel { id: "nobody" }, deletes("nobody"));
    let Err(Error::Command(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.class, ErrorClass::DeviceNotFound);
}

#[test]
fn c15_an_event_before_the_reply_is_not_missed() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    for _ in 0..100 {
        client.execute_until(&Cont, |event| event.name() == "RESUME").unwrap();
        client.execute_until(&Stop, |event| event.name() == "STOP").unwrap();
    }
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Paused);
}

#[test]
fn c15_the_end_of_the_connection_ends_the_wait() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    let waiting = client.clone();
    let waiting = thread::spawn(move || waiting.execute_until(&Quit, |_| false));
    let error = within(move || waiting.join()).unwrap().unwrap_err();
    assert_eq!(error, Error::Closed(CloseReason::Quit));
}

#[test]
fn c15_a_matcher_that_panics_fails_that_call_alone() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    let outcome = client.execute_until(&Cont, |_| panic!("as the test wants it"));
    assert_eq!(outcome.unwrap_err(), Error::MatcherPanicked);
    client.execute_until(&Stop, |event| event.name() == "STOP").unwrap();
}
