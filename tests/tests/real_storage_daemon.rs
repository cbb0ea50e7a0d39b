//! `qemu-storage-daemon`: jobs and their events.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::thread;

use qmp_blocking::commands::{QueryQmpSchema, QueryStatus, QueryVersion, Quit};
use qmp_blocking::{Client, CloseReason, Error, ErrorClass, Event, Events, Request, TypedEvent};
use qmp_tests::qemu::{Monitor, Server, Setup, closed, next_event, patient};
use serde_json::{Value, json};

/// An event that has no type in the library.
#[derive(serde::Deserialize)]
struct JobStatusChange {
    id: String,
    status: String,
}

impl TypedEvent for JobStatusChange {
    const NAME: &'static str = "JOB_STATUS_CHANGE";
}

/// A command that has none either.
#[derive(serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct BlockdevCreate<'a> {
    job_id: &'a str,
    options: Value,
}

impl qmp_blocking::Command for BlockdevCreate<'_> {
    const NAME: &'static str = "blockdev-create";
    type Return = qmp_blocking::Empty;
}

fn start() -> Option<(Client, Events, Server)> {
    let server = Setup::storage_daemon()?.monitor(Monitor::Unix).start();
    let (client, events) = patient().connect_with_events(server.address()).unwrap();
    Some((client, events, server))
}

fn execute(client: &Client, name: &'static str, arguments: Value) {
    client.execute_request(Request::new(name).arguments(arguments)).unwrap();
}

/// Makes an image in an empty file, as a job.
fn create_image(client: &Client, server: &Server, job: &str) -> Event {
    let file = server.folder().join(job);
    std::fs::write(&file, "").unwrap();
    let node = json!({"driver": "file", "node-name": format!("file-{job}"), "filename": file});
    execute(client, "blockdev-add", node);
    let file = format!("file-{job}");
    let options = json!({"driver": "qcow2", "file": file, "size": 1 << 20});
    let concluded = {
        let job = job.to_owned();
        move |event: &Event| match event.parse_as::<JobStatusChange>() {
            Some(change) => {
                let change = change.unwrap();
                change.id == job && change.status == "concluded"
            }
            None => false,
        }
    };
    let (_, event) =
        client.execute_until(&BlockdevCreate { job_id: job, options }, concluded).unwrap();
    event
}

#[test]
fn c15_a_job_is_done_when_execute_until_returns() {
    let Some((client, mut events, server)) = start() else { return };
    let event = create_image(&client, &server, "image");
    assert_eq!(event.name(), "JOB_STATUS_CHANGE");
    let image = std::fs::read(server.folder().join("image")).unwrap();
    assert_eq!(image[..4], *b"QFI\xfb");
    // The subscriber sees its whole life, in order.
    for expected in ["created", "running", "waiting", "pending", "concluded"] {
        let change = next_event(&mut events).parse_as::<JobStatusChange>().unwrap().unwrap();
        assert_eq!((&*change.id, &*change.status), ("image", expected));
    }
    execute(&client, "job-dismiss", json!({"id": "image"}));
    let change = next_event(&mut events).parse_as::<JobStatusChange>().unwrap().unwrap();
    assert_eq!(change.status, "null");
}

#[test]
fn c15_jobs_of_many_threads_each_find_their_own_event() {
    let Some((client, _, server)) = start() else { return };
    let (client, server) = (&client, &server);
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let job = format!("image{number}");
                let event = create_image(client, server, &job);
                let change = event.parse_as::<JobStatusChange>().unwrap().unwrap();
                assert_eq!((change.id, change.status), (job, "concluded".to_owned()));
            });
        }
    });
    let jobs: Vec<Value> = client.query("jobs").unwrap().parse().unwrap();
    assert_eq!(jobs.len(), 8);
    assert!(jobs.iter().all(|job| job["status"] == "concluded" && job.get("error").is_none()));
}

#[test]
fn a_session_and_its_end() {
    let Some((client, mut events, mut server)) = start() else { return };
    let version = client.execute(&QueryVersion).unwrap();
    assert_eq!(client.greeting().version.as_ref(), Some(&version));
    let schema: Vec<Value> = client.execute(&QueryQmpSchema).unwrap().parse().unwrap();
    assert!(schema.len() > 100);
    // It has no machine that could run.
    let Err(Error::Command(error)) = client.execute(&QueryStatus) else { panic!("it has") };
    assert_eq!(error.class, ErrorClass::CommandNotFound);
    client.execute(&Quit).unwrap();
    assert_eq!(closed(&client), CloseReason::Quit);
    assert!(server.wait().success());
    assert!(events.next_timeout(qmp_tests::qemu::DEADLINE).is_none(), "it tells no SHUTDOWN");
}
