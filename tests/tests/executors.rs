//! The client for tasks on executors that are not the adapter's: the driver is run by whoever likes.
//! smol's global executor and async-std's own are where the story is told.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::thread;

use futures_lite::StreamExt;
use futures_lite::future::{block_on, or, poll_once, zip};
use qmp_smol::commands::{Cont, QueryStatus, Quit, RunState, Stop};
use qmp_smol::{Builder, Client, CloseReason, Events};
use qmp_tests::crowd;
use qmp_tests::scripted::Script;
use smol::{Executor, LocalExecutor};
use tempfile::TempDir;

/// A machine at a socket in a folder, and a watchdog over the test.
fn machine() -> (TempDir, std::path::PathBuf, Script) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    crowd::serve(&path);
    (folder, path, Script::start(|| {}))
}

/// What a program does: commands, two at once, an event that is awaited, the end.
async fn use_it(client: Client, mut events: Events) {
    assert_eq!(client.execute(&QueryStatus).await.unwrap().status, RunState::Prelaunch);
    let until = client.execute_until(&Cont, |event| event.name() == "RESUME");
    assert_eq!(until.await.unwrap().1.name(), "RESUME");
    let (stopped, status) = zip(client.execute(&Stop), client.execute(&QueryStatus)).await;
    assert_eq!((stopped.is_ok(), status.unwrap().status), (true, RunState::Paused));
    client.execute(&Quit).await.unwrap();
    assert_eq!(client.closed().await, CloseReason::Quit);
    let mut names = Vec::new();
    while let Some(event) = events.next().await {
        names.push(event.unwrap().name().to_owned());
    }
    assert_eq!(names, ["RESUME", "STOP", "SHUTDOWN"]);
}

async fn connect(path: &Path) -> (Client, Events, qmp_smol::Driver) {
    Builder::new().connect_with_driver(path).await.unwrap()
}

#[test]
fn without_any_spawn() {
    let (_folder, path, _watched) = machine();
    block_on(async {
        let (client, events, driver) = connect(&path).await;
        let (reason, ()) = zip(driver, use_it(client, events)).await;
        assert_eq!(reason, CloseReason::Quit);
    });
}

/// In its turn at receiving, as in a `select!` whose other branch goes on. Nobody waits for it to come back.
#[test]
fn c13_a_caller_that_is_never_polled_again() {
    let (_folder, path, _watched) = machine();
    smol::block_on(async {
        let (client, mut events) = qmp_smol::connect_with_events(&*path).await.unwrap();
        for round in 0..20 {
            // By then callers come one at a time, and the driver leaves receiving to them.
            for _ in 0..8 {
                client.execute(&QueryStatus).await.unwrap();
            }
            let mut forgotten = client.execute(&Cont);
            let at_once = poll_once(&mut forgotten).await;
            assert_eq!(events.next().await.unwrap().unwrap().name(), "RESUME");
            client.execute(&Stop).await.unwrap();
            assert_eq!(events.next().await.unwrap().unwrap().name(), "STOP");
            match at_once {
                None if round % 2 == 0 => std::mem::forget(forgotten),
                None => assert!(forgotten.await.is_ok()),
                Some(outcome) => assert!(outcome.is_ok()),
            }
        }
    });
}

/// Futures that stay in their thread beside it.
#[test]
fn on_a_local_executor() {
    let (_folder, path, _watched) = machine();
    let executor = LocalExecutor::new();
    let seen = Rc::new(Cell::new(None));
    block_on(executor.run(async {
        let (client, events, driver) = connect(&path).await;
        let sees = seen.clone();
        let driven = executor.spawn(async move { sees.set(Some(driver.await)) });
        use_it(client, events).await;
        driven.await;
    }));
    assert_eq!(seen.take(), Some(CloseReason::Quit));
}

/// Several threads run the tasks, the driver's in any of them.
#[test]
fn on_an_executor_of_many_threads() {
    let (_folder, path, _watched) = machine();
    let executor = Executor::new();
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| block_on(executor.run(stopped.recv())));
        }
        block_on(async {
            let (client, events, driver) = connect(&path).await;
            executor.spawn(driver).detach();
            executor.spawn(use_it(client, events)).await;
        });
        drop(stop);
    });
}

/// Another runtime, with its own sockets and timers: the example of qmp-client.
#[test]
fn on_tokio() {
    let (_folder, path, _watched) = machine();
    let example = std::env::current_exe().unwrap();
    let example = example.parent().unwrap().with_file_name("examples").join("tokio");
    assert!(example.is_file(), "not built: cargo build -p qmp-client --features async --examples");
    let output = Command::new(example).arg(&path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text, "status Paused\nevent RESUME\nevent STOP\n");
}

/// Dropping the driver's task ends the connection, not the program.
#[test]
fn c17_an_executor_that_is_dropped_ends_its_connections() {
    let (_folder, path, _watched) = machine();
    let executor = Executor::new();
    let (client, _events, driver) = block_on(connect(&path));
    executor.spawn(driver).detach();
    block_on(or(executor.run(std::future::pending::<()>()), async {
        client.execute(&Stop).await.unwrap();
    }));
    drop(executor);
    let reason = block_on(client.closed());
    assert!(matches!(reason, CloseReason::Failed(_)), "{reason}");
}
