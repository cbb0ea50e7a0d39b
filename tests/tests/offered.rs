//! Which commands the server offers, and the refusal of those that it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::thread;
use std::time::Duration;

use qmp_blocking::commands::{DeviceDel, QueryStatus, Stop};
use qmp_blocking::{
    Builder, CommandError, Error, ErrorClass, GuestExecError, GuestProgram, Request,
};
use qmp_tests::calls::{Calls, client, client_with};
use qmp_tests::scripted::{PATIENCE, run};

const NAMES: &str = r#"[{"name": "stop"}, {"name": "query-commands"}, {"name": "query-status"}]"#;

fn unknown(name: &str) -> Error {
    Error::UnknownCommand(name.to_owned())
}

#[test]
fn the_server_is_asked_once_by_all() {
    let (client, script) = client(|peer| {
        let asked = peer.expect("query-commands");
        // Time for the others to come.
        thread::yield_now();
        peer.reply(&asked, NAMES);
        let stop = peer.expect("stop");
        peer.reply(&stop, "{}");
        peer.expect_eof();
    });
    thread::scope(|scope| {
        for _ in 0..5 {
            let client = client.clone();
            scope.spawn(move || {
                for _ in 0..10 {
                    assert_eq!(client.supports("stop"), Ok(true));
                    assert_eq!(client.supports("blockdev-add"), Ok(false));
                    assert_eq!(client.supports(""), Ok(false));
                }
            });
        }
    });
    run(&client, "stop").unwrap();
    drop(client);
    script.join();
}

#[test]
fn who_cannot_ask_is_told_and_the_next_asks_again() {
    let (client, script) = client(|peer| {
        let asked = peer.expect("query-commands");
        peer.fail(&asked, "GenericError", "not now");
        let asked = peer.expect("query-commands");
        peer.reply(&asked, "17");
        peer.expect("query-commands");
        let asked = peer.expect("query-commands");
        peer.reply(&asked, NAMES);
        peer.expect_eof();
    });
    let not_now = Error::Command(CommandError::generic("not now"));
    assert_eq!(client.supports("stop"), Err(not_now));
    assert!(matches!(client.supports("stop"), Err(Error::Decode(_))));
    let hasty = client.with_timeout(Duration::from_millis(5));
    assert_eq!(hasty.supports("stop"), Err(Error::TimedOut { sent: true }));
    assert_eq!(client.supports("stop"), Ok(true));
    drop((client, hasty));
    script.join();
}

/// One has asked and is patient; the other waits for the same answer, and keeps its own deadline.
#[test]
fn each_keeps_its_own_deadline() {
    let (told, tell) = std::sync::mpsc::channel::<()>();
    let (came, has_come) = std::sync::mpsc::channel::<()>();
    let (client, script) = client(move |peer| {
        let asked = peer.expect("query-commands");
        came.send(()).unwrap();
        assert!(tell.recv_timeout(PATIENCE).is_err());
        peer.reply(&asked, NAMES);
        peer.expect_eof();
    });
    thread::scope(|scope| {
        let patient = scope.spawn(|| client.supports("stop"));
        has_come.recv_timeout(PATIENCE).unwrap();
        let hasty = client.with_timeout(Duration::from_millis(5));
        assert_eq!(hasty.supports("stop"), Err(Error::TimedOut { sent: false }));
        drop(told);
        assert_eq!(patient.join().unwrap(), Ok(true));
    });
    drop(client);
    script.join();
}

#[test]
fn unknown_commands_are_refused_here_on_request() {
    let (client, script) = client_with(&Builder::new().refuse_unknown(true), |peer| {
        let asked = peer.expect("query-commands");
        peer.reply(&asked, NAMES);
        for _ in 0..2 {
            let stop = peer.expect("stop");
            peer.reply(&stop, "{}");
        }
        peer.expect_eof();
    });
    client.execute(&Stop).unwrap();
    assert_eq!(run(&client, "blockdev-ad").map(drop), Err(unknown("blockdev-ad")));
    assert_eq!(client.query("nonsense").map(drop), Err(unknown("query-nonsense")));
    let device_del = DeviceDel { id: "net0" };
    assert_eq!(client.execute(&device_del).map(drop), Err(unknown("device_del")));
    assert_eq!(client.execute_oob(&device_del).map(drop), Err(unknown("device_del")));
    let started = client.guest_exec(&GuestProgram::new("true")).map(drop);
    assert_eq!(started, Err(GuestExecError::NotStarted(unknown("guest-exec"))));
    let ended = client.guest_wait(7).map(drop);
    let error = unknown("guest-exec-status");
    assert_eq!(ended, Err(GuestExecError::StillRunning { pid: 7, error }));
    let until = client.execute_until(&device_del, |_| true);
    assert_eq!(until.map(drop), Err(unknown("device_del")));
    let (callback, never) = Calls::new();
    assert_eq!(client.submit(&device_del, callback), Err(unknown("device_del")));
    never.over();
    assert_eq!(client.query_then("nonsense", drop), Err(unknown("query-nonsense")));
    let (callback, outcomes) = Calls::new();
    client.submit_request(Request::new("stop"), callback).unwrap();
    assert!(outcomes.next().is_ok());
    assert_eq!(
        unknown("blockdev-ad").to_string(),
        "the server offers no command \"blockdev-ad\"; nothing was sent"
    );
    drop(client);
    script.join();
}

#[test]
fn otherwise_the_server_refuses_them_itself() {
    let (client, script) = client(|peer| {
        let nonsense = peer.expect("nonsense");
        peer.fail(&nonsense, "CommandNotFound", "The command nonsense has not been found");
        let status = peer.expect("query-status");
        peer.reply(&status, r#"{"status": "running", "running": true}"#);
        peer.expect_eof();
    });
    let Err(Error::Command(error)) = run(&client, "nonsense") else { panic!("it was sent") };
    assert_eq!(error.class, ErrorClass::CommandNotFound);
    assert!(client.execute(&QueryStatus).is_ok());
    drop(client);
    script.join();
}
