//! The command after which there is nothing: its reply is never lost, and the end is no error.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::thread;

use qmp_blocking::commands::{QueryStatus, Quit};
use qmp_blocking::events::{Shutdown, ShutdownCause};
use qmp_blocking::{CloseReason, Error, ErrorClass, Refusal, Request};
use qmp_tests::qemu::{Monitor, Setup, closed, next_event, patient, within};

const QUITS: usize = 100;

/// Starts QEMU as often as asked, two at a time, and ends each with `quit`.
fn quit_often(monitor: Monitor, oob: bool) {
    if Setup::bare().is_none() {
        return;
    }
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..QUITS / 2).for_each(|_| quit(monitor, oob)));
        }
    });
}

fn quit(monitor: Monitor, oob: bool) {
    let mut server = Setup::bare().unwrap().monitor(monitor).start();
    let builder = patient().oob(oob);
    let (client, mut events) = builder.connect_with_events(server.address()).unwrap();
    client.execute(&Quit).expect("the reply");
    assert_eq!(closed(&client), CloseReason::Quit);
    assert!(server.wait().success());
    let shutdown = next_event(&mut events).parse_as::<Shutdown>().unwrap().unwrap();
    assert_eq!((shutdown.reason, shutdown.guest), (ShutdownCause::HostQmpQuit, false));
    assert!(within(move || events.next()).is_none());
}

#[test]
fn c12_quit_100_times_over_unix() {
    quit_often(Monitor::Unix, false);
}

#[test]
fn c12_quit_100_times_over_tcp() {
    quit_often(Monitor::Tcp, false);
}

#[test]
fn c12_quit_100_times_with_oob() {
    quit_often(Monitor::Unix, true);
}

#[test]
fn c12_quit_in_a_crowd() {
    if Setup::bare().is_none() {
        return;
    }
    for monitor in [Monitor::Unix, Monitor::Tcp].into_iter().cycle().take(10) {
        let mut server = Setup::bare().unwrap().monitor(monitor).start();
        let client = server.connect();
        thread::scope(|scope| {
            for _ in 0..4 {
                // Each goes on until the end, which is no answer, or came before sending.
                scope.spawn(|| {
                    let end = (0..).find_map(|_| client.execute(&QueryStatus).err()).unwrap();
                    let expected = match &end {
                        Error::NotSent(reason) | Error::Refused(Refusal::Closed(reason)) => reason,
                        other => panic!("after quit: {other:?}"),
                    };
                    assert_eq!(*expected, CloseReason::Quit);
                });
            }
            scope.spawn(|| client.execute(&Quit).expect("the reply"));
        });
        assert_eq!(closed(&client), CloseReason::Quit);
        assert!(server.wait().success());
    }
}

#[test]
fn c12_after_a_quit_that_is_refused_commands_go_on() {
    for monitor in [Monitor::Unix, Monitor::Tcp] {
        let Some(setup) = Setup::bare() else { return };
        let mut server = setup.monitor(monitor).start();
        let client = server.connect();
        let arguments = serde_json::json!({"x": 1});
        let outcome = client.execute_request(Request::new("quit").arguments(arguments));
        let Err(Error::Command(error)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.class, ErrorClass::GenericError, "{error}");
        for _ in 0..10 {
            client.execute(&QueryStatus).unwrap();
        }
        assert_eq!(client.close_reason(), None);
        client.execute(&Quit).unwrap();
        assert_eq!(closed(&client), CloseReason::Quit);
        assert!(server.wait().success());
    }
}

#[test]
fn c12_quit_of_the_storage_daemon_tells_no_event() {
    let Some(setup) = Setup::storage_daemon() else { return };
    let mut server = setup.monitor(Monitor::Unix).start();
    let (client, mut events) = patient().connect_with_events(server.address()).unwrap();
    client.query("version").unwrap();
    client.execute(&Quit).unwrap();
    assert_eq!(closed(&client), CloseReason::Quit);
    assert!(within(move || events.next()).is_none());
    assert!(server.wait().success());
}
