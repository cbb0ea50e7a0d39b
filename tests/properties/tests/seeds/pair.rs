//! What goes on between a client and a server, and what happens to it on the way.

use qmp_properties::Most;
use qmp_properties::pair::{Choices, Kind, Op, Program};

use Kind::{InBand, OutOfBand, Quit, WithDescriptor};
use Op::{
    Answer, Cancel, ClientAborts, ClientCloses, ClientReads, ClientSends, Cut, Damage, Event,
    Execute, HalfClose, ServerCloses, ServerReads, ServerSends, Settle,
};

fn choices() -> Choices {
    Choices {
        agent: false,
        oob: false,
        pretty: false,
        early_take: false,
        window: None,
        concurrent: 1,
        capacities: [usize::MAX; 2],
        max_output: 1 << 20,
    }
}

fn with_oob() -> Choices {
    Choices { oob: true, ..choices() }
}

/// With a guest agent, which an `Event` kills and starts anew. `HalfClose` and `Cut` have another client
/// come; a command with a descriptor is one without a reply.
fn with_agent() -> Vec<(&'static str, Vec<Op>)> {
    let command = || Execute(InBand, 9);
    let sends = |most| ClientSends(Most::Few(most));
    let (all_read, all_sent) = (ServerReads(Most::All), ServerSends(Most::All));
    vec![
        ("agent-session", vec![]),
        ("agent-return", vec![command(), command(), Settle, Answer(0, true), Settle]),
        ("agent-error", vec![command(), command(), Settle, Answer(0, false), Settle]),
        ("agent-given-up", vec![command(), Settle, Cancel(0), command(), Answer(0, true), Settle]),
        ("agent-no-reply", vec![Execute(WithDescriptor, 9), Settle, Answer(0, true), Cancel(0)]),
        ("agent-killed-in-a-command", vec![command(), Settle, Event(1), Cancel(0), Settle]),
        (
            "agent-killed-with-half-a-command",
            vec![command(), command(), sends(20), all_read.clone(), Event(1), Settle],
        ),
        ("agent-half-a-command-left", vec![command(), sends(20), HalfClose, command(), Settle]),
        ("agent-half-a-string-left", vec![command(), sends(70), all_read, HalfClose, Settle]),
        (
            "agent-replies-left",
            vec![command(), Settle, Answer(0, true), all_sent.clone(), HalfClose, Settle],
        ),
        (
            "agent-reply-half-lost",
            vec![command(), Settle, Answer(0, true), all_sent.clone(), Cut(9)],
        ),
        ("agent-byte-flipped", vec![command(), Settle, Answer(0, true), all_sent, Damage(2, 1)]),
        ("agent-leaves", vec![command(), Settle, ServerCloses, Settle]),
    ]
}

pub(super) fn seeds() -> Vec<(&'static str, Program)> {
    let command = || Execute(InBand, 9);
    let plain: Vec<(&str, Vec<Op>)> = vec![
        ("handshake", vec![]),
        ("return", vec![command(), Settle, Answer(0, true), Settle]),
        ("error", vec![command(), Settle, Answer(0, false), Settle]),
        ("event", vec![Event(20), Settle]),
        ("event-while-a-reply-waits", vec![command(), Settle, Event(20), Answer(0, true)]),
        (
            "in-pieces",
            vec![
                command(),
                ClientSends(Most::Few(7)),
                ServerReads(Most::One),
                ClientSends(Most::All),
                ServerReads(Most::All),
                Answer(0, true),
                ServerSends(Most::Few(7)),
                ClientReads(Most::One),
            ],
        ),
        ("descriptor", vec![Execute(WithDescriptor, 9), Settle, Answer(0, true), Settle]),
        ("descriptor-withdrawn", vec![Execute(WithDescriptor, 9), Cancel(0), Settle]),
        ("given-up", vec![command(), Settle, Cancel(0), Answer(0, true), Settle]),
        ("quit", vec![Execute(Quit, 1), Settle, Answer(0, true), Settle, ServerCloses]),
        ("quit-refused", vec![Execute(Quit, 1), Settle, command(), Answer(0, false), Settle]),
        ("client-closes", vec![command(), Settle, ClientCloses, Answer(0, true), Settle]),
        ("client-aborts", vec![command(), Settle, ClientAborts, Answer(0, true)]),
        ("server-closes", vec![command(), Settle, ServerCloses, Settle]),
        ("half-close", vec![command(), HalfClose, Settle]),
        ("tail-dropped", vec![command(), Settle, Answer(0, true), ServerSends(Most::All), Cut(9)]),
        (
            "byte-flipped",
            vec![command(), Settle, Answer(0, true), ServerSends(Most::All), Damage(2, 1), Settle],
        ),
    ];
    let program =
        |choices: Choices, ops: &[Op]| Program { choices, ops: [&[Settle], ops].concat() };
    let mut seeds: Vec<_> =
        plain.into_iter().map(|(name, ops)| (name, program(choices(), &ops))).collect();
    let overtaking = [command(), Execute(OutOfBand, 9), Settle, Answer(1, true), Settle];
    let descriptors = [Execute(WithDescriptor, 9), Execute(WithDescriptor, 9), Settle];
    let taken = [Answer(0, true), Settle, Answer(0, true), Settle];
    let many = [command(), command(), command(), Settle, Answer(0, true), Settle];
    seeds.extend([
        ("out-of-band-overtakes", program(with_oob(), &overtaking)),
        ("descriptors-and-oob", program(with_oob(), &[&descriptors[..], &taken].concat())),
        ("pretty", program(Choices { pretty: true, ..choices() }, &many)),
        ("window-of-one", program(Choices { window: Some(1), ..choices() }, &many)),
        ("several-at-once", program(Choices { concurrent: 3, ..choices() }, &many)),
        ("narrow-pipes", program(Choices { capacities: [20, 20], ..choices() }, &many)),
        ("output-full", program(Choices { max_output: 20, ..choices() }, &many)),
    ]);
    let agent = || Choices { agent: true, ..choices() };
    seeds.extend(with_agent().into_iter().map(|(name, ops)| (name, program(agent(), &ops))));
    seeds
}
