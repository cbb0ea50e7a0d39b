//! What a server meets: each way to write a command, and each fault that a client may make.

use qmp_properties::Most;
use qmp_properties::server::{Choices, Form, Op, Outcome, Program};

use Op::{
    Answer, AnswerAgain, Close, Descriptor, Eof, Event, Input, Negotiate, Reset, Send,
    TakeDescriptor,
};
use Outcome::{Error, NotJson, Return};

const ALL: Op = Send(Most::All);

fn choices() -> Choices {
    Choices { offers_oob: true, pretty: false, concurrent: 1, queue: 8, max_output: 1 << 20 }
}

fn command(out_of_band: bool, form: Form) -> Op {
    Op::Command { out_of_band, form, text: String::new() }
}

fn plain() -> Op {
    command(false, Form::Plain)
}

fn input(bytes: &[u8]) -> Op {
    Input(bytes.to_vec())
}

pub(super) fn seeds() -> Vec<(&'static str, Program)> {
    let mut seeds: Vec<(&str, Vec<Op>)> = vec![
        ("negotiation", vec![Negotiate(false), ALL]),
        ("negotiation-oob", vec![Negotiate(true), ALL]),
        ("negotiation-again", vec![Negotiate(false), Negotiate(false)]),
        ("command-before-negotiation", vec![plain(), Negotiate(false)]),
    ];
    let negotiated: Vec<(&str, Vec<Op>)> = vec![
        ("return", vec![plain(), Answer(0, Return), ALL]),
        ("error", vec![plain(), Answer(0, Error), ALL]),
        ("answer-no-json", vec![plain(), Answer(0, NotJson)]),
        ("answered-twice", vec![plain(), Answer(0, Return), AnswerAgain(0)]),
        ("command-pretty", vec![command(false, Form::Pretty), Answer(0, Return)]),
        ("command-single-quotes", vec![command(false, Form::SingleQuotes), Answer(0, Return)]),
        ("pipelined", vec![plain(), plain(), plain(), Answer(0, Return), Answer(0, Return)]),
        ("out-of-band-unexpected", vec![command(true, Form::Plain)]),
        ("descriptor", vec![Descriptor, plain(), TakeDescriptor, Answer(0, Return)]),
        ("descriptor-replaced", vec![Descriptor, Descriptor, plain(), TakeDescriptor]),
        ("event", vec![Event(20, true), ALL]),
        ("event-no-json", vec![Event(20, false)]),
        ("event-while-a-command-runs", vec![plain(), Event(20, true), Answer(0, Return)]),
        ("sent-in-parts", vec![plain(), Answer(0, Return), Send(Most::One), Send(Most::Few(7))]),
        ("faults-of-json", vec![input(b"}]:a'"), input(b"\x01"), plain(), Answer(0, Return)]),
        ("open-object-swallows", vec![input(b"{'a"), plain(), input(b"\xff"), plain()]),
        ("escape-of-no-utf8", vec![input(b"{'\\\xfe':1}"), plain()]),
        ("member-twice", vec![input(b"{'':1,'':2}")]),
        ("no-command", vec![input(b"{} [] 1")]),
        ("nested-and-left-open", vec![input(b"[[[["), Eof]),
        ("client-leaves", vec![plain(), Eof]),
        ("client-resets", vec![plain(), Reset, Answer(0, Return)]),
        ("server-closes", vec![plain(), Close, Answer(0, Return)]),
    ];
    seeds.extend(
        negotiated.into_iter().map(|(name, ops)| (name, [vec![Negotiate(false)], ops].concat())),
    );
    let program = |choices: Choices, ops| Program { choices, ops };
    let mut seeds: Vec<_> =
        seeds.into_iter().map(|(name, ops)| (name, program(choices(), ops))).collect();
    let overtaking =
        vec![Negotiate(true), plain(), command(true, Form::Plain), Answer(1, Return), ALL];
    let many = vec![Negotiate(true), plain(), plain(), plain(), plain(), Answer(0, Return)];
    seeds.extend([
        ("out-of-band-overtakes", program(choices(), overtaking)),
        ("queue-full", program(Choices { queue: 1, ..choices() }, many)),
        (
            "several-at-once",
            program(
                Choices { concurrent: 3, ..choices() },
                vec![Negotiate(false), plain(), plain(), Answer(1, Return), Answer(0, Error)],
            ),
        ),
        (
            "output-pretty",
            program(Choices { pretty: true, ..choices() }, vec![Negotiate(false), Event(1, true)]),
        ),
        (
            "output-full",
            program(
                Choices { max_output: 20, ..choices() },
                vec![Negotiate(false), ALL, plain(), Answer(0, Return), Event(9, true), plain()],
            ),
        ),
        (
            "oob-not-offered",
            program(Choices { offers_oob: false, ..choices() }, vec![Negotiate(true)]),
        ),
    ]);
    seeds
}
