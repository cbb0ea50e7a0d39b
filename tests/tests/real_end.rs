//! How a connection ends when it is not by `quit`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::thread;
use std::time::Duration;

use qmp_blocking::commands::{HumanMonitorCommand, QueryStatus};
use qmp_blocking::events::{Shutdown, ShutdownCause};
use qmp_blocking::{Client, CloseReason, Error, Refusal};
use qmp_proto::IoFailure;
use qmp_tests::qemu::{Block, Monitor, Setup, closed, next_event, patient, within};
use rustix::process::Signal;

/// A reply of 8 MB, far more than the sockets between us hold.
const DUMP: HumanMonitorCommand<'_> =
    HumanMonitorCommand { command_line: "xp /1000000bx 0", cpu_index: None };

/// Whoever comes later is told the same.
fn check_sticky(client: &Client, reason: &CloseReason) {
    assert_eq!(closed(client), *reason);
    assert_eq!(client.close_reason().as_ref(), Some(reason));
    let refused = Error::Refused(Refusal::Closed(reason.clone()));
    assert_eq!(client.execute(&QueryStatus).unwrap_err(), refused);
    client.wait_idle(Duration::ZERO).unwrap();
    let mut events = client.events();
    assert!(within(move || events.next()).is_none());
}

#[test]
fn c17_kill_9_at_some_moment() {
    if Setup::q35().is_none() {
        return;
    }
    for (number, monitor) in [Monitor::Unix, Monitor::Tcp].into_iter().cycle().take(10).enumerate()
    {
        let mut server = Setup::q35().unwrap().monitor(monitor).start();
        let client = server.connect();
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let client = client.clone();
                thread::spawn(move || client.execute(&DUMP))
            })
            .collect();
        // This one is given up, each time a little later, which is how far QEMU has come then.
        let short = client.with_timeout(Duration::from_millis(15 * number as u64));
        let _ = short.execute(&DUMP);
        server.signal(Signal::KILL);
        assert!(!server.wait().success());

        let reason = closed(&client);
        let expected =
            matches!(reason, CloseReason::Eof { .. } | CloseReason::Failed(IoFailure::Reset));
        assert!(expected, "{reason:?}");
        for caller in callers {
            match within(move || caller.join()).unwrap() {
                Ok(dump) => assert_eq!(dump.matches(" 0x").count(), 1_000_000),
                Err(Error::Unanswered(told)) => assert_eq!(told, reason),
                // Its thread may have come too late.
                Err(Error::NotSent(told) | Error::Refused(Refusal::Closed(told))) => {
                    assert_eq!(told, reason);
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        check_sticky(&client, &reason);
    }
}

/// The stream ended between two messages. With bytes unread, be it a line end, a socket is reset.
fn check_ended(reason: &CloseReason, monitor: Monitor) {
    let reset = CloseReason::Failed(IoFailure::Reset);
    let ended = *reason == CloseReason::Eof { mid_message: false };
    assert!(ended || monitor != Monitor::Pipe && *reason == reset, "{reason:?}");
}

#[test]
fn c17_sigterm_tells_why_and_ends_it() {
    for monitor in [Monitor::Unix, Monitor::Tcp, Monitor::Pipe] {
        let Some(setup) = Setup::bare() else { return };
        let mut server = setup.monitor(monitor).monitor(Monitor::Unix).start();
        let (client, mut events) = patient().connect_with_events(server.address()).unwrap();
        let beside = patient().connect(&server.addresses()[1]).unwrap();
        // One thread reads both monitors, so in the end it has read what the first one sent.
        for _ in 0..10 {
            beside.execute(&QueryStatus).unwrap();
        }
        server.signal(Signal::TERM);
        let shutdown = next_event(&mut events).parse_as::<Shutdown>().unwrap().unwrap();
        assert_eq!((shutdown.reason, shutdown.guest), (ShutdownCause::HostSignal, false));
        assert!(within(move || events.next()).is_none());
        check_sticky(&client, &CloseReason::Eof { mid_message: false });
        assert!(server.wait().success());
    }
}

#[test]
fn c17_a_command_that_runs_while_qemu_is_killed_is_unanswered() {
    for monitor in [Monitor::Unix, Monitor::Tcp, Monitor::Pipe] {
        let Some(setup) = Setup::bare() else { return };
        let mut server = setup.monitor(monitor).start();
        let client = server.connect();
        let block = Block::new(&client, server.folder());
        let mut events = client.events();
        server.signal(Signal::KILL);
        assert!(!server.wait().success());
        assert!(within(move || events.next()).is_none());
        let reason = closed(&client);
        check_ended(&reason, monitor);
        assert_eq!(block.release().unwrap_err(), Error::Unanswered(reason.clone()));
        check_sticky(&client, &reason);
    }
}
