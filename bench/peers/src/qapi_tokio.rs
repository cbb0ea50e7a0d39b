//! qapi 0.15 for tokio.
//!
//! Whoever wants its events has to poll the stream that receives the replies too: here a task does,
//! which passes the events on.

use std::path::Path;
use std::sync::Arc;

use bench_worker::{AT_ONCE, Scenario, Work, lap};
use futures::StreamExt;
use qapi::futures::{QapiService, QapiStream, QmpStreamTokio};
use qapi::qmp::{Event, human_monitor_command, query_version};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::tokio::Tokio;

type Service = Arc<QapiService<QmpStreamTokio<WriteHalf<UnixStream>>>>;
type Negotiated =
    QapiStream<QmpStreamTokio<ReadHalf<UnixStream>>, QmpStreamTokio<WriteHalf<UnixStream>>>;

pub(crate) fn open(scenario: Scenario, path: &Path) -> Option<Work> {
    let tokio = Tokio::new();
    let connect = {
        let path = path.to_owned();
        let tokio = tokio.clone();
        move || {
            let path = path.clone();
            tokio.block_on(async move { without_events(negotiate(&path).await) })
        }
    };
    Some(match scenario {
        Scenario::Commands | Scenario::Typed(_) => {
            let service = connect();
            Box::new(move |count| {
                let service = service.clone();
                tokio.run(async move { work(&service, scenario, count).await });
                count
            })
        }
        Scenario::Outstanding => {
            let service = connect();
            Box::new(move |count| {
                let at_work = (0..AT_ONCE).map(|_| {
                    let service = service.clone();
                    tokio.spawn(async move {
                        work(&service, Scenario::Commands, count / AT_ONCE).await;
                    })
                });
                tokio.join(at_work.collect());
                count
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
        _ => return open_with_events(scenario, path),
    })
}

/// The scenarios in which events are waited for.
fn open_with_events(scenario: Scenario, path: &Path) -> Option<Work> {
    let tokio = Tokio::new();
    let connect = || tokio.block_on(async { with_events(negotiate(path).await) });
    Some(match scenario {
        Scenario::Events => {
            let (service, mut events) = connect();
            Box::new(move |count| {
                let service = service.clone();
                tokio.block_on(async {
                    ask(&service, format!("events {count}")).await;
                    for _ in 0..count {
                        events.recv().await.expect("a connection");
                    }
                });
                count
            })
        }
        Scenario::Crowd(size) => {
            let mut crowd: Vec<_> = (0..size).map(|_| connect()).collect();
            Box::new(move |count| {
                let at_work = crowd.drain(..).map(|(service, mut events)| {
                    tokio.spawn(async move {
                        for _ in 0..count {
                            ask(&service, "events 1".to_owned()).await;
                            events.recv().await.expect("a connection");
                        }
                        (service, events)
                    })
                });
                let at_work = at_work.collect();
                crowd = tokio.join(at_work);
                count * size
            })
        }
        _ => return None,
    })
}

async fn negotiate(path: &Path) -> Negotiated {
    let negotiation = QmpStreamTokio::open_uds(path).await.expect("a server");
    negotiation.negotiate().await.expect("a server")
}

fn without_events(stream: Negotiated) -> Service {
    let (service, _task) = stream.spawn_tokio();
    Arc::new(service)
}

fn with_events(stream: Negotiated) -> (Service, UnboundedReceiver<Event>) {
    let (service, mut events) = stream.into_parts();
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(event)) = events.next().await {
            if sender.send(event).is_err() {
                break;
            }
        }
    });
    (Arc::new(service), receiver)
}

async fn work(service: &Service, scenario: Scenario, count: usize) {
    for _ in 0..count {
        match scenario {
            Scenario::Typed(size) => drop(ask(service, format!("size {size}")).await),
            _ => drop(service.execute(query_version {}).await.expect("a version")),
        }
        lap();
    }
}

async fn ask(service: &Service, command_line: String) -> String {
    let command = human_monitor_command { command_line, cpu_index: None };
    service.execute(command).await.expect("a string")
}
