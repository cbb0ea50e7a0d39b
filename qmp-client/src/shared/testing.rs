//! What this crate's own tests share: a shared connection, with the test in the server's place.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use qmp_proto::{Config, Event, Output, Prepared, Request};

use crate::shared::pending::Pending;
use crate::shared::{Flushed, Received, SharedConnection};

/// How long another thread is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7},
    "package": ""}, "capabilities": []}}"#;

/// A shared connection that has got its greeting and sent `qmp_capabilities`.
pub(crate) fn greeted() -> (Arc<SharedConnection>, String) {
    let shared = SharedConnection::new(Config::default());
    assert!(hear(&shared, GREETING));
    let sent = send(&shared);
    let id = sent.rsplit(':').next().expect("an id").trim_end_matches(['}', '\n']).to_owned();
    (shared, id)
}

/// A shared connection on which commands are sent at once.
pub(crate) fn ready() -> Arc<SharedConnection> {
    let (shared, id) = greeted();
    assert!(hear(&shared, &reply(id)));
    shared
}

/// A command that is accepted and not sent yet.
pub(crate) fn execute(shared: &Arc<SharedConnection>, name: &str) -> Pending {
    shared.execute(command(name), None).expect("an accepted command")
}

pub(crate) fn command(name: &str) -> Prepared<OwnedFd> {
    Request::new(name.to_owned()).prepare().expect("a command")
}

/// All that the shared connection sends now.
pub(crate) fn send(shared: &SharedConnection) -> String {
    let mut sent = Vec::new();
    let flushed = shared.flush(|bytes, _| {
        sent.extend_from_slice(bytes);
        Ok(bytes.len())
    });
    assert_eq!(flushed, Flushed::All);
    String::from_utf8(sent).expect("ASCII")
}

/// Lets the shared connection receive a text; tells whether it goes on.
pub(crate) fn hear(shared: &SharedConnection, text: &str) -> bool {
    shared.receive(Received::Bytes(text.as_bytes()))
}

pub(crate) fn reply(id: impl ToString) -> String {
    format!("{{\"return\": {{}}, \"id\": {}}}\r\n", id.to_string())
}

pub(crate) fn event_text(name: &str) -> String {
    format!("{{\"event\": \"{name}\", \"timestamp\": {{\"seconds\": -1, \"microseconds\": -1}}}}\n")
}

/// An event of its own, as the protocol's core makes it.
pub(crate) fn event(name: &str) -> Event {
    let mut connection = <qmp_proto::Connection>::new(Config::default(), 0);
    connection.handle_input(GREETING.as_bytes());
    connection.handle_input(event_text(name).as_bytes());
    match connection.poll_output() {
        Some(Output::Event(event)) => event,
        other => panic!("expected an event, found {other:?}"),
    }
}

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (wakes.clone(), wakes.into())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
