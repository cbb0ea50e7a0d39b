//! C15: a command and the event that it brings about, waited for together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use qmp_tests::qemu::{Monitor, Setup};
use qmp_tests::scripted::{Command, Peer, Script, Server, event_text, pair};

use super::qmp::commands::{Cont, DeviceAdd, DeviceDel, Quit, Stop};
use super::qmp::events::DeviceDeleted;
use super::qmp::{Builder, Client, CloseReason, Error, ErrorClass, Event, EventLimits};
use super::runtime::{finish, start, tell};
use super::{heard, next_event, patient, qmp, run};

const GONE: &str = r#"{"device": "net0", "path": "/machine/peripheral/net0"}"#;
const SHORT: Duration = Duration::from_millis(20);

fn gone() -> String {
    event_text("DEVICE_DELETED", GONE)
}

async fn unplug(client: &Client) -> Result<Event, Error> {
    let matcher = |event: &Event| event.name() == "DEVICE_DELETED";
    wait!(client.execute_until(&DeviceDel { id: "net0" }, matcher)).map(|(_, event)| event)
}

/// A client, and a server that greets, gets `device_del`, and then does as it likes.
async fn unplugged(then: impl FnOnce(&mut Peer, Command) + Send + 'static) -> (Client, Script) {
    let (socket, script) = pair(|peer| {
        peer.greet();
        let command = peer.expect("device_del");
        then(peer, command);
    });
    (wait!(qmp::from_stream(socket)).unwrap(), script)
}

#[track_caller]
fn assert_found(outcome: Result<Event, Error>) {
    let event = outcome.expect("the reply and the event");
    assert_eq!((event.name(), event.data().unwrap().as_str()), ("DEVICE_DELETED", Ok(GONE)));
}

#[test]
fn c15_the_event_before_the_reply() {
    tell(async {
        let (client, script) = unplugged(|peer, command| {
            peer.send(gone());
            peer.reply(&command, "{}");
            peer.expect_eof();
        })
        .await;
        assert_found(unplug(&client).await);
        drop(client);
        script.join();
    });
}

#[test]
fn c15_the_event_long_after_the_reply() {
    tell(async {
        let (replied, has_replied) = mpsc::channel();
        let (client, script) = unplugged(move |peer, command| {
            peer.reply(&command, "{}");
            replied.send(()).unwrap();
            // Another command is served meanwhile.
            let other = peer.expect("other");
            peer.reply(&other, "{}");
            peer.send(gone());
            peer.expect_eof();
        })
        .await;
        let unplugging = start({
            let client = client.clone();
            async move { unplug(&client).await }
        });
        heard(&has_replied);
        run(&client, "other").await.unwrap();
        assert_found(finish(unplugging).await);
        drop(client);
        script.join();
    });
}

#[test]
fn c15_event_and_reply_in_one_write_in_either_order() {
    tell(async {
        for event_first in [true, false] {
            let (client, script) = unplugged(move |peer, command| {
                let mut texts = [gone(), command.success("{}")];
                if !event_first {
                    texts.reverse();
                }
                peer.send(texts.concat());
                peer.expect_eof();
            })
            .await;
            assert_found(unplug(&client).await);
            drop(client);
            script.join();
        }
    });
}

#[test]
fn c15_no_flood_of_other_events_hides_it() {
    tell(async {
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
        let client = wait!(Builder::new().event_limits(limits).from_stream(socket)).unwrap();
        // A subscriber that does not read loses it, and has no say in this.
        let mut lost = client.events();
        assert_found(unplug(&client).await);
        assert!(wait!(lost.next_timeout(Duration::ZERO)).unwrap().is_err());
        drop(client);
        script.join();
    });
}

#[test]
fn c15_an_error_ends_it_at_once() {
    tell(async {
        let (client, script) = unplugged(|peer, command| {
            peer.fail(&command, "DeviceNotFound", "Device 'net0' not found");
            peer.expect_eof();
        })
        .await;
        let Err(Error::Command(error)) = unplug(&client).await else { panic!() };
        assert_eq!(error.class, ErrorClass::DeviceNotFound);
        drop(client);
        script.join();
    });
}

#[test]
fn c15_a_panic_in_the_matcher_fails_that_call_alone() {
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            let command = peer.expect("stop");
            (0..3).for_each(|_| peer.event("STOP", "{}"));
            peer.reply(&command, "{}");
            assert_eq!(peer.serve(), ["last"]);
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let mut events = client.events();
        let asked = Arc::new(AtomicUsize::new(0));
        let counting = asked.clone();
        let outcome = wait!(client.execute_until(&Stop, move |_| {
            counting.fetch_add(1, Ordering::Relaxed);
            panic!("a matcher panics, as this test wants it")
        }));
        assert_eq!(outcome.map(|_| ()), Err(Error::MatcherPanicked));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        run(&client, "last").await.unwrap();
        for _ in 0..3 {
            assert_eq!(next_event(&mut events).await.name(), "STOP");
        }
        drop(client);
        script.join();
    });
}

#[test]
fn c15_an_event_from_before_the_command_does_not_count() {
    tell(async {
        let server = Server::unix(|peer| {
            peer.greet();
            peer.send(gone());
            let command = peer.expect("device_del");
            peer.reply(&command, "{}");
            peer.event("OTHER", "{}");
        });
        let (client, mut events) = wait!(qmp::connect_with_events(server.address())).unwrap();
        assert_found(Ok(next_event(&mut events).await));
        // So it waits in vain, until the end.
        let ended = CloseReason::Eof { mid_message: false };
        assert_eq!(unplug(&client).await, Err(Error::Closed(ended)));
        server.join();
    });
}

#[test]
fn c15_its_timeout_is_for_both() {
    tell(async {
        let (timed_out, may_go_on) = mpsc::channel();
        let (client, script) = unplugged(move |peer, command| {
            peer.reply(&command, "{}");
            heard(&may_go_on);
            peer.send(gone());
            assert_eq!(peer.serve(), ["last"]);
        })
        .await;
        let mut events = client.events();
        let outcome = unplug(&client.with_timeout(SHORT)).await;
        // On a busy machine the reply may be late as well.
        let late = matches!(outcome, Err(Error::NoEvent | Error::TimedOut { sent: true }));
        assert!(late, "{outcome:?}");
        timed_out.send(()).unwrap();
        // The event is a subscriber's all the same.
        assert_eq!(next_event(&mut events).await.name(), "DEVICE_DELETED");
        run(&client, "last").await.unwrap();
        drop(client);
        script.join();
    });
}

#[test]
fn c15_the_end_of_the_connection_ends_it() {
    let eof = || CloseReason::Eof { mid_message: false };
    tell(async {
        let (client, script) = unplugged(|_, _| {}).await;
        assert_eq!(unplug(&client).await, Err(Error::Unanswered(eof())));
        script.join();
        // With the reply, and without the event.
        let (client, script) = unplugged(|peer, command| peer.reply(&command, "{}")).await;
        assert_eq!(unplug(&client).await, Err(Error::Closed(eof())));
        script.join();
        // With both, in one write with the end.
        let (client, script) = unplugged(|peer, command| {
            peer.send([command.success("{}"), gone()].concat());
        })
        .await;
        assert_found(unplug(&client).await);
        script.join();
    });
}

/// Each waits for its own event, and each sees all of them.
#[test]
fn c15_many_wait_at_once() {
    const CALLERS: usize = 6;
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            let commands = peer.commands(CALLERS);
            for command in commands.iter().rev() {
                let id = command.arguments["id"].as_str().unwrap();
                let data = serde_json::json!({ "device": id, "path": "/machine" });
                peer.event("DEVICE_DELETED", &data.to_string());
            }
            commands.iter().for_each(|command| peer.reply(command, "{}"));
            peer.expect_eof();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| start(unplug_named(client.clone(), format!("net{caller}"))))
            .collect();
        for caller in callers {
            finish(caller).await;
        }
        drop(client);
        script.join();
    });
}

async fn unplug_named(client: Client, id: String) {
    let (_, event) = wait!(client.execute_until(&DeviceDel { id: &id }, deletes(&id))).unwrap();
    let deleted = event.parse_as::<DeviceDeleted>().unwrap().unwrap();
    assert_eq!(deleted.device, Some(id));
}

fn deletes(id: &str) -> impl Fn(&Event) -> bool + Send + Sync + 'static {
    let id = id.to_owned();
    move |event| match event.parse_as::<DeviceDeleted>() {
        Some(deleted) => deleted.unwrap().device.as_deref() == Some(&id),
        None => false,
    }
}

/// QEMU tells it behind the reply, or before it.
#[test]
fn c15_devices_of_qemu_are_gone_when_it_returns() {
    tell(async {
        let Some(setup) = Setup::q35() else { return };
        let setup = setup.args(["-device", "qemu-xhci,id=xhci,p2=8,p3=8"]);
        let server = setup.monitor(Monitor::Unix).start();
        let client = wait!(patient().connect(server.address())).unwrap();
        let callers =
            ["first", "second", "third"].map(|id| start(plug_and_unplug(client.clone(), id)));
        for caller in callers {
            finish(caller).await;
        }
        let unknown = wait!(client.execute_until(&DeviceDel { id: "no" }, deletes("no")));
        let Err(Error::Command(error)) = unknown else { panic!("{unknown:?}") };
        assert_eq!(error.class, ErrorClass::DeviceNotFound);
    });
}

async fn plug_and_unplug(client: Client, id: &'static str) {
    let (name, bus, properties) = (Some(id), Some("xhci.0"), serde_json::Map::default());
    let add = DeviceAdd { driver: "usb-tablet", id: name, bus, properties };
    for _ in 0..10 {
        wait!(client.execute(&add)).unwrap();
        unplug_named(client.clone(), id.to_owned()).await;
        // Now it is gone indeed.
        let again = wait!(client.execute(&DeviceDel { id })).unwrap_err();
        let Error::Command(error) = again else { panic!("{again:?}") };
        assert_eq!(error.class, ErrorClass::DeviceNotFound);
    }
}

/// QEMU tells these before the reply.
#[test]
fn c15_an_event_of_qemu_before_the_reply_is_not_missed() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).start();
        let client = wait!(patient().connect(server.address())).unwrap();
        for _ in 0..50 {
            wait!(client.execute_until(&Cont, |event| event.name() == "RESUME")).unwrap();
            wait!(client.execute_until(&Stop, |event| event.name() == "STOP")).unwrap();
        }
        let outcome = wait!(client.execute_until(&Quit, |_| false));
        assert_eq!(outcome.unwrap_err(), Error::Closed(CloseReason::Quit));
    });
}
