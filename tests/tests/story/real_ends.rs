//! C12 and C17 to C20 with a real QEMU: how it ends, and who may come next.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use qmp_tests::qemu::{Block, DEADLINE, Monitor, Setup};
use qmp_tests::scripted::Script;
use rustix::process::Signal;

use super::qmp::commands::{HumanMonitorCommand, QueryStatus, Quit};
use super::qmp::events::{Shutdown as ShutDown, ShutdownCause};
use super::qmp::{Address, Builder, CloseReason, ConnectError, Error, NotQmp, Refusal};
use super::runtime::{finish, next, start, tell};
use super::{after_the_end, heard, next_event, patient, qmp};

/// A reply of 8 MB, far more than the sockets between us hold.
const DUMP: HumanMonitorCommand<'_> =
    HumanMonitorCommand { command_line: "xp /1000000bx 0", cpu_index: None };

/// A socket behind which a monitor is, until so many bytes have come from it. Then `reached` is
/// told, and the rest waits for `go_on`.
fn gate(
    monitor: &Path,
    bytes: u64,
    reached: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
) -> (UnixStream, [Script; 2]) {
    let monitor = UnixStream::connect(monitor).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (from, to) = (theirs.try_clone().unwrap(), monitor.try_clone().unwrap());
    let there = Script::start(move || {
        // It fails when the server is gone.
        let _ = io::copy(&mut &from, &mut &to);
    });
    let back = Script::start(move || {
        io::copy(&mut (&monitor).take(bytes), &mut &theirs).unwrap();
        reached.send(()).unwrap();
        heard(&go_on);
        // It fails at the end where the server left something unread.
        let _ = io::copy(&mut &monitor, &mut &theirs);
        theirs.shutdown(Shutdown::Write).unwrap();
    });
    (ours, [there, back])
}

#[test]
fn c17_kill_9_in_the_middle_of_a_reply() {
    tell(async {
        let Some(setup) = Setup::q35() else { return };
        let mut server = setup.monitor(Monitor::Unix).start();
        let Address::Unix(path) = server.address() else { panic!() };
        let ((reached, is_reached), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
        let (socket, scripts) = gate(path, 100_000, reached, may_go_on);
        let client = wait!(patient().from_stream(socket)).unwrap();
        let callers = [(); 3].map(|()| {
            let client = client.clone();
            start(async move { wait!(client.execute(&DUMP)).unwrap_err() })
        });
        heard(&is_reached);
        server.kill();
        go_on.send(()).unwrap();
        let reason = CloseReason::Eof { mid_message: true };
        for caller in callers {
            match finish(caller).await {
                Error::Unanswered(told) => assert_eq!(told, reason),
                // Its part may have begun too late.
                Error::Refused(Refusal::Closed(told)) => assert_eq!(told, reason),
                other => panic!("{other:?}"),
            }
        }
        after_the_end(&client, &reason).await;
        drop(client);
        scripts.into_iter().for_each(Script::join);
    });
}

#[test]
fn c17_a_command_that_runs_while_qemu_is_killed_is_unanswered() {
    tell(async {
        for monitor in [Monitor::Unix, Monitor::Tcp, Monitor::Pipe] {
            let Some(setup) = Setup::bare() else { return };
            let mut server = setup.monitor(monitor).monitor(Monitor::Unix).start();
            let [first, second] = server.addresses() else { panic!() };
            let client = wait!(patient().connect(first)).unwrap();
            let other = qmp_tests::qemu::patient().connect(second).unwrap();
            let block = Block::new(&other, server.folder());
            let mut events = client.events();
            // It is sent, and waits for the other one's command.
            let hasty = client.with_timeout(Duration::from_millis(20));
            let outcome = wait!(hasty.execute(&QueryStatus));
            assert_eq!(outcome.unwrap_err(), Error::TimedOut { sent: true });
            let waiting = start(async move {
                let hasty = hasty;
                wait!(hasty.wait_idle(DEADLINE))
            });
            server.kill();
            assert!(next(&mut events).await.is_none());
            let reason = wait!(client.closed());
            // The stream ended between two messages. With bytes unread, a socket is reset.
            let reset = CloseReason::Failed(qmp::IoFailure::Reset);
            let ended = CloseReason::Eof { mid_message: false };
            assert!([ended, reset].contains(&reason), "{reason:?}");
            assert_eq!(finish(waiting).await, Ok(()));
            after_the_end(&client, &reason).await;
            block.release().unwrap_err();
        }
    });
}

#[test]
fn c12_quit_ends_qemu_and_its_reply_is_never_lost() {
    tell(async {
        for monitor in [Monitor::Unix, Monitor::Tcp].into_iter().cycle().take(20) {
            let Some(setup) = Setup::bare() else { return };
            let mut server = setup.monitor(monitor).start();
            let (client, mut events) =
                wait!(patient().connect_with_events(server.address())).unwrap();
            wait!(client.execute(&Quit)).expect("the reply");
            let shutdown = next_event(&mut events).await.parse_as::<ShutDown>().unwrap().unwrap();
            assert_eq!((shutdown.reason, shutdown.guest), (ShutdownCause::HostQmpQuit, false));
            assert!(next(&mut events).await.is_none());
            after_the_end(&client, &CloseReason::Quit).await;
            assert!(server.wait().success());
        }
    });
}

#[test]
fn c12_quit_in_a_crowd() {
    tell(async {
        for monitor in [Monitor::Unix, Monitor::Tcp] {
            let Some(setup) = Setup::bare() else { return };
            let mut server = setup.monitor(monitor).start();
            let client = wait!(patient().connect(server.address())).unwrap();
            let crowd = [(); 4].map(|()| {
                let client = client.clone();
                // It goes on until the end, which is no answer, or came before sending.
                start(async move {
                    loop {
                        if let Err(end) = wait!(client.execute(&QueryStatus)) {
                            return end;
                        }
                    }
                })
            });
            wait!(client.execute(&Quit)).expect("the reply");
            for one in crowd {
                match finish(one).await {
                    Error::NotSent(reason) | Error::Refused(Refusal::Closed(reason)) => {
                        assert_eq!(reason, CloseReason::Quit);
                    }
                    other => panic!("after quit: {other:?}"),
                }
            }
            assert_eq!(wait!(client.closed()), CloseReason::Quit);
            assert!(server.wait().success());
        }
    });
}

#[test]
fn c18_the_last_handle_dropped_lets_the_next_client_in() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).start();
        for _ in 0..20 {
            let client = wait!(patient().connect(server.address())).unwrap();
            let clones = [client.clone(), client.clone()];
            let events = client.events();
            wait!(client.execute(&QueryStatus)).unwrap();
            drop((client, clones));
            // The events that are kept do not hold the connection.
            let next = wait!(patient().connect(server.address())).unwrap();
            wait!(next.execute(&QueryStatus)).unwrap();
            drop(events);
        }
    });
}

#[test]
fn c19_close_awaits_the_replies_that_qemu_owes() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
        let [first, second] = server.addresses() else { panic!() };
        let client = wait!(patient().connect(first)).unwrap();
        let other = qmp_tests::qemu::patient().connect(second).unwrap();
        let block = Block::new(&other, server.folder());
        let outcome = wait!(client.with_timeout(Duration::from_millis(20)).execute(&QueryStatus));
        assert_eq!(outcome.unwrap_err(), Error::TimedOut { sent: true });
        let closing = start({
            let client = client.clone();
            async move { wait!(client.close(DEADLINE)) }
        });
        block.release().unwrap();
        assert_eq!(finish(closing).await, Ok(()));
        after_the_end(&client, &CloseReason::Requested).await;
        // The server serves the next one.
        let next = wait!(patient().connect(first)).unwrap();
        wait!(next.execute(&QueryStatus)).unwrap();
    });
}

#[test]
fn c20_one_that_waits_in_vain_says_why_and_leaves_qemu_as_it_was() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).human().monitor(Monitor::Unix).start();
        let [monitor, human] = server.addresses() else { panic!() };
        let first = wait!(patient().connect(monitor)).unwrap();
        let hasty = Builder::new().deadline(Duration::from_millis(300));
        let error = wait!(hasty.connect(monitor)).unwrap_err();
        assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error}");
        assert!(error.to_string().contains("another client"), "{error}");
        wait!(first.execute(&QueryStatus)).unwrap();
        drop(first);
        // What waited in vain is still in the backlog; the server sees that it is gone.
        let next = wait!(patient().connect(monitor)).unwrap();
        wait!(next.execute(&QueryStatus)).unwrap();

        let error = wait!(patient().connect(human)).unwrap_err();
        let ConnectError::Ended { reason: CloseReason::NotQmp(what), .. } = error else {
            panic!("{error}")
        };
        assert_eq!(what, NotQmp::HumanMonitor);
    });
}

#[test]
fn c20_a_busy_qemu_answers_no_qmp_capabilities_until_it_is_not() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
        let [first, second] = server.addresses() else { panic!() };
        let other = qmp_tests::qemu::patient().connect(second).unwrap();
        let block = Block::new(&other, server.folder());
        let hasty = Builder::new().deadline(Duration::from_secs(1));
        let error = wait!(hasty.connect(first)).unwrap_err();
        assert!(matches!(error, ConnectError::NoCapabilities { .. }), "{error}");
        let waiting = start({
            let address = first.clone();
            async move { wait!(patient().connect(address)) }
        });
        block.release().unwrap();
        wait!(finish(waiting).await.unwrap().execute(&QueryStatus)).unwrap();
    });
}

/// Meanwhile the client opens other connections, which fill the backlog, and then connects again. If
/// QEMU is stopped, that is refused.
#[test]
fn c20_a_qemu_that_is_busy_for_seconds_is_connected_to_when_it_goes_on() {
    tell(async {
        for (monitor, stopped) in [
            (Monitor::Unix, false),
            (Monitor::Unix, true),
            (Monitor::Abstract, false),
            (Monitor::Tcp, false),
            (Monitor::Tcp, true),
        ] {
            let Some(setup) = Setup::bare() else { return };
            let server = setup.monitor(monitor).monitor(Monitor::Unix).start();
            let [first, second] = server.addresses() else { panic!() };
            let other = qmp_tests::qemu::patient().connect(second).unwrap();
            let block = Block::new(&other, server.folder());
            let (say, is_connected) = mpsc::channel();
            let waiting = start({
                let address = first.clone();
                async move {
                    let client = wait!(patient().connect(address)).unwrap();
                    say.send(()).unwrap();
                    client
                }
            });
            let not_connected = |time: u64| {
                let outcome = is_connected.recv_timeout(Duration::from_millis(time));
                assert_eq!(outcome, Err(mpsc::RecvTimeoutError::Timeout));
            };
            // It has greeted by then.
            not_connected(500);
            if stopped {
                server.signal(Signal::STOP);
            }
            not_connected(3_500);
            if stopped {
                server.signal(Signal::CONT);
            }
            block.release().unwrap();
            let client = finish(waiting).await;
            wait!(client.execute(&QueryStatus)).unwrap();
            // Nor is any other client kept away.
            drop(client);
            let next = wait!(patient().connect(first)).unwrap();
            wait!(next.execute(&QueryStatus)).unwrap();
        }
    });
}
