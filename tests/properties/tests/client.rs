//! Random programs: whatever is done, in whatever order, the connection does what the model does.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

use proptest::prelude::*;
use qmp_properties::Most;
use qmp_properties::client::{Choices, Kind, Op, Program, Stray, play};

fn op(agent: bool) -> impl Strategy<Value = Op> {
    let kind = prop_oneof![
        10 => Just(Kind::InBand),
        4 => Just(Kind::OutOfBand),
        5 => Just(Kind::WithDescriptor),
        2 => Just(Kind::WithoutReply),
        1 => Just(Kind::Quit),
    ];
    let stray = prop::sample::select(vec![
        Stray::WithoutId,
        Stray::OfAnotherClient,
        Stray::ErrorOfAnotherClient,
        Stray::WithANumber,
        Stray::Again,
        Stray::AlmostOurs,
    ]);
    let most = prop_oneof![Just(Most::One), (1u8..100).prop_map(Most::Few), Just(Most::All)];
    prop_oneof![
        20 => (kind, any::<u8>()).prop_map(|(kind, size)| Op::Execute(kind, size)),
        6 => any::<u8>().prop_map(Op::Cancel),
        6 => Just(Op::Transmit),
        24 => most.prop_map(Op::Send),
        1 => Just(Op::Accept),
        // A guest agent's session begins again and again.
        if agent { 12 } else { 0 } => Just(Op::Greet),
        16 => (any::<u8>(), prop::bool::weighted(0.8)).prop_map(|(i, ok)| Op::Reply(i, ok)),
        2 => stray.prop_map(Op::Stray),
        2 => Just(Op::ErrorWithoutId),
        3 => prop_oneof![Just(Op::Shutdown), Just(Op::Event)],
    ]
}

/// What ends a connection comes rarely, or there would be nothing to see before it. Behind some
/// input of no sense the model is not followed, and what holds at any time holds all the same.
fn ending() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Eof),
        3 => Just(Op::Reset),
        1 => Just(Op::Failure),
        4 => Just(Op::Close),
        1 => Just(Op::Abort),
        1 => Just(Op::Greet),
        1 => prop::collection::vec(prop::sample::select(b"{}\":, \xff".to_vec()), 0..4)
            .prop_map(Op::Input),
    ]
}

/// Mostly negotiated, then busy, then ended, and then a little more.
fn program(agent: bool) -> impl Strategy<Value = Vec<Op>> {
    let early = prop::collection::vec(op(agent), 0..6);
    let handshake = prop_oneof![
        1 => Just(vec![]),
        1 => Just(vec![Op::Greet]),
        8 => Just(vec![Op::Handshake]),
    ];
    let busy = prop::collection::vec(op(agent), 0..80);
    let end = prop::collection::vec(prop_oneof![1 => ending(), 2 => op(agent)], 1..12);
    (early, handshake, busy, end).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

fn choices(agent: bool) -> impl Strategy<Value = Choices> {
    let window = prop_oneof![2 => Just(None), 3 => (0u8..11).prop_map(Some)];
    let chunk = prop_oneof![Just(Most::One), Just(Most::Few(7)), Just(Most::All)];
    (any::<bool>(), prop::bool::weighted(0.9), window, any::<bool>(), chunk).prop_map(
        move |(oob, descriptors, window, short_queue, chunk)| Choices {
            agent,
            oob,
            descriptors,
            window,
            short_queue,
            chunk,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn c17_whatever_happens_every_command_ends_once_and_nothing_is_torn(
        choices in choices(false),
        ops in program(false),
    ) {
        play(&Program { choices, ops });
    }

    #[test]
    fn c23_whatever_happens_with_a_guest_agent_every_command_ends_once_and_is_its_own(
        choices in choices(true),
        ops in program(true),
    ) {
        play(&Program { choices, ops });
    }
}
