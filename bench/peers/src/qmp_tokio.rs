//! The crate qmp 0.1.1, for tokio.

use std::path::Path;

use bench_worker::{AT_ONCE, Scenario, Version, Work, lap};
use qmp::{Client, Endpoint, Error, EventStream};

use crate::tokio::Tokio;

pub(crate) fn open(scenario: Scenario, path: &Path) -> Option<Work> {
    let (tokio, path) = (Tokio::new(), path.to_owned());
    let connect = {
        let tokio = tokio.clone();
        move || tokio.block_on(Client::connect(Endpoint::unix(&path))).expect("a server")
    };
    Some(match scenario {
        Scenario::Commands | Scenario::Typed(_) => {
            let client = connect();
            Box::new(move |count| {
                let client = client.clone();
                tokio.run(async move { work(&client, scenario, count).await });
                count
            })
        }
        Scenario::Outstanding => {
            let client = connect();
            Box::new(move |count| {
                let at_work = (0..AT_ONCE).map(|_| {
                    let client = client.clone();
                    tokio.spawn(async move {
                        work(&client, Scenario::Commands, count / AT_ONCE).await;
                    })
                });
                tokio.join(at_work.collect());
                count
            })
        }
        Scenario::Events => {
            let client = connect();
            let mut events = client.events();
            Box::new(move |count| tokio.block_on(flood(&client, &mut events, count)))
        }
        Scenario::Crowd(size) => {
            let clients = (0..size).map(|_| connect());
            let mut crowd: Vec<_> = clients.map(|client| (client.events(), client)).collect();
            Box::new(move |count| {
                let at_work = crowd.drain(..).map(|(mut events, client)| {
                    tokio.spawn(async move {
                        for _ in 0..count {
                            ask(&client, "events 1").await;
                            events.recv().await.expect("none is lost");
                        }
                        (events, client)
                    })
                });
                let at_work = at_work.collect();
                crowd = tokio.join(at_work);
                count * size
            })
        }
        Scenario::Connect => Box::new(move |count| (0..count).map(|_| drop(connect())).count()),
        Scenario::Idle => {
            let mut kept = Vec::new();
            Box::new(move |count| {
                kept.extend((0..count).map(|_| connect()));
                count
            })
        }
        Scenario::Raw(_) | Scenario::Window | Scenario::Awaited | Scenario::Followed => {
            return None;
        }
    })
}

async fn work(client: &Client, scenario: Scenario, count: usize) {
    for _ in 0..count {
        match scenario {
            Scenario::Typed(size) => drop(ask(client, &format!("size {size}")).await),
            _ => {
                let version = client.execute::<(), Version>("query-version", None).await;
                drop(version.expect("a version"));
            }
        }
        lap();
    }
}

async fn ask(client: &Client, line: &str) -> String {
    let arguments =
        [("command-line", line)].into_iter().collect::<std::collections::BTreeMap<_, _>>();
    client.execute("human-monitor-command", Some(arguments)).await.expect("a string")
}

async fn flood(client: &Client, events: &mut EventStream, count: usize) -> usize {
    ask(client, &format!("events {count}")).await;
    let (mut received, mut lost) = (0, 0);
    while received + lost < count {
        match events.recv().await {
            Ok(_) => received += 1,
            Err(Error::EventLagged { missed }) => lost += missed,
            Err(error) => panic!("{error}"),
        }
    }
    received
}
