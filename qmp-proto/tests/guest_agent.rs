//! C23: the guest agent's dialect.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

#[path = "guest_agent/ids.rs"]
mod ids;
#[path = "guest_agent/no_reply.rs"]
mod no_reply;
#[path = "guest_agent/probes.rs"]
mod probes;
#[path = "guest_agent/replies.rs"]
mod replies;
#[path = "guest_agent/sessions.rs"]
mod sessions;
mod support;

use qmp_proto::{CommandId, Config, Dialect};

use support::peer::{Peer, Told, config};

fn agents() -> Config {
    config(|config| config.dialect = Dialect::GuestAgent)
}

/// Everything that there is to send.
fn take(peer: &mut Peer) -> Vec<u8> {
    std::iter::from_fn(|| peer.take(usize::MAX)).flat_map(|(bytes, _)| bytes).collect()
}

/// The numbers of the questions that are all there is to send, each with whether it has an id.
#[track_caller]
fn questions(sent: &[u8]) -> Vec<(u64, bool)> {
    let mut questions = Vec::new();
    for question in sent.split(|byte| *byte == 0xFF).skip(1) {
        let text = std::str::from_utf8(question).unwrap();
        let rest =
            text.strip_prefix("{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":");
        let rest = rest.and_then(|rest| rest.strip_suffix("}\n"));
        let (number, id) = rest.and_then(|rest| rest.split_once('}')).expect("a question");
        assert!(id.is_empty() || id == format!(",\"id\":{number}"), "{text}");
        questions.push((number.parse().unwrap(), !id.is_empty()));
    }
    assert!(sent.starts_with(b"\xff") && !questions.is_empty(), "{}", sent.escape_ascii());
    questions
}

/// The number of the last of them.
#[track_caller]
fn number(sent: &[u8]) -> u64 {
    questions(sent).last().unwrap().0
}

#[track_caller]
fn sync(peer: &mut Peer) -> u64 {
    number(&take(peer))
}

fn answer(number: u64) -> Vec<u8> {
    format!("\u{1}{{\"return\": {number}}}\n")
        .bytes()
        .map(|b| if b == 1 { 0xFF } else { b })
        .collect()
}

/// The answer of an agent that echoes ids.
fn echo(number: u64) -> Vec<u8> {
    [b"\xff", format!("{{\"return\": {number}, \"id\": {number}}}\n").as_bytes()].concat()
}

/// With an agent that echoes no ids.
fn ready() -> Peer {
    let mut peer = Peer::new(agents());
    let number = sync(&mut peer);
    peer.feed(answer(number));
    assert_eq!(peer.told(), [Told::Ready]);
    peer
}

/// With an agent that echoes ids.
fn ready_with_ids() -> Peer {
    let mut peer = Peer::new(agents());
    let number = sync(&mut peer);
    peer.feed(echo(number));
    assert_eq!(peer.told(), [Told::Ready]);
    peer
}

fn returned(id: CommandId, value: &str) -> Told {
    Told::Return(id, value.to_owned())
}
