//! What can still be withdrawn, and what is left then: C8, and C3 as far as the queue is about it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use qmp_proto::{Cancelled, CommandId, Refusal, Request};

use support::peer::{Descriptor, Peer, Sent, Told, config};

/// Numbers that look random (xorshift), the same each time for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// A command that waits.
struct Waiting {
    id: CommandId,
    name: String,
    descriptor: Option<u32>,
}

impl Waiting {
    fn length(&self) -> usize {
        format!("{{\"execute\":\"{}\",\"id\":{}}}\n", self.name, self.id).len()
    }

    /// The length that counts while it is queued: its id is written when it is committed.
    fn queued_length(&self) -> usize {
        format!("{{\"execute\":\"{}\"", self.name).len()
    }
}

/// A connection whose one place in flight is taken, and the commands behind it as a plain list.
struct Queue {
    peer: Peer,
    in_flight: CommandId,
    list: Vec<Waiting>,
    random: Random,
    descriptors: u32,
}

const MAX_BYTES: usize = 100_000;

impl Queue {
    fn new(seed: u64) -> Self {
        let mut peer = Peer::ready(config(|config| {
            (config.descriptors, config.window) = (true, Some(1));
            config.max_queued_bytes = MAX_BYTES;
        }));
        let in_flight = peer.execute("first");
        assert_eq!(peer.sent_names(), ["first"]);
        Self { peer, in_flight, list: Vec::new(), random: Random::new(seed), descriptors: 0 }
    }

    /// One more command, of any length; tells whether there was room.
    fn push(&mut self) -> bool {
        let longest = [10, 100, 5000][self.random.below(3)];
        let name = "n".repeat(1 + self.random.below(longest));
        let mut request = Request::new(name.clone());
        let mut number = None;
        if self.random.below(4) == 0 {
            self.descriptors += 1;
            number = Some(self.descriptors);
            request = request.descriptor(Descriptor::open(self.descriptors, &self.peer.open));
        }
        let waiting = self.list.iter().map(Waiting::queued_length).sum::<usize>();
        match self.peer.connection.execute(request, None) {
            Ok(id) => {
                let command = Waiting { id, name, descriptor: number };
                assert!(waiting == 0 || waiting + command.queued_length() <= MAX_BYTES, "no room");
                self.list.push(command);
                true
            }
            Err(refusal) => {
                assert_eq!(refusal, Refusal::QueueFull);
                let id = self.in_flight;
                let refused = Waiting { id, name, descriptor: None };
                assert!(
                    waiting + refused.queued_length() > MAX_BYTES,
                    "{waiting} bytes wait alone"
                );
                false
            }
        }
    }

    fn withdraw(&mut self, at: usize) {
        let command = self.list.remove(at);
        match self.peer.connection.cancel(command.id) {
            Cancelled::NeverSent(descriptor) => {
                assert_eq!(descriptor.map(|d| d.number()), command.descriptor);
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(self.peer.connection.cancel(command.id), Cancelled::Unknown));
    }

    /// The one in flight is answered, and the next one sent.
    fn go_on(&mut self) {
        self.peer.answer(self.in_flight);
        assert_eq!(self.peer.told(), [Told::Return(self.in_flight, "{}".to_owned())]);
        if self.list.is_empty() {
            assert_eq!(self.peer.sent(), []);
            self.in_flight = self.peer.execute("another");
            assert_eq!(self.peer.sent_names(), ["another"]);
            return;
        }
        let next = self.list.remove(0);
        let (bytes, descriptor) = self.peer.take(usize::MAX).expect("the next one");
        assert_eq!((bytes.len(), descriptor), (next.length(), next.descriptor));
        let [Sent { id, name, .. }] = &self.peer.sent()[..] else { panic!("one at a time") };
        assert_eq!((id.to_string(), name), (next.id.to_string(), &next.name));
        self.in_flight = next.id;
    }

    fn check(&self) {
        let mut open: Vec<u32> = self.list.iter().filter_map(|c| c.descriptor).collect();
        open.sort_unstable();
        assert_eq!(self.peer.open(), open);
    }
}

#[test]
fn c8_whatever_is_withdrawn_the_others_stay_whole_and_in_order() {
    for seed in 0..20 {
        let mut queue = Queue::new(seed);
        for _ in 0..2000 {
            match queue.random.below(10) {
                0..=4 => drop(queue.push()),
                5..=7 if !queue.list.is_empty() => {
                    // Anywhere, or the first, or the last.
                    let anywhere = queue.random.below(queue.list.len());
                    let ends = [anywhere, 0, queue.list.len() - 1];
                    let at = ends[queue.random.below(ends.len())];
                    queue.withdraw(at);
                }
                8 => queue.go_on(),
                _ => {}
            }
            queue.check();
        }
        while !queue.list.is_empty() {
            queue.go_on();
        }
        queue.go_on();
        queue.check();
    }
}

/// Many wait, and most or all of them are withdrawn, from the front, from the back and at random.
#[test]
fn c8_many_are_withdrawn_in_any_order() {
    for order in 0..3 {
        for left in [0, 1, 7] {
            let mut queue = Queue::new(order + 10 * left as u64);
            while queue.push() {}
            assert!(queue.list.len() > 20, "{}", queue.list.len());
            while queue.list.len() > left {
                let at = match order {
                    0 => 0,
                    1 => queue.list.len() - 1,
                    _ => queue.random.below(queue.list.len()),
                };
                queue.withdraw(at);
            }
            queue.check();
            // There is as much room as ever.
            while queue.push() {}
            while !queue.list.is_empty() {
                queue.go_on();
            }
        }
    }
}

#[test]
fn c8_out_of_band_commands_are_withdrawn_apart() {
    let mut peer = Peer::ready(support::peer::oob());
    let both = |peer: &mut Peer| [peer.execute("in-band"), peer.execute_oob("out-of-band")];
    let ids: Vec<_> = (0..10).map(|_| both(&mut peer)).collect();
    for at in [3, 0, 9, 4, 5] {
        assert_eq!(peer.withdraw(ids[at][0]), Some(None));
        assert_eq!(peer.withdraw(ids[9 - at][1]), Some(None));
    }
    let sent: Vec<_> = peer.sent().iter().map(|sent| sent.id.to_string()).collect();
    let out_of_band = [1, 2, 3, 7, 8].map(|at| ids[at][1]);
    let in_band = [1, 2, 6, 7, 8].map(|at| ids[at][0]);
    let expected: Vec<_> = out_of_band.iter().chain(&in_band).map(ToString::to_string).collect();
    assert_eq!(sent, expected);
}

/// The transport takes a byte: what was lent with it goes out, and what comes later waits for that.
#[test]
fn c8_while_claimed_bytes_are_unsent_nothing_more_is_claimed() {
    let mut peer = Peer::ready(config(|config| config.descriptors = true));
    let first = [peer.execute("a"), peer.execute("b")];
    assert_eq!(peer.take(1).unwrap().0, b"{");
    let later = [peer.execute("c"), peer.execute_fd("d", 1), peer.execute("e")];
    while let Some((taken, descriptor)) = peer.take(1) {
        assert_eq!((taken.len(), descriptor), (1, None));
        if taken == b"b" {
            break;
        }
    }
    assert_eq!(peer.withdraw(later[0]), Some(None));
    assert_eq!(peer.withdraw(later[1]), Some(Some(1)));
    assert_eq!(peer.withdraw(first[1]), None, "it was lent");
    assert!(!peer.connection.has_begun(later[2]));
    assert_eq!(peer.sent_names(), ["a", "b", "e"]);
    peer.answer(later[2]);
    assert_eq!(peer.told(), [Told::Return(later[2], "{}".to_owned())]);
}

/// Even that nothing was taken yet of what was lent makes no difference.
#[test]
fn c8_what_was_lent_and_not_taken_holds_back_the_rest() {
    let mut peer = Peer::ready(config(|_| {}));
    let first = peer.execute("a");
    assert!(peer.connection.transmit().is_some());
    let second = peer.execute("b");
    for _ in 0..3 {
        let lent = peer.connection.transmit().unwrap().bytes.to_vec();
        assert_eq!(lent, format!("{{\"execute\":\"a\",\"id\":{first}}}\n").into_bytes());
        peer.connection.advance(0);
    }
    assert_eq!(peer.withdraw(second), Some(None));
    peer.connection.close();
    assert_eq!(peer.told(), [], "the first was claimed");
    assert_eq!(peer.sent_names(), ["a"]);
}

/// However wide the window is, what waits for a transport that takes nothing is bounded.
#[test]
fn c3_what_waits_for_the_transport_is_bounded_in_bytes() {
    for taken in [0, 1] {
        let mut peer = Peer::ready(config(|config| {
            (config.max_queued_bytes, config.window) = (10_000, Some(1000));
        }));
        let long = || Request::new("x".repeat(900));
        let mut accepted = Vec::new();
        let refusal = loop {
            match peer.connection.execute(long(), None) {
                Ok(id) => accepted.push(id),
                Err(refusal) => break refusal,
            }
            assert!(peer.connection.transmit().is_some());
            if accepted.len() == 1 {
                peer.take(taken);
            }
            assert!(accepted.len() < 100, "nothing bounds them");
        };
        assert_eq!(refusal, Refusal::QueueFull);
        // The first was claimed, and there is room for ten behind it.
        assert!((10..=11).contains(&accepted.len()), "{}", accepted.len());
        assert_eq!(peer.sent().len(), accepted.len(), "they go out as soon as they can");
        peer.connection.execute(long(), None).unwrap();
    }
}
