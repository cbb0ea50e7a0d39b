//! What a client meets: each kind of message, and what surprises in real servers.

use qmp_properties::Most;
use qmp_properties::client::{Choices, Kind, Op, Program, Stray};

use Kind::{InBand, OutOfBand, Quit, WithDescriptor};
use Op::{
    Abort, Accept, Cancel, Close, Eof, ErrorWithoutId, Event, Execute, Failure, Greet, Handshake,
    Input, Reply, Reset, Send, Shutdown, Transmit,
};

const ALL: Op = Send(Most::All);

fn choices() -> Choices {
    Choices {
        agent: false,
        oob: false,
        descriptors: true,
        window: None,
        short_queue: false,
        chunk: Most::All,
    }
}

fn with_oob() -> Choices {
    Choices { oob: true, ..choices() }
}

/// With a guest agent, for which `Greet` is the answer with which a session begins, and `Accept` one of
/// before. An odd command with a descriptor is one without a reply.
fn with_agent() -> Vec<(&'static str, Vec<Op>)> {
    let command = || Execute(InBand, 9);
    let silent = || Execute(WithDescriptor, 9);
    vec![
        ("agent-session", vec![Handshake]),
        ("agent-stale-answer", vec![ALL, Accept, Greet]),
        ("agent-half-a-string", vec![ALL, Input(b"\"r\xff\"".to_vec()), Greet]),
        ("agent-return", vec![Handshake, command(), command(), ALL, Reply(0, true), ALL]),
        ("agent-error", vec![Handshake, command(), ALL, Reply(0, false), ALL, Greet]),
        ("agent-stray", vec![Handshake, Op::Stray(Stray::WithoutId), ErrorWithoutId]),
        ("agent-reply-with-an-id", vec![Handshake, command(), ALL, Op::Stray(Stray::AlmostOurs)]),
        (
            "agent-given-up",
            vec![Handshake, command(), ALL, Cancel(0), ALL, Op::Stray(Stray::WithoutId), Greet],
        ),
        (
            "agent-given-up-half-sent",
            vec![Handshake, command(), Send(Most::Few(5)), Cancel(0), command(), ALL, Greet, ALL],
        ),
        ("agent-given-up-claimed", vec![Handshake, command(), Transmit, Cancel(0), ALL, Greet]),
        (
            "agent-asked-anew",
            vec![Handshake, command(), ALL, Cancel(0), ALL, command(), Cancel(1), command(), ALL],
        ),
        ("agent-no-reply-and-end", vec![Handshake, silent(), ALL, Eof]),
        ("agent-no-reply-given-up", vec![Handshake, silent(), ALL, Cancel(0), ALL, Greet]),
        ("agent-no-reply-returned", vec![Handshake, silent(), ALL, Reply(0, true)]),
        ("agent-what-it-does-not-know", vec![Execute(OutOfBand, 9), Execute(WithDescriptor, 8)]),
        ("agent-closed", vec![Handshake, command(), ALL, Close, Cancel(0)]),
    ]
}

/// With one that echoes ids.
fn with_agent_and_ids() -> Vec<(&'static str, Vec<Op>)> {
    let command = || Execute(InBand, 9);
    vec![
        ("agent-ids-return", vec![Handshake, command(), command(), ALL, Reply(0, true), ALL]),
        ("agent-ids-error", vec![Handshake, command(), command(), ALL, Reply(0, false), ALL]),
        (
            "agent-ids-one-too-many",
            vec![Handshake, command(), ALL, Op::Stray(Stray::WithoutId), Reply(0, true)],
        ),
        (
            "agent-ids-late",
            vec![Handshake, command(), ALL, Reply(0, true), Op::Stray(Stray::Again)],
        ),
        ("agent-ids-unreadable", vec![Handshake, command(), ALL, ErrorWithoutId, ALL, Greet]),
        ("agent-ids-unasked", vec![Handshake, ErrorWithoutId, command(), ALL, Greet, ALL]),
    ]
}

pub(super) fn seeds() -> Vec<(&'static str, Program)> {
    let command = || Execute(InBand, 9);
    let quit = || [Handshake, Execute(Quit, 1), ALL];
    let plain: Vec<(&str, Vec<Op>)> = vec![
        ("handshake", vec![Handshake]),
        ("event-before-capabilities-reply", vec![Greet, ALL, Event, Accept]),
        (
            "stale-reply-after-greeting",
            vec![
                Greet,
                ALL,
                Op::Stray(Stray::OfAnotherClient),
                Op::Stray(Stray::WithoutId),
                Accept,
            ],
        ),
        ("return", vec![Handshake, command(), ALL, Reply(0, true)]),
        ("error-with-id", vec![Handshake, command(), ALL, Reply(0, false)]),
        (
            "replies-in-any-order",
            vec![
                Handshake,
                command(),
                command(),
                command(),
                ALL,
                Reply(2, true),
                Reply(0, false),
                Reply(0, true),
            ],
        ),
        ("error-without-id", vec![Handshake, command(), ALL, ErrorWithoutId, ErrorWithoutId]),
        ("error-without-id-to-several", vec![Handshake, command(), command(), ALL, ErrorWithoutId]),
        ("reply-again", vec![Handshake, command(), ALL, Reply(0, true), Op::Stray(Stray::Again)]),
        ("error-of-another-client", vec![Handshake, Op::Stray(Stray::ErrorOfAnotherClient)]),
        ("reply-with-a-number", vec![Handshake, Op::Stray(Stray::WithANumber)]),
        ("reply-with-almost-our-id", vec![Greet, ALL, Op::Stray(Stray::AlmostOurs)]),
        ("descriptor", vec![Handshake, Execute(WithDescriptor, 9), ALL, Reply(0, true)]),
        (
            "descriptor-with-a-torn-command",
            vec![Handshake, Execute(WithDescriptor, 9), Send(Most::One), ALL, Reply(0, true)],
        ),
        ("descriptor-withdrawn", vec![Handshake, Execute(WithDescriptor, 9), Cancel(0)]),
        ("withdrawn", vec![Handshake, command(), Cancel(0), ALL]),
        ("given-up", vec![Handshake, command(), ALL, Cancel(0), Reply(0, true)]),
        (
            "given-up-when-begun",
            vec![Handshake, command(), Transmit, Send(Most::Few(3)), Cancel(0)],
        ),
        ("quit", [&quit()[..], &[Shutdown, Reply(0, true), Eof]].concat()),
        ("quit-and-reset", [&quit()[..], &[Shutdown, Reset]].concat()),
        ("quit-refused", [&quit()[..], &[command(), Reply(0, false), ALL]].concat()),
        ("shutdown-long-before-quit", [&[Handshake, Shutdown], &quit()[1..]].concat()),
        ("closed-with-a-reply-owed", vec![Handshake, command(), ALL, Close, Reply(0, true)]),
        ("closed-before-ready", vec![Greet, Close]),
        ("aborted", vec![Handshake, command(), ALL, Abort]),
        ("reset", vec![Handshake, command(), ALL, Reset]),
        ("failure", vec![Handshake, command(), Failure]),
        ("end-in-a-message", vec![Handshake, Input(b"{\"r".to_vec()), Eof]),
        ("second-greeting", vec![Handshake, Greet]),
        ("event-before-the-greeting", vec![Event, Event, Handshake]),
        (
            "reply-before-the-greeting",
            vec![Op::Stray(Stray::OfAnotherClient), ErrorWithoutId, Handshake],
        ),
        ("greeting-again-before-ready", vec![Greet, ALL, Greet, ALL, Accept, command(), Accept]),
        ("greeting-again-refused-once", vec![Greet, Greet, ALL, Reply(0, false), Reply(0, true)]),
        ("greeting-again-refused", vec![Greet, Greet, ALL, Reply(0, false), Reply(0, false)]),
        ("greetings-without-end", vec![Greet; 9]),
        (
            "not-sent-of-a-write",
            vec![Handshake, command(), command(), Transmit, Send(Most::Few(9)), Reset],
        ),
        ("hmp-prompt", vec![Input(b"(qem".to_vec())]),
        ("ff-between", vec![Greet, Input(b"\xff\xff".to_vec()), ALL, Accept]),
    ];
    let program = |choices: Choices, ops| Program { choices, ops };
    let mut seeds: Vec<_> =
        plain.into_iter().map(|(name, ops)| (name, program(choices(), ops))).collect();
    let full = [command(), command(), command(), ALL];
    let passing = [Execute(OutOfBand, 9), ALL, Reply(2, true), Reply(0, true), ALL];
    seeds.extend([
        (
            "byte-by-byte",
            program(
                Choices { chunk: Most::Few(1), ..choices() },
                vec![Handshake, command(), ALL, Event, Reply(0, true)],
            ),
        ),
        (
            "out-of-band-passes-the-window",
            program(
                Choices { window: Some(2), ..with_oob() },
                [&[Handshake], &full[..], &passing].concat(),
            ),
        ),
        (
            "seven-in-flight",
            program(with_oob(), [vec![Handshake], vec![command(); 8], vec![ALL]].concat()),
        ),
        (
            "descriptors-one-at-a-time",
            program(
                with_oob(),
                vec![
                    Handshake,
                    Execute(WithDescriptor, 9),
                    Execute(WithDescriptor, 9),
                    ALL,
                    ALL,
                    Reply(0, true),
                    ALL,
                ],
            ),
        ),
        (
            "queue-full",
            program(
                Choices { short_queue: true, window: Some(1), ..choices() },
                [vec![Handshake], vec![command(); 13]].concat(),
            ),
        ),
    ]);
    let agent = || Choices { agent: true, ..choices() };
    seeds.extend(with_agent().into_iter().map(|(name, ops)| (name, program(agent(), ops))));
    let echoes = || Choices { oob: true, ..agent() };
    seeds
        .extend(with_agent_and_ids().into_iter().map(|(name, ops)| (name, program(echoes(), ops))));
    seeds
}
