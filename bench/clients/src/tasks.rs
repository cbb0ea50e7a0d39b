//! The client for tasks, on either runtime.

use std::path::{Path, PathBuf};

use bench_worker::{AT_ONCE, BEFORE, LATE, Scenario, Work, lap};
use futures_lite::StreamExt;
use qmp_smol::commands::{HumanMonitorCommand, QueryVersion};
use qmp_smol::{Client, Events, Request};

use crate::runtime::{Place, Runtime};

pub(crate) fn open<R: Runtime>(scenario: Scenario, path: &Path, place: Place) -> Option<Work> {
    let path = path.to_owned();
    let client = |oob| R::block_on(R::client(&path, oob));
    Some(match scenario {
        Scenario::Connect => {
            Box::new(move |count| place.run::<R, _>(connect::<R>(path.clone(), count)))
        }
        Scenario::Idle => {
            let mut kept = Vec::new();
            Box::new(move |count| {
                kept.extend((0..count).map(|_| R::block_on(R::client(&path, false))));
                count
            })
        }
        Scenario::Crowd(size) => crowd::<R>((0..size).map(|_| client(false)).collect()),
        Scenario::Outstanding => outstanding::<R>(client(false)),
        Scenario::Window => outstanding::<R>(client(true)),
        Scenario::Events => {
            let client = client(false);
            let mut events = Some(client.events());
            Box::new(move |count| {
                let (client, mut taken) = (client.clone(), events.take().expect("put back"));
                let (received, taken) = place
                    .run::<R, _>(async move { (flood(&client, &mut taken, count).await, taken) });
                events = Some(taken);
                received
            })
        }
        Scenario::Awaited => {
            let client = client(false);
            let mut events = client.events();
            let awaits = R::spawn(async move { events.next().await.is_some() });
            Box::new(move |count| {
                // Dropping its handle would end a task of smol.
                let _kept = &awaits;
                let client = client.clone();
                place.run::<R, _>(async move { work(&client, Scenario::Commands, count).await });
                count
            })
        }
        Scenario::Followed => followed::<R>(client(false), place),
        Scenario::Commands | Scenario::Raw(_) | Scenario::Typed(_) => {
            let client = client(false);
            Box::new(move |count| {
                let client = client.clone();
                place.run::<R, _>(async move { work(&client, scenario, count).await });
                count
            })
        }
    })
}

async fn connect<R: Runtime>(path: PathBuf, count: usize) -> usize {
    for _ in 0..count {
        drop(R::client(&path, false).await);
    }
    count
}

/// One after the other.
async fn work(client: &Client, scenario: Scenario, count: usize) {
    for _ in 0..count {
        match scenario {
            Scenario::Raw(size) => {
                let line = format!("size {size}");
                let command = ask(&line);
                let request = Request::of(&command);
                drop(client.execute_request(request).await.expect("a string"));
            }
            Scenario::Typed(size) => {
                let line = format!("size {size}");
                drop(client.execute(&ask(&line)).await.expect("a string"));
            }
            _ => drop(client.execute(&QueryVersion).await.expect("a version")),
        }
        lap();
    }
}

fn ask(command_line: &str) -> HumanMonitorCommand<'_> {
    HumanMonitorCommand { command_line, cpu_index: None }
}

/// As many tasks as commands are outstanding.
fn outstanding<R: Runtime>(client: Client) -> Work {
    Box::new(move |count| {
        let at_work = (0..AT_ONCE).map(|_| {
            let client = client.clone();
            R::spawn(async move { work(&client, Scenario::Commands, count / AT_ONCE).await })
        });
        let at_work: Vec<_> = at_work.collect();
        R::block_on(async {
            for one in at_work {
                one.await;
            }
        });
        count
    })
}

async fn flood(client: &Client, events: &mut Events, count: usize) -> usize {
    client.execute(&ask(&format!("events {count}"))).await.expect("it is taken");
    let (mut received, mut lost) = (0, 0);
    while received + lost < count {
        match events.next().await.expect("a connection") {
            Ok(_) => received += 1,
            Err(lagged) => lost += lagged.0 as usize,
        }
    }
    received
}

/// Another task waits for the events.
fn followed<R: Runtime>(client: Client, place: Place) -> Work {
    let mut events = client.events();
    let (sender, came) = smol::channel::unbounded();
    let awaits = R::spawn(async move {
        while events.next().await.is_some() {
            sender.send(()).await.expect("a caller");
        }
    });
    Box::new(move |count| {
        let _kept = &awaits;
        let (client, came) = (client.clone(), came.clone());
        place.run::<R, _>(async move {
            for _ in 0..count {
                work(&client, Scenario::Commands, BEFORE).await;
                client.execute(&ask(LATE)).await.expect("it is taken");
                came.recv().await.expect("a connection");
            }
        });
        count
    })
}

/// A task for each connection.
fn crowd<R: Runtime>(clients: Vec<Client>) -> Work {
    let size = clients.len();
    let mut crowd: Vec<_> = clients.into_iter().map(|client| (client.events(), client)).collect();
    Box::new(move |count| {
        let at_work = crowd.drain(..).map(|(mut events, client)| {
            R::spawn(async move {
                for _ in 0..count {
                    client.execute(&ask("events 1")).await.expect("it is taken");
                    events.next().await.expect("a connection").expect("none is lost");
                }
                (events, client)
            })
        });
        let at_work: Vec<_> = at_work.collect();
        R::block_on(async {
            for one in at_work {
                crowd.push(one.await);
            }
        });
        count * size
    })
}
