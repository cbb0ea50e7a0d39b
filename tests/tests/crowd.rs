//! A thousand connections in one process, all in use at once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::path::Path;

use futures_lite::StreamExt;
use futures_lite::future::or;
use qmp_smol::commands::{Cont, QueryStatus, RunState};
use qmp_smol::{Client, ConnectError, Events};
use qmp_tests::crowd;
use qmp_tests::scripted::PATIENCE;

const CONNECTIONS: usize = 1000;

/// Each has a machine of its own, and only every other one is started: whose replies and events came
/// to whom can be told.
async fn use_one(number: usize, client: Client, events: Events) {
    let even = number % 2 == 0;
    if even {
        client.execute(&Cont).await.unwrap();
    }
    let status = client.execute(&QueryStatus).await.unwrap().status;
    assert_eq!(status, if even { RunState::Running } else { RunState::Prelaunch });
    drop(client);
    let events: Vec<_> = events.map(|event| event.unwrap().name().to_owned()).collect().await;
    assert_eq!(events, if even { &["RESUME"][..] } else { &[] });
}

/// The clients of all adapters for tasks are one type, so one function uses them.
async fn use_all<C: Future<Output = Result<(Client, Events), ConnectError>>>(
    connect: impl Fn(&Path) -> C,
) {
    crowd::allow_descriptors(3 * CONNECTIONS as u64);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    crowd::serve(&path);
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        all.push(connect(&path).await.unwrap());
    }
    let start = |(number, (client, events))| smol::spawn(use_one(number, client, events));
    let tasks: Vec<_> = all.into_iter().enumerate().map(start).collect();
    for task in tasks {
        task.await;
    }
}

/// Fails the test where it takes too long.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(3 * PATIENCE).await;
        panic!("it takes too long");
    };
    or(future, late).await
}

#[test]
fn c13_a_thousand_connections_on_smol() {
    smol::block_on(in_time(use_all(|path| qmp_smol::connect_with_events(path.to_owned()))));
}

#[test]
fn c13_a_thousand_connections_on_async_std() {
    let all = in_time(use_all(|path| qmp_async_std::connect_with_events(path.to_owned())));
    async_std::task::block_on(all);
}
