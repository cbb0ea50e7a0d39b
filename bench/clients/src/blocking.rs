//! The client for threads.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use bench_worker::{AT_ONCE, BEFORE, LATE, Scenario, Work, lap};
use qmp_blocking::commands::{HumanMonitorCommand, QueryVersion};
use qmp_blocking::{Builder, Client, Request};

pub(crate) fn open(scenario: Scenario, path: &Path) -> Option<Work> {
    let path = path.to_owned();
    let connect = move |oob| Builder::new().oob(oob).connect(path.as_path()).expect("a server");
    Some(match scenario {
        Scenario::Commands => commands(connect(false)),
        Scenario::Awaited => {
            let client = connect(false);
            client.on_any_event(drop).detach();
            commands(client)
        }
        Scenario::Followed => followed(connect(false)),
        Scenario::Outstanding => start(connect(false)),
        Scenario::Window => start(connect(true)),
        Scenario::Events => flood(connect(false)),
        Scenario::Raw(size) => {
            let client = connect(false);
            Box::new(move |count| (0..count).map(|_| drop(raw(&client, size))).count())
        }
        Scenario::Typed(size) => {
            let (client, line) = (connect(false), format!("size {size}"));
            Box::new(move |count| {
                for _ in 0..count {
                    client.execute(&ask(&line)).expect("a string");
                }
                count
            })
        }
        Scenario::Connect => {
            Box::new(move |count| (0..count).map(|_| drop(connect(false))).count())
        }
        Scenario::Idle => {
            let mut kept = Vec::new();
            Box::new(move |count| {
                kept.extend((0..count).map(|_| connect(false)));
                count
            })
        }
        Scenario::Crowd(_) => return None,
    })
}

fn commands(client: Client) -> Work {
    Box::new(move |count| {
        for _ in 0..count {
            client.execute(&QueryVersion).expect("a version");
            lap();
        }
        count
    })
}

/// A callback gets the events.
fn followed(client: Client) -> Work {
    let (sender, came) = mpsc::channel();
    client.on_any_event(move |_| sender.send(()).unwrap_or(())).detach();
    Box::new(move |count| {
        for _ in 0..count {
            for _ in 0..BEFORE {
                client.execute(&QueryVersion).expect("a version");
            }
            client.execute(&ask(LATE)).expect("it is taken");
            came.recv().expect("a connection");
        }
        count
    })
}

/// Commands of which nobody waits for the reply: a callback gets it.
pub(crate) fn open_submitted(scenario: Scenario, path: &Path) -> Option<Work> {
    let builder = Builder::new().oob(scenario == Scenario::Window);
    let (client, (sender, called)) = (builder.connect(path).expect("a server"), mpsc::channel());
    if matches!(scenario, Scenario::Outstanding | Scenario::Window) {
        return Some(submit(client));
    }
    (scenario == Scenario::Commands).then(|| -> Work {
        Box::new(move |count| {
            for _ in 0..count {
                let sender = sender.clone();
                let tell = move |outcome: Result<_, _>| sender.send(outcome.is_ok()).unwrap_or(());
                client.submit(&QueryVersion, tell).expect("it is taken");
                assert_eq!(called.recv(), Ok(true));
                lap();
            }
            count
        })
    })
}

fn ask(command_line: &str) -> HumanMonitorCommand<'_> {
    HumanMonitorCommand { command_line, cpu_index: None }
}

fn raw(client: &Client, size: usize) -> qmp_blocking::Raw {
    let line = format!("size {size}");
    let command = ask(&line);
    let request = Request::of(&command);
    client.execute_request(request).expect("a string")
}

/// From one thread, which waits for one after the other.
fn start(client: Client) -> Work {
    Box::new(move |count| {
        for _ in 0..count / AT_ONCE {
            let started: Vec<_> =
                (0..AT_ONCE).map(|_| client.start(&QueryVersion).expect("it is taken")).collect();
            for command in started {
                command.wait().expect("a version");
            }
        }
        count
    })
}

/// With callbacks.
fn submit(client: Client) -> Work {
    Box::new(move |count| {
        let good = Arc::new(AtomicUsize::new(0));
        for _ in 0..count / AT_ONCE {
            for _ in 0..AT_ONCE {
                let good = good.clone();
                let tell = move |outcome: Result<_, _>| {
                    good.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
                };
                client.submit(&QueryVersion, tell).expect("it is taken");
            }
            client.wait_idle(None).expect("no callback waits here");
        }
        good.load(Ordering::Relaxed)
    })
}

fn flood(client: Client) -> Work {
    let mut events = client.events();
    Box::new(move |count| {
        client.execute(&ask(&format!("events {count}"))).expect("it is taken");
        let (mut received, mut lost) = (0, 0);
        while received + lost < count {
            match events.next().expect("a connection") {
                Ok(_) => received += 1,
                Err(lagged) => lost += lagged.0 as usize,
            }
        }
        received
    })
}
