//! The client's machine and the server's, joined in memory. Whatever is done, and however the bytes
//! between them are cut, every command ends exactly once and both sides agree on how.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use qmp_properties::Most;
use qmp_properties::pair::{Choices, Coverage, Kind, Op, play};

/// Numbers and not strategies are chosen: there are many of these, and those are slow.
fn op() -> impl Strategy<Value = Op> {
    (0u8..110, any::<u8>(), 0u8..80).prop_map(|(choice, index, size)| {
        let most = if size < 60 { Most::Few(size + 1) } else { Most::All };
        match choice {
            0..=13 => Op::Execute(Kind::InBand, size),
            14..=20 => Op::Execute(Kind::OutOfBand, size),
            21..=27 => Op::Execute(Kind::WithDescriptor, size),
            28..=44 => Op::Answer(index, true),
            45..=48 => Op::Answer(index, false),
            49..=60 => Op::ClientSends(most),
            61..=72 => Op::ServerReads(most),
            73..=84 => Op::ServerSends(most),
            85..=96 => Op::ClientReads(most),
            97..=101 => Op::Cancel(index),
            102..=106 => Op::Event(size),
            _ => Op::Settle,
        }
    })
}

/// What ends a connection comes late, or there would be nothing to see before it.
fn ending() -> impl Strategy<Value = Op> {
    (0u8..15, any::<u8>(), 1u8..=255).prop_map(|(choice, kept, bits)| match choice {
        0..=3 => Op::Execute(Kind::Quit, 0),
        4..=6 => Op::ClientCloses,
        7 => Op::ClientAborts,
        8..=9 => Op::ServerCloses,
        10..=11 => Op::HalfClose,
        12 => Op::Damage(kept, bits),
        _ => Op::Cut(kept),
    })
}

/// Mostly negotiated, then busy, then ended, and then a little more.
fn program() -> impl Strategy<Value = Vec<Op>> {
    let early = prop::collection::vec(op(), 0..8);
    let handshake = prop_oneof![1 => Just(vec![]), 6 => Just(vec![Op::Settle])];
    let busy = prop::collection::vec(op(), 0..120);
    let end = prop_oneof![
        1 => Just(vec![]),
        4 => prop::collection::vec(prop_oneof![1 => ending(), 3 => op()], 1..16),
    ];
    (early, handshake, busy, end).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

fn choices(agent: bool) -> impl Strategy<Value = Choices> {
    let window = prop_oneof![2 => Just(None), 1 => (1usize..9).prop_map(Some)];
    let concurrent = prop_oneof![2 => Just(1usize), 1 => 2usize..5];
    let capacity = || prop_oneof![Just(usize::MAX), 16usize..400];
    let max_output = prop_oneof![3 => Just(1 << 20), 1 => 1usize..400];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (flags, window, concurrent, [capacity(), capacity()], max_output).prop_map(
        move |((oob, pretty, early_take), window, concurrent, capacities, max_output)| Choices {
            agent,
            oob,
            pretty,
            early_take,
            window,
            concurrent,
            capacities,
            max_output,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn c17_every_command_ends_once_and_both_sides_agree(
        choices in choices(false),
        program in program(),
    ) {
        play(choices, &program);
    }

    #[test]
    fn c23_nobody_gets_anothers_reply_from_a_guest_agent(
        choices in choices(true),
        program in program(),
    ) {
        play(choices, &program);
    }
}

/// What is never seen is not tested: the programs do bring about what is worth seeing.
#[test]
fn the_programs_bring_it_about() {
    bring_about(false, 300, 22);
    bring_about(true, 600, 12);
}

fn bring_about(agent: bool, programs: usize, kinds: usize) {
    let mut runner = TestRunner::deterministic();
    let mut coverage = Coverage::default();
    for _ in 0..programs {
        let tree = (choices(agent), program()).new_tree(&mut runner).unwrap();
        let (choices, program) = tree.current();
        coverage.add(play(choices, &program));
    }
    assert_eq!(coverage.0.len(), kinds, "{:#?}", coverage.0);
    assert!(coverage.0.values().all(|count| *count >= 10), "{:#?}", coverage.0);
}
