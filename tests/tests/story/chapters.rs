//! The chapters, and what they share.

use qmp_tests::qemu::DEADLINE;
use qmp_tests::scripted::PATIENCE;

use super::qmp::{Builder, Client, CloseReason, Error, Event, Events, Raw, Refusal, Request};
use super::{qmp, runtime};

mod callers;
mod closing;
mod connect_errors;
mod connecting;
mod descriptors;
mod ending;
mod events;
mod faulty_servers;
mod guest;
mod leaving_servers;
mod listening;
mod machine;
mod out_of_band;
mod real_ends;
mod spawning;
mod starting_servers;
mod timeouts;
mod transports;
mod until;

/// Executes a command that is a name alone.
async fn run(client: &Client, name: &'static str) -> Result<Raw, Error> {
    wait!(client.execute_request(Request::new(name)))
}

/// A builder with time enough for a real server.
fn patient() -> Builder {
    Builder::new().deadline(DEADLINE).command_timeout(DEADLINE)
}

/// The next event, which has to come.
async fn next_event(events: &mut Events) -> Event {
    wait!(events.next_timeout(DEADLINE)).expect("an event").expect("none is lost")
}

/// The names of all events up to the end.
async fn names_of(mut events: Events) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(event) = runtime::next(&mut events).await {
        names.push(event.expect("none is lost").name().to_owned());
    }
    names
}

/// How many events are told up to the end; what tells of lost ones counts as one.
async fn count(mut events: Events) -> usize {
    let mut count = 0;
    while runtime::next(&mut events).await.is_some() {
        count += 1;
    }
    count
}

/// Waits for a word of another thread's.
fn heard(word: &std::sync::mpsc::Receiver<()>) {
    word.recv_timeout(PATIENCE).expect("the other side comes so far");
}

/// Everything says at once, and each time, how it ended.
async fn after_the_end(client: &Client, reason: &CloseReason) {
    for _ in 0..2 {
        assert_eq!(wait!(client.closed()), *reason);
        assert_eq!(client.close_reason().as_ref(), Some(reason));
        let refused = run(client, "late").await.unwrap_err();
        assert_eq!(refused, Error::Refused(Refusal::Closed(reason.clone())));
        assert_eq!(wait!(client.wait_idle(None)), Ok(()));
        assert!(runtime::next(&mut client.events()).await.is_none());
        assert_eq!(wait!(client.close(PATIENCE)), Ok(()));
    }
}
