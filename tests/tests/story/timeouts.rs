//! C8 and C16: commands that are given up, and when all replies have come.

use std::sync::mpsc;
use std::time::Duration;

use qmp_tests::qemu::{Block, DEADLINE, Monitor, Setup};
use qmp_tests::scripted::pair;

use super::qmp::commands::QueryStatus;
use super::qmp::{Builder, Error};
use super::runtime::{finish, start, tell};
use super::{heard, next_event, patient, qmp, run};

const SHORT: Duration = Duration::from_millis(20);

#[test]
fn c8_a_late_reply_is_never_anothers() {
    tell(async {
        let (timed_out, may_answer) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let slow = peer.expect("slow");
            heard(&may_answer);
            let [first, second] = [peer.expect("other"), peer.expect("other")];
            peer.reply(&first, "\"its own\"");
            peer.reply(&slow, "\"late\"");
            peer.reply(&second, "\"its own\"");
            assert_eq!(peer.serve(), ["last"]);
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let hasty = client.with_timeout(SHORT);
        assert_eq!(run(&hasty, "slow").await, Err(Error::TimedOut { sent: true }));
        timed_out.send(()).unwrap();
        let others = [(); 2].map(|()| {
            let client = client.clone();
            start(async move { run(&client, "other").await })
        });
        for other in others {
            assert_eq!(finish(other).await.unwrap().as_str(), Ok("\"its own\""));
        }
        // The timeout is the handle's, not the connection's.
        run(&hasty.with_timeout(None), "last").await.unwrap();
        drop((client, hasty));
        script.join();
    });
}

#[test]
fn c8_what_finds_no_room_in_time_is_never_sent() {
    tell(async {
        let (withdrawn, may_answer) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let slow = peer.expect("slow");
            heard(&may_answer);
            peer.reply(&slow, "{}");
            assert_eq!(peer.serve(), ["last"]);
        });
        let builder = Builder::new().window(1).command_timeout(SHORT);
        let hasty = wait!(builder.from_stream(socket)).unwrap();
        assert_eq!(run(&hasty, "slow").await, Err(Error::TimedOut { sent: true }));
        for _ in 0..3 {
            let outcome = run(&hasty, "withdrawn").await;
            assert_eq!(outcome, Err(Error::TimedOut { sent: false }));
        }
        withdrawn.send(()).unwrap();
        let client = hasty.with_timeout(None);
        run(&client, "last").await.unwrap();
        drop((client, hasty));
        script.join();
    });
}

#[test]
fn c16_idle_is_when_late_replies_have_come_too() {
    tell(async {
        let (asked, may_answer) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let slow = peer.expect("slow");
            heard(&may_answer);
            peer.reply(&slow, "{}");
            peer.event("ALL ANSWERED", "{}");
            peer.expect_eof();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        assert_eq!(wait!(client.wait_idle(Duration::ZERO)), Ok(()));
        let outcome = run(&client.with_timeout(SHORT), "slow").await;
        assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
        assert_eq!(wait!(client.wait_idle(Duration::ZERO)), Err(Error::StillBusy));
        assert_eq!(wait!(client.wait_idle(SHORT)), Err(Error::StillBusy));
        let mut events = client.events();
        let waiting = [(); 4].map(|()| {
            let client = client.clone();
            start(async move { wait!(client.wait_idle(None)) })
        });
        asked.send(()).unwrap();
        for waiting in waiting {
            assert_eq!(finish(waiting).await, Ok(()));
        }
        assert_eq!(next_event(&mut events).await.name(), "ALL ANSWERED");
        drop(client);
        script.join();
    });
}

#[test]
fn c16_a_connection_is_busy_while_commands_wait_for_their_turn() {
    tell(async {
        let (slow_is_there, is_there) = mpsc::channel();
        let (asked, may_answer) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let slow = peer.expect("command");
            slow_is_there.send(()).unwrap();
            heard(&may_answer);
            peer.reply(&slow, "{}");
            assert_eq!(peer.serve(), ["command"; 4]);
        });
        let client = wait!(Builder::new().window(1).from_stream(socket)).unwrap();
        let callers = [(); 5].map(|()| {
            let client = client.clone();
            start(async move { run(&client, "command").await })
        });
        heard(&is_there);
        assert_eq!(wait!(client.wait_idle(SHORT)), Err(Error::StillBusy));
        asked.send(()).unwrap();
        for caller in callers {
            finish(caller).await.unwrap();
        }
        assert_eq!(wait!(client.wait_idle(DEADLINE)), Ok(()));
        drop(client);
        script.join();
    });
}

#[test]
fn c8_qemu_owes_a_reply_and_the_connection_is_as_good_as_before() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
        let [first, second] = server.addresses() else { panic!() };
        let client = wait!(patient().connect(first)).unwrap();
        let block =
            Block::new(&qmp_tests::qemu::patient().connect(second).unwrap(), server.folder());
        let outcome = wait!(client.with_timeout(SHORT).execute(&QueryStatus));
        assert_eq!(outcome.unwrap_err(), Error::TimedOut { sent: true });
        assert_eq!(wait!(client.wait_idle(SHORT)), Err(Error::StillBusy));
        block.release().unwrap();
        wait!(client.wait_idle(DEADLINE)).unwrap();
        assert!(!wait!(client.execute(&QueryStatus)).unwrap().running);
    });
}
