//! C23: a guest agent behind the shared connection.

use super::super::*;

use qmp_proto::{Dialect, NoReply, Request};

use crate::shared::testing::{Wakes, command, execute, hear, reply, send};

/// All that the shared connection sends now.
fn take(shared: &SharedConnection) -> Vec<u8> {
    let mut sent = Vec::new();
    let flushed = shared.flush(|bytes, _| {
        sent.extend_from_slice(bytes);
        Ok(bytes.len())
    });
    assert_eq!(flushed, Flushed::All);
    sent
}

/// Lets the shared connection send so many bytes.
fn take_some(shared: &SharedConnection, mut room: usize) {
    let flushed = shared.flush(|bytes, _| match bytes.len().min(std::mem::take(&mut room)) {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        taken => Ok(taken),
    });
    assert_eq!(flushed, Flushed::Blocked);
}

fn syncing() -> Arc<SharedConnection> {
    let mut config = Config::default();
    config.dialect = Dialect::GuestAgent;
    SharedConnection::new(config)
}

/// Answers what a session begins with.
fn synchronise(shared: &SharedConnection) {
    let sent = take(shared);
    let text = String::from_utf8_lossy(&sent);
    let number = text.split(|char: char| !char.is_ascii_digit()).rfind(|part| !part.is_empty());
    let number = number.expect("a number");
    assert!(sent.starts_with(b"\xff"), "{}", sent.escape_ascii());
    shared.receive(Received::Bytes(b"late\xff"));
    assert!(hear(shared, &format!("{{\"return\": {number}}}\n")));
}

fn ready() -> Arc<SharedConnection> {
    let shared = syncing();
    synchronise(&shared);
    shared
}

fn shutdown(shared: &Arc<SharedConnection>) -> Pending {
    let request = Request::new("guest-shutdown").no_reply();
    shared.execute(request.prepare().unwrap(), None).unwrap()
}

fn ended(outcome: Result<Raw, impl std::fmt::Debug>) -> NoReply {
    outcome.unwrap().parse().unwrap()
}

#[test]
fn c23_it_is_ready_without_a_greeting() {
    let shared = syncing();
    let (wakes, waker) = Wakes::new();
    let (mut ready, mut idle) = (shared.ready(), shared.idle());
    assert!(ready.poll(&waker).is_pending() && idle.poll(&waker).is_pending());
    synchronise(&shared);
    assert_eq!(wakes.count(), 2);
    assert!(matches!(ready.poll(&waker), Poll::Ready(Ok(None))));
    assert!(idle.poll(&waker).is_ready());
}

fn second_passes(shared: &SharedConnection) {
    if let Some(at) = shared.poll_timeout(Instant::now()) {
        shared.handle_timeout(at);
    }
}

#[test]
fn c23_while_somebody_waits_it_asks_again() {
    /// Whether it asks again when a second has passed.
    fn asks(shared: &SharedConnection) -> bool {
        second_passes(shared);
        take(shared).starts_with(b"\xff")
    }
    let waker = Waker::noop();
    let shared = syncing();
    take(&shared);
    let mut ready = shared.ready();
    assert!(ready.poll(waker).is_pending());
    assert!(asks(&shared) && asks(&shared));
    second_passes(&shared);
    synchronise(&shared);
    assert!(shared.poll_timeout(Instant::now()).is_none());

    drop(execute(&shared, "guest-ping"));
    let pending = execute(&shared, "guest-slow");
    take(&shared);
    drop(pending);
    assert!(take(&shared).starts_with(b"\xff"));
    assert!(!asks(&shared), "nobody waits");
    let mut idle = shared.idle();
    assert!(idle.poll(waker).is_pending());
    assert!(asks(&shared), "until it is idle");
    drop(idle);
    assert!(!asks(&shared), "not any more");
    let pending = execute(&shared, "guest-ping");
    assert!(asks(&shared), "for a command");
    drop(pending);
    assert!(!asks(&shared), "it was withdrawn");
    let _pending = execute(&shared, "guest-ping");
    second_passes(&shared);
    synchronise(&shared);
    assert_eq!(take(&shared), b"{\"execute\":\"guest-ping\"}\n");
}

#[test]
fn c23_given_up_it_says_what_the_agent_has_taken() {
    let silent = |sent| Err(Error::AgentSilent { sent });
    let late = |sent| Err(Error::TimedOut { sent });
    let shared = syncing();
    assert_eq!(execute(&shared, "guest-ping").give_up(), silent(false));
    take(&shared);
    assert_eq!(execute(&shared, "guest-ping").give_up(), silent(false));

    let shared = ready();
    let (first, second) = (execute(&shared, "guest-ping"), execute(&shared, "guest-ping"));
    take_some(&shared, 5);
    let busy = second.give_up().unwrap_err();
    assert!(matches!(busy, Error::AgentBusy { given_up: false, .. }), "{busy}");
    assert_eq!(first.give_up(), silent(true));

    // Claimed, of which nothing was taken: it goes out all the same.
    let shared = ready();
    let pending = execute(&shared, "guest-ping");
    take_some(&shared, 0);
    let outcome = pending.give_up();
    assert_eq!(outcome, silent(true));
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("has not taken all of the command, which may yet run"), "{text}");
    assert!(take(&shared).starts_with(b"{\"execute\":\"guest-ping\"}\n\xff"));

    let shared = ready();
    let pending = execute(&shared, "guest-ping");
    take(&shared);
    assert_eq!(pending.give_up(), late(true));
}

/// What the error of a command says that waited in vain.
fn waits(shared: &Arc<SharedConnection>) -> String {
    let error = execute(shared, "guest-info").give_up().unwrap_err();
    assert!(error.is_timeout());
    error.to_string()
}

#[test]
fn c23_a_command_that_waited_in_vain_is_told_which_one_holds_the_channel() {
    let shared = ready();
    let holder = execute(&shared, "guest-fsfreeze-freeze");
    assert_eq!(waits(&shared), "the deadline passed; nothing was sent", "neither was");
    take(&shared);
    let text = waits(&shared);
    let begin = "the deadline passed before the command was sent: guest-fsfreeze-freeze has held the \
                 guest agent's channel for ";
    assert!(text.starts_with(begin), "{text}");
    assert!(text.ends_with("s (a timeout for each command limits that)"), "{text}");
    assert_eq!(holder.give_up(), Err(Error::TimedOut { sent: true }));
    // The agent is at it all the same.
    let text = waits(&shared);
    assert!(
        text.starts_with(begin) && text.contains(", though its caller has given up ("),
        "{text}"
    );
    synchronise(&shared);
    let mut next = execute(&shared, "guest-ping");
    take(&shared);
    let Error::AgentBusy { command, given_up: false, .. } =
        execute(&shared, "guest-info").give_up().unwrap_err()
    else {
        panic!()
    };
    assert_eq!(command, "guest-ping");
    hear(&shared, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}\n");
    assert!(next.poll(Waker::noop()).is_ready());
    // It has ended, and the next one needs a session.
    let pending = execute(&shared, "guest-info");
    take(&shared);
    assert_eq!(pending.give_up(), Err(Error::AgentSilent { sent: false }));
}

#[test]
fn c23_an_agent_that_refuses_a_session_is_named_to_a_command_that_waits() {
    let shared = ready();
    drop(execute(&shared, "guest-ping"));
    let pending = execute(&shared, "guest-slow");
    take(&shared);
    drop(pending);
    take(&shared);
    let parse = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n";
    hear(&shared, parse);
    assert!(waits(&shared).contains("guest-slow has held"));
    hear(&shared, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"it is off\"}}\n");
    hear(&shared, parse);
    let refused = "the deadline passed before the command was sent: the guest agent does not begin a \
                   session: GenericError: it is off";
    assert_eq!(waits(&shared), refused);
}

#[test]
fn c16_it_is_idle_when_the_agent_has_caught_up() {
    let shared = ready();
    let pending = execute(&shared, "guest-slow");
    assert_eq!(send(&shared), "{\"execute\":\"guest-slow\"}\n");
    drop(pending);
    let (wakes, waker) = Wakes::new();
    let mut idle = shared.idle();
    assert!(idle.poll(&waker).is_pending());
    synchronise(&shared);
    assert_eq!(wakes.count(), 1);
    assert!(idle.poll(&waker).is_ready());
}

#[test]
fn c23_no_reply_says_how_it_ended() {
    let (_, waker) = Wakes::new();
    let shared = ready();
    let pending = shutdown(&shared);
    take(&shared);
    assert_eq!(ended(pending.give_up()), NoReply::Deadline);

    synchronise(&shared);
    let mut pending = shutdown(&shared);
    take(&shared);
    assert!(pending.poll(&waker).is_pending());
    hear(&shared, "{\"return\": {}}\n");
    let Poll::Ready(outcome) = pending.poll(&waker) else { panic!() };
    assert_eq!(ended(outcome), NoReply::Returned);

    let mut pending = shutdown(&shared);
    take(&shared);
    shared.receive(Received::Eof);
    let Poll::Ready(outcome) = pending.poll(&waker) else { panic!() };
    assert_eq!(ended(outcome), NoReply::Closed);
}

#[test]
fn c23_no_reply_that_was_not_sent_whole_is_late() {
    let shared = ready();
    assert_eq!(shutdown(&shared).give_up(), Err(Error::TimedOut { sent: false }));
    let pending = shutdown(&shared);
    take_some(&shared, 5);
    assert_eq!(pending.give_up(), Err(Error::AgentSilent { sent: true }));
}

/// In any dialect.
#[test]
fn c17_a_reply_that_came_just_before_the_deadline_counts() {
    let shared = testing::ready();
    let pending = shared.execute(command("stop"), None).unwrap();
    send(&shared);
    hear(&shared, &reply(pending.id()));
    assert_eq!(pending.give_up(), Ok(Raw::from_static("{}")));
}
