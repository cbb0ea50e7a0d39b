//! How much is in flight, and with what: C10 and C11, and the bounds of the queue.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use qmp_proto::{CommandId, Config, IoFailure, Refusal, Request};

use support::peer::{Descriptor, ERROR_WITHOUT_ID, Peer, Told, config, descriptors, oob};

fn execute_many(peer: &mut Peer, count: usize) -> Vec<CommandId> {
    (0..count).map(|_| peer.execute("query-status")).collect()
}

#[test]
fn c10_without_oob_64_commands_are_in_flight() {
    let mut peer = Peer::ready(Config::default());
    let ids = execute_many(&mut peer, 100);
    assert_eq!(peer.sent().len(), 64);
    // Replies in any order make room one by one.
    for (answered, id) in [ids[63], ids[0], ids[31]].into_iter().enumerate() {
        peer.answer(id);
        let sent = peer.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].id.to_string(), ids[64 + answered].to_string());
    }
}

#[test]
fn c10_at_most_seven_in_band_in_flight() {
    let mut peer = Peer::ready(oob());
    let ids = execute_many(&mut peer, 9);
    assert_eq!(peer.sent().len(), 7);
    peer.refuse(ids[3]);
    assert_eq!(peer.sent().len(), 1);
    peer.answer(ids[0]);
    assert_eq!(peer.sent().len(), 1);
    assert!(peer.sent().is_empty());
}

#[test]
fn c10_one_to_eight_can_be_chosen_with_oob_and_any_number_without() {
    for (wanted, with_oob, without) in
        [(0, 1, 1), (1, 1, 1), (2, 2, 2), (8, 8, 8), (9, 8, 9), (200, 8, 200)]
    {
        for (is_oob, expected) in [(true, with_oob), (false, without)] {
            let mut peer =
                Peer::ready(config(|config| (config.oob, config.window) = (is_oob, Some(wanted))));
            execute_many(&mut peer, 300);
            assert_eq!(peer.sent().len(), expected, "window {wanted}, oob {is_oob}");
        }
    }
}

#[test]
fn c10_a_server_without_oob_has_the_wide_window() {
    let mut peer = Peer::new(oob());
    peer.feed(r#"{"QMP": {"capabilities": []}}"#);
    peer.accept();
    execute_many(&mut peer, 100);
    assert_eq!(peer.sent().len(), 64);
}

#[test]
fn c10_cancelled_commands_count_until_their_reply() {
    let mut peer = Peer::ready(oob());
    let ids = execute_many(&mut peer, 8);
    peer.take_all();
    for id in &ids[..7] {
        assert_eq!(peer.withdraw(*id), None);
    }
    assert_eq!(peer.sent().len(), 7);
    assert!(peer.sent().is_empty(), "seven are in flight still");
    assert!(!peer.connection.is_idle());
    peer.answer(ids[2]);
    assert_eq!(peer.sent().len(), 1);
    assert_eq!(peer.told(), [], "nobody waits for that reply");
}

#[test]
fn c10_out_of_band_commands_pass_the_window() {
    let mut peer = Peer::ready(oob());
    execute_many(&mut peer, 10);
    peer.take_all();
    peer.sent();
    let ids: Vec<_> = (0..20).map(|_| peer.execute_oob("query-yank")).collect();
    let sent = peer.sent();
    assert_eq!(sent.len(), 20);
    assert!(sent.iter().all(|sent| sent.out_of_band));
    // Their replies overtake, and make no room for others.
    for id in ids {
        peer.answer(id);
        assert_eq!(peer.told(), [Told::Return(id, "{}".to_owned())]);
    }
    assert!(peer.sent().is_empty());
}

#[test]
fn c10_out_of_band_commands_pass_the_queue() {
    let mut peer = Peer::ready(oob());
    let first = execute_many(&mut peer, 3);
    let urgent = [peer.execute_oob("yank"), peer.execute_oob("query-yank")];
    let ids: Vec<_> = peer.sent().iter().map(|sent| sent.id.to_string()).collect();
    let expected: Vec<_> = urgent.iter().chain(&first).map(ToString::to_string).collect();
    assert_eq!(ids, expected);
}

#[test]
fn c11_a_descriptor_goes_with_the_first_byte_and_once() {
    let mut peer = Peer::ready(descriptors());
    let before = peer.execute("a");
    peer.execute_fd("getfd", 1);
    peer.execute("b");
    peer.execute_fd("add-fd", 2);
    // The write before ends where the descriptor's command begins.
    let (bytes, descriptor) = peer.take(usize::MAX).unwrap();
    let expected = format!("{{\"execute\":\"a\",\"id\":{before}}}\n");
    assert_eq!((String::from_utf8(bytes).unwrap(), descriptor), (expected, None));
    assert_eq!(peer.open(), [1, 2]);
    // Nothing taken: it is offered again.
    assert_eq!(peer.connection.transmit().unwrap().descriptor.map(Descriptor::number), Some(1));
    peer.connection.advance(0);
    assert_eq!(peer.open(), [1, 2]);
    let (bytes, descriptor) = peer.take(1).unwrap();
    assert_eq!((bytes.as_slice(), descriptor), (&b"{"[..], Some(1)));
    assert_eq!(peer.open(), [2], "closed when sent");
    // The rest goes without it, together with the command behind.
    let (bytes, descriptor) = peer.take(usize::MAX).unwrap();
    assert_eq!(descriptor, None);
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 2);
    let (bytes, descriptor) = peer.take(usize::MAX).unwrap();
    assert_eq!((bytes[0], bytes.last(), descriptor), (b'{', Some(&b'\n'), Some(2)));
    assert!(peer.open().is_empty());
    assert_eq!(peer.sent_names(), ["a", "getfd", "b", "add-fd"]);
}

#[test]
fn c11_the_first_command_may_bear_one() {
    let mut peer = Peer::ready(descriptors());
    peer.execute_fd("getfd", 1);
    let (bytes, descriptor) = peer.take(usize::MAX).unwrap();
    assert_eq!((bytes[0], descriptor), (b'{', Some(1)));
}

#[test]
fn c11_with_oob_one_descriptor_is_in_flight() {
    let mut peer = Peer::ready(oob());
    let first = peer.execute_fd("add-fd", 1);
    let second = peer.execute_fd("add-fd", 2);
    let behind = peer.execute("query-fdsets");
    assert_eq!(peer.sent_names(), ["add-fd"]);
    assert_eq!(peer.open(), [2]);
    // It stays behind the barrier while the first is cancelled and not answered.
    assert_eq!(peer.withdraw(first), None);
    assert_eq!(peer.sent_names(), [""; 0]);
    // Out-of-band commands pass; commands without a descriptor do so in their order alone.
    peer.execute_oob("query-yank");
    assert_eq!(peer.sent_names(), ["query-yank"]);
    peer.refuse(first);
    assert_eq!(peer.sent_names(), ["add-fd", "query-fdsets"]);
    peer.answer(second);
    peer.answer(behind);
    assert!(peer.open().is_empty());
    assert_eq!(peer.told().len(), 2);
}

#[test]
fn c11_a_plain_command_goes_beside_a_descriptor() {
    let mut peer = Peer::ready(oob());
    peer.execute_fd("add-fd", 1);
    peer.execute("query-fdsets");
    assert_eq!(peer.sent_names(), ["add-fd", "query-fdsets"]);
}

#[test]
fn c11_without_oob_descriptors_are_pipelined() {
    let mut peer = Peer::ready(descriptors());
    for number in 1..=5 {
        peer.execute_fd("add-fd", number);
    }
    let mut riding = Vec::new();
    while let Some((_, descriptor)) = peer.take(usize::MAX) {
        riding.extend(descriptor);
    }
    assert_eq!(riding, [1, 2, 3, 4, 5]);
}

#[test]
fn c11_where_it_cannot_be_carried_it_is_refused_and_closed() {
    let mut peer = Peer::ready(Config::default());
    assert_eq!(peer.try_execute_fd("getfd", 1), Err(Refusal::NoDescriptors));
    assert!(peer.open().is_empty());
    let mut peer = Peer::ready(oob());
    let descriptor = Descriptor::open(1, &peer.open);
    let request = Request::new("migrate-recover").out_of_band().descriptor(descriptor);
    assert_eq!(peer.connection.execute(request, None), Err(Refusal::DescriptorOutOfBand));
    assert!(peer.open().is_empty());
    let descriptor = Descriptor::open(2, &peer.open);
    let request = Request::new("getfd").descriptor(descriptor).arguments([1]);
    assert!(matches!(peer.connection.execute(request, None), Err(Refusal::InvalidJson(_))));
    assert!(peer.open().is_empty());
}

#[test]
fn c11_a_withdrawn_descriptor_is_handed_back() {
    let mut peer = Peer::ready(descriptors());
    let id = peer.execute_fd("getfd", 1);
    assert_eq!(peer.withdraw(id), Some(Some(1)));
    assert!(peer.open().is_empty(), "closed by who got it back");
    // Before Ready, too.
    let mut peer = Peer::new(descriptors());
    let id = peer.execute_fd("getfd", 2);
    assert_eq!(peer.withdraw(id), Some(Some(2)));
    peer.greet();
    peer.accept();
    assert_eq!(peer.take_all(), "");
}

/// It was claimed: with what it rides, it goes out.
#[test]
fn c11_cancelled_after_its_claim_it_is_sent_and_closed() {
    let mut peer = Peer::ready(descriptors());
    let id = peer.execute_fd("getfd", 1);
    assert!(peer.connection.transmit().is_some());
    assert_eq!(peer.withdraw(id), None);
    assert_eq!(peer.open(), [1]);
    assert_eq!(peer.take(usize::MAX).unwrap().1, Some(1));
    assert!(peer.open().is_empty());
}

#[test]
fn c11_descriptors_are_closed_when_the_connection_ends() {
    type End = fn(&mut Peer);
    let ends: [End; 5] = [
        |peer| peer.connection.handle_eof(),
        |peer| peer.connection.handle_failure(IoFailure::Os(32)),
        |peer| peer.feed("garbage"),
        |peer| peer.connection.abort(),
        |peer| {
            // An orderly close ends those that are queued; the claimed one goes out still.
            peer.connection.close();
            assert_eq!(peer.open(), [1]);
            assert_eq!(peer.take(1).unwrap().1, Some(1));
        },
    ];
    for end in ends {
        let mut peer = Peer::ready(oob());
        peer.execute_fd("getfd", 1);
        peer.execute_fd("getfd", 2);
        assert!(peer.connection.transmit().is_some(), "the first is claimed, the second waits");
        end(&mut peer);
        assert!(peer.open().is_empty());
    }
    // And where the connection itself is dropped.
    let mut peer = Peer::ready(oob());
    peer.execute_fd("getfd", 1);
    peer.execute_fd("getfd", 2);
    assert!(peer.connection.transmit().is_some());
    let open = peer.open.clone();
    drop(peer);
    assert!(open.borrow().is_empty());
}

/// An error of somebody else's cannot be the answer to a command that has not begun, whose
/// descriptor would be sent all the same.
#[test]
fn c11_an_error_without_an_id_does_not_answer_what_was_not_sent() {
    let mut peer = Peer::ready(oob());
    let first = peer.execute_fd("getfd", 1);
    peer.execute_fd("getfd", 2);
    assert!(peer.connection.transmit().is_some());
    peer.feed(ERROR_WITHOUT_ID);
    assert_eq!(peer.told(), [Told::Stray]);
    assert_eq!(peer.sent_names(), ["getfd"], "the barrier holds");
    peer.answer(first);
    assert_eq!(peer.sent_names(), ["getfd"]);
}

#[test]
fn c17_what_the_queue_has_no_room_for_is_refused() {
    let mut peer = Peer::ready(config(|config| {
        (config.max_queued, config.window, config.descriptors) = (3, Some(2), true);
    }));
    let ids = [peer.execute("a"), peer.execute("b"), peer.execute("c")];
    assert_eq!(peer.try_execute_fd("d", 1), Err(Refusal::QueueFull));
    assert!(peer.open().is_empty());
    assert_eq!(peer.sent_names(), ["a", "b"], "those in flight count");
    assert_eq!(peer.try_execute_fd("d", 1), Err(Refusal::QueueFull));
    assert_eq!(peer.withdraw(ids[0]), None);
    assert_eq!(peer.try_execute_fd("d", 1), Err(Refusal::QueueFull), "cancelled ones count");
    peer.answer(ids[0]);
    peer.execute("d");
    assert_eq!(peer.withdraw(ids[2]), Some(None));
    peer.execute("e");
    assert_eq!(peer.sent_names(), ["d"]);
}

#[test]
fn c17_what_waits_is_bounded_in_bytes() {
    let mut peer = Peer::ready(config(|config| {
        (config.max_queued_bytes, config.window, config.descriptors) = (500, Some(1), true);
    }));
    let long = || Request::new("x".repeat(1000));
    // One alone is always taken, or it could never be sent.
    let first = peer.connection.execute(long(), None).unwrap();
    assert_eq!(peer.try_execute_fd("a", 1), Err(Refusal::QueueFull));
    assert!(peer.open().is_empty());
    assert_eq!(peer.sent().len(), 1);
    let second = peer.execute("a");
    assert_eq!(peer.connection.execute(long(), None), Err(Refusal::QueueFull));
    let prepared = long().prepare().unwrap();
    assert_eq!(peer.connection.execute_prepared(prepared, None), Err(Refusal::QueueFull));
    peer.execute("b");
    // The refused ones left no trace.
    peer.answer(first);
    assert_eq!(peer.sent_names(), ["a"]);
    peer.answer(second);
    assert_eq!(peer.sent_names(), ["b"]);
}
