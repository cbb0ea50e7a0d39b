//! C23: the guest agent's dialect.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

#[path = "guest_agent/no_reply.rs"]
mod no_reply;
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

/// The number of a synchronisation that is all there is to send.
#[track_caller]
fn number(sent: &[u8]) -> u64 {
    let text =
        sent.strip_prefix(b"\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":");
    let digits = text.and_then(|text| text.strip_suffix(b"}}\n"));
    let digits = digits.unwrap_or_else(|| panic!("{}", sent.escape_ascii()));
    std::str::from_utf8(digits).unwrap().parse().unwrap()
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

fn ready() -> Peer {
    let mut peer = Peer::new(agents());
    let number = sync(&mut peer);
    peer.feed(answer(number));
    assert_eq!(peer.told(), [Told::Ready]);
    peer
}

fn returned(id: CommandId, value: &str) -> Told {
    Told::Return(id, value.to_owned())
}
