//! C10: how many commands are in flight, and the out-of-band ones that pass them.

use std::sync::mpsc;
use std::time::Duration;

use qmp_tests::out_of_band::{MigratePause, YANK, has_yank, is_unpausable};
use qmp_tests::qemu::{Block, Monitor, Setup};
use qmp_tests::scripted::pair;

use super::qmp::commands::{QueryCommands, QueryStatus, QueryVersion};
use super::qmp::{Builder, Client, Error, Refusal};
use super::runtime::{finish, start, tell};
use super::{heard, patient, qmp, run};

const SHORT: Duration = Duration::from_millis(20);

/// Executes a command out-of-band, one that the QEMU at hand has.
async fn urgent(client: &Client, has_yank: bool) {
    if has_yank {
        wait!(client.execute_oob(&YANK)).unwrap();
    } else {
        let outcome = wait!(client.execute_oob(&MigratePause));
        assert!(is_unpausable(&outcome), "{outcome:?}");
    }
}

#[test]
fn c10_with_oob_seven_are_in_flight_and_exec_oob_passes_them() {
    tell(async {
        let (say, full) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let commands = peer.commands(7);
            say.send(()).unwrap();
            let urgent = peer.expect("yank");
            assert!(urgent.out_of_band && commands.iter().all(|command| !command.out_of_band));
            peer.reply(&urgent, "{}");
            // One reply makes room for one command.
            peer.reply(&commands[0], "{}");
            let eighth = peer.expect("status");
            commands[1..].iter().chain([&eighth]).for_each(|command| peer.reply(command, "{}"));
            assert_eq!(peer.serve(), ["status"; 2]);
        });
        let client = wait!(Builder::new().oob(true).from_stream(socket)).unwrap();
        let callers = [(); 10].map(|()| {
            let client = client.clone();
            start(async move { run(&client, "status").await })
        });
        heard(&full);
        let withdrawn = run(&client.with_timeout(SHORT), "withdrawn").await;
        assert_eq!(withdrawn, Err(Error::TimedOut { sent: false }));
        wait!(client.execute_oob(&YANK)).unwrap();
        for caller in callers {
            finish(caller).await.unwrap();
        }
        drop(client);
        script.join();
    });
}

#[test]
fn c10_without_oob_the_window_is_wide_and_exec_oob_refused() {
    const WINDOW: usize = 64;
    tell(async {
        let (say, full) = mpsc::channel();
        let (say_on, may_answer) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            let negotiation = peer.greet();
            assert!(negotiation.arguments.is_null(), "oob is off");
            let commands = peer.commands(WINDOW);
            say.send(()).unwrap();
            heard(&may_answer);
            commands.iter().for_each(|command| peer.reply(command, "{}"));
            peer.expect_eof();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let refused = wait!(client.execute_oob(&YANK));
        assert_eq!(refused, Err(Error::Refused(Refusal::OobNotNegotiated)));
        let callers = [(); WINDOW].map(|()| {
            let client = client.clone();
            start(async move { run(&client, "status").await })
        });
        heard(&full);
        let withdrawn = run(&client.with_timeout(SHORT), "withdrawn").await;
        assert_eq!(withdrawn, Err(Error::TimedOut { sent: false }));
        say_on.send(()).unwrap();
        for caller in callers {
            finish(caller).await.unwrap();
        }
        drop(client);
        script.join();
    });
}

#[test]
fn c10_qemu_answers_out_of_band_while_many_callers_wait() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
        let [first, second] = server.addresses() else { panic!() };
        let client = wait!(patient().oob(true).connect(first)).unwrap();
        let has_yank = has_yank(&wait!(client.execute(&QueryCommands)).unwrap());
        let other = qmp_tests::qemu::patient().connect(second).unwrap();
        let block = Block::new(&other, server.folder());
        let (answer, answered) = mpsc::channel();
        let callers = [(); 20].map(|()| {
            let (client, answer) = (client.clone(), answer.clone());
            start(async move {
                let version = wait!(client.execute(&QueryVersion));
                answer.send(()).unwrap();
                version
            })
        });
        for _ in 0..50 {
            urgent(&client, has_yank).await;
        }
        assert!(answered.try_recv().is_err(), "nothing blocked");
        block.release().unwrap();
        for caller in callers {
            assert_eq!(Some(finish(caller).await.unwrap()), client.greeting().version);
        }
    });
}

#[test]
fn c10_what_qemu_does_not_execute_out_of_band_is_an_error_of_that_call_alone() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Tcp).start();
        let client = wait!(patient().oob(true).connect(server.address())).unwrap();
        let outcome = wait!(client.execute_oob(&QueryStatus));
        let Err(Error::Command(error)) = outcome else { panic!("{outcome:?}") };
        assert!(error.desc.contains("OOB"), "{error}");
        let has_yank = has_yank(&wait!(client.execute(&QueryCommands)).unwrap());
        urgent(&client, has_yank).await;
        wait!(client.execute(&QueryStatus)).unwrap();
    });
}
