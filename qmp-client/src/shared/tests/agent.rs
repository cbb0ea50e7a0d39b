//! C23: a guest agent behind the hub.

use super::super::*;

use qmp_proto::{Dialect, NoReply, Request};

use crate::shared::testing::{Wakes, command, execute, hear, reply, send};

/// All that the hub sends now.
fn take(hub: &Hub) -> Vec<u8> {
    let mut sent = Vec::new();
    let flushed = hub.flush(|bytes, _| {
        sent.extend_from_slice(bytes);
        Ok(bytes.len())
    });
    assert_eq!(flushed, Flushed::All);
    sent
}

/// Lets the hub send so many bytes.
fn take_some(hub: &Hub, mut room: usize) {
    let flushed = hub.flush(|bytes, _| match bytes.len().min(std::mem::take(&mut room)) {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        taken => Ok(taken),
    });
    assert_eq!(flushed, Flushed::Blocked);
}

fn syncing() -> Arc<Hub> {
    let mut config = Config::default();
    config.dialect = Dialect::GuestAgent;
    Hub::new(config)
}

/// Answers what a session begins with.
fn synchronise(hub: &Hub) {
    let sent = take(hub);
    let text = String::from_utf8_lossy(&sent);
    let number = text.split(|char: char| !char.is_ascii_digit()).rfind(|part| !part.is_empty());
    let number = number.expect("a number");
    assert!(sent.starts_with(b"\xff"), "{}", sent.escape_ascii());
    hub.receive(Received::Bytes(b"late\xff"));
    assert!(hear(hub, &format!("{{\"return\": {number}}}\n")));
}

fn ready() -> Arc<Hub> {
    let hub = syncing();
    synchronise(&hub);
    hub
}

fn shutdown(hub: &Arc<Hub>) -> Pending {
    let request = Request::new("guest-shutdown").no_reply();
    hub.execute(request.prepare().unwrap(), None).unwrap()
}

fn ended(outcome: Result<Raw, impl std::fmt::Debug>) -> NoReply {
    outcome.unwrap().parse().unwrap()
}

#[test]
fn c23_it_is_ready_without_a_greeting() {
    let hub = syncing();
    let (wakes, waker) = Wakes::new();
    let (mut ready, mut idle) = (hub.ready(), hub.idle());
    assert!(ready.poll(&waker).is_pending() && idle.poll(&waker).is_pending());
    synchronise(&hub);
    assert_eq!(wakes.count(), 2);
    assert!(matches!(ready.poll(&waker), Poll::Ready(Ok(None))));
    assert!(idle.poll(&waker).is_ready());
}

fn second_passes(hub: &Hub) {
    if let Some(at) = hub.poll_timeout(Instant::now()) {
        hub.handle_timeout(at);
    }
}

#[test]
fn c23_while_somebody_waits_it_asks_again() {
    /// Whether it asks again when a second has passed.
    fn asks(hub: &Hub) -> bool {
        second_passes(hub);
        take(hub).starts_with(b"\xff")
    }
    let waker = Waker::noop();
    let hub = syncing();
    take(&hub);
    let mut ready = hub.ready();
    assert!(ready.poll(waker).is_pending());
    assert!(asks(&hub) && asks(&hub));
    second_passes(&hub);
    synchronise(&hub);
    assert!(hub.poll_timeout(Instant::now()).is_none());

    drop(execute(&hub, "guest-ping"));
    let pending = execute(&hub, "guest-slow");
    take(&hub);
    drop(pending);
    assert!(take(&hub).starts_with(b"\xff"));
    assert!(!asks(&hub), "nobody waits");
    let mut idle = hub.idle();
    assert!(idle.poll(waker).is_pending());
    assert!(asks(&hub), "until it is idle");
    drop(idle);
    assert!(!asks(&hub), "not any more");
    let pending = execute(&hub, "guest-ping");
    assert!(asks(&hub), "for a command");
    drop(pending);
    assert!(!asks(&hub), "it was withdrawn");
    let _pending = execute(&hub, "guest-ping");
    second_passes(&hub);
    synchronise(&hub);
    assert_eq!(take(&hub), b"{\"execute\":\"guest-ping\"}\n");
}

#[test]
fn c23_given_up_it_says_what_the_agent_has_taken() {
    let silent = |sent| Err(Error::AgentSilent { sent });
    let late = |sent| Err(Error::TimedOut { sent });
    let hub = syncing();
    assert_eq!(execute(&hub, "guest-ping").give_up(), silent(false));
    take(&hub);
    assert_eq!(execute(&hub, "guest-ping").give_up(), silent(false));

    let hub = ready();
    let (first, second) = (execute(&hub, "guest-ping"), execute(&hub, "guest-ping"));
    take_some(&hub, 5);
    let busy = second.give_up().unwrap_err();
    assert!(matches!(busy, Error::AgentBusy { given_up: false, .. }), "{busy}");
    assert_eq!(first.give_up(), silent(true));

    // Claimed, of which nothing was taken: it goes out all the same.
    let hub = ready();
    let pending = execute(&hub, "guest-ping");
    take_some(&hub, 0);
    let outcome = pending.give_up();
    assert_eq!(outcome, silent(true));
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("has not taken all of the command, which may yet run"), "{text}");
    assert!(take(&hub).starts_with(b"{\"execute\":\"guest-ping\"}\n\xff"));

    let hub = ready();
    let pending = execute(&hub, "guest-ping");
    take(&hub);
    assert_eq!(pending.give_up(), late(true));
}

/// What the error of a command says that waited in vain.
fn waits(hub: &Arc<Hub>) -> String {
    let error = execute(hub, "guest-info").give_up().unwrap_err();
    assert!(error.is_timeout());
    error.to_string()
}

#[test]
fn c23_a_command_that_waited_in_vain_is_told_which_one_holds_the_channel() {
    let hub = ready();
    let holder = execute(&hub, "guest-fsfreeze-freeze");
    assert_eq!(waits(&hub), "the deadline passed; nothing was sent", "neither was");
    take(&hub);
    let text = waits(&hub);
    let begin = "the deadline passed before the command was sent: guest-fsfreeze-freeze has held the \
                 guest agent's channel for ";
    assert!(text.starts_with(begin), "{text}");
    assert!(text.ends_with("s (a timeout for each command limits that)"), "{text}");
    assert_eq!(holder.give_up(), Err(Error::TimedOut { sent: true }));
    // The agent is at it all the same.
    let text = waits(&hub);
    assert!(
        text.starts_with(begin) && text.contains(", though its caller has given up ("),
        "{text}"
    );
    synchronise(&hub);
    let mut next = execute(&hub, "guest-ping");
    take(&hub);
    let Error::AgentBusy { command, given_up: false, .. } =
        execute(&hub, "guest-info").give_up().unwrap_err()
    else {
        panic!()
    };
    assert_eq!(command, "guest-ping");
    hear(&hub, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n");
    assert!(next.poll(Waker::noop()).is_ready());
    // It has ended, and the next one needs a session.
    let pending = execute(&hub, "guest-info");
    take(&hub);
    assert_eq!(pending.give_up(), Err(Error::AgentSilent { sent: false }));
}

#[test]
fn c23_an_agent_that_refuses_a_session_is_named_to_a_command_that_waits() {
    let hub = ready();
    drop(execute(&hub, "guest-ping"));
    let pending = execute(&hub, "guest-slow");
    take(&hub);
    drop(pending);
    take(&hub);
    let parse = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n";
    hear(&hub, parse);
    assert!(waits(&hub).contains("guest-slow has held"));
    hear(&hub, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"it is off\"}}\n");
    hear(&hub, parse);
    let refused = "the deadline passed before the command was sent: the guest agent does not begin a \
                   session: GenericError: it is off";
    assert_eq!(waits(&hub), refused);
}

#[test]
fn c16_it_is_idle_when_the_agent_has_caught_up() {
    let hub = ready();
    let pending = execute(&hub, "guest-slow");
    assert_eq!(send(&hub), "{\"execute\":\"guest-slow\"}\n");
    drop(pending);
    let (wakes, waker) = Wakes::new();
    let mut idle = hub.idle();
    assert!(idle.poll(&waker).is_pending());
    synchronise(&hub);
    assert_eq!(wakes.count(), 1);
    assert!(idle.poll(&waker).is_ready());
}

#[test]
fn c23_no_reply_says_how_it_ended() {
    let (_, waker) = Wakes::new();
    let hub = ready();
    let pending = shutdown(&hub);
    take(&hub);
    assert_eq!(ended(pending.give_up()), NoReply::Deadline);

    synchronise(&hub);
    let mut pending = shutdown(&hub);
    take(&hub);
    assert!(pending.poll(&waker).is_pending());
    hear(&hub, "{\"return\": {}}\n");
    let Poll::Ready(outcome) = pending.poll(&waker) else { panic!() };
    assert_eq!(ended(outcome), NoReply::Returned);

    let mut pending = shutdown(&hub);
    take(&hub);
    hub.receive(Received::Eof);
    let Poll::Ready(outcome) = pending.poll(&waker) else { panic!() };
    assert_eq!(ended(outcome), NoReply::Closed);
}

#[test]
fn c23_no_reply_that_was_not_sent_whole_is_late() {
    let hub = ready();
    assert_eq!(shutdown(&hub).give_up(), Err(Error::TimedOut { sent: false }));
    let pending = shutdown(&hub);
    take_some(&hub, 5);
    assert_eq!(pending.give_up(), Err(Error::AgentSilent { sent: true }));
}

/// In any dialect.
#[test]
fn c17_a_reply_that_came_just_before_the_deadline_counts() {
    let hub = testing::ready();
    let pending = hub.execute(command("stop"), None).unwrap();
    send(&hub);
    hear(&hub, &reply(pending.id()));
    assert_eq!(pending.give_up(), Ok(Raw::from_static("{}")));
}
