//! Random programs: whatever is done, in whatever order, the connection does what the model does.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

mod support;

use proptest::prelude::*;
use proptest::sample::Index;
use qmp_proto::{
    Cancelled, CloseReason, CommandError, CommandId, Config, ErrorClass, IoFailure, Phase, Request,
};

use support::model::{CancelOutcome, Choices, Kind, Model};
use support::peer::{Descriptor, Peer, config, error, event, success, tell};

/// One thing that an application, a transport or a server does.
#[derive(Clone, Debug)]
enum Op {
    Execute(Kind, usize),
    Cancel(Index),
    Transmit,
    Send(usize),
    Greet,
    Accept,
    Reply(Index, bool),
    Stray(u8),
    ErrorWithoutId,
    Event(&'static str),
    Eof,
    Reset,
    Failure,
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![
        10 => Just(Kind::InBand),
        4 => Just(Kind::OutOfBand),
        5 => Just(Kind::WithDescriptor),
        1 => Just(Kind::Quit),
    ];
    prop_oneof![
        20 => (kind, 1usize..60).prop_map(|(kind, size)| Op::Execute(kind, size)),
        6 => any::<Index>().prop_map(Op::Cancel),
        6 => Just(Op::Transmit),
        24 => prop_oneof![Just(1), 1usize..100, Just(usize::MAX)].prop_map(Op::Send),
        1 => Just(Op::Accept),
        16 => (any::<Index>(), prop::bool::weighted(0.8)).prop_map(|(i, ok)| Op::Reply(i, ok)),
        2 => (0u8..7).prop_map(Op::Stray),
        2 => Just(Op::ErrorWithoutId),
        3 => prop_oneof![Just("SHUTDOWN"), Just("STOP")].prop_map(Op::Event),
    ]
}

/// What ends a connection comes rarely, or there would be nothing to see before it.
fn ending() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Eof),
        3 => Just(Op::Reset),
        1 => Just(Op::Failure),
        4 => Just(Op::Close),
        1 => Just(Op::Greet),
    ]
}

/// Mostly negotiated, then busy, then ended, and then a little more.
fn program() -> impl Strategy<Value = Vec<Op>> {
    let early = prop::collection::vec(op(), 0..6);
    let handshake = prop_oneof![
        1 => Just(vec![]),
        1 => Just(vec![Op::Greet]),
        8 => Just(vec![Op::Greet, Op::Send(usize::MAX), Op::Accept]),
    ];
    let busy = prop::collection::vec(op(), 0..80);
    let end = prop::collection::vec(prop_oneof![1 => ending(), 2 => op()], 1..12);
    (early, handshake, busy, end).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

fn choices() -> impl Strategy<Value = Config> {
    let window = prop_oneof![2 => Just(None), 3 => (0usize..11).prop_map(Some)];
    let queue = prop_oneof![Just((12, 300)), Just((100, 1 << 20))];
    (any::<bool>(), prop::bool::weighted(0.9), window, queue).prop_map(
        |(oob, descriptors, window, (count, bytes))| {
            config(|config| {
                (config.oob, config.descriptors, config.window) = (oob, descriptors, window);
                (config.max_queued, config.max_queued_bytes) = (count, bytes);
            })
        },
    )
}

struct Run {
    peer: Peer,
    model: Model,
    chunk: usize,
    handshake: u64,
    descriptors: u32,
    last_id: Option<CommandId>,
    closed: bool,
}

impl Run {
    fn new(config: Config, chunk: usize) -> Self {
        let mut scratch = Peer::new(config.clone());
        scratch.greet();
        let handshake = scratch.sent()[0].id;
        let model = Model::new(Choices {
            oob: config.oob,
            descriptors: config.descriptors,
            window: config.window,
            max_queued: config.max_queued,
            max_queued_bytes: config.max_queued_bytes,
            handshake,
        });
        let peer = Peer::new(config);
        Self { peer, model, chunk, handshake, descriptors: 0, last_id: None, closed: false }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Execute(kind, size) => self.execute(kind, size),
            Op::Cancel(index) => self.cancel(index),
            Op::Transmit => self.send(0),
            Op::Send(most) => self.send(most),
            Op::Greet => {
                self.feed(support::peer::GREETING);
                self.model.greet();
            }
            Op::Accept => {
                self.feed(&success(self.handshake));
                self.model.accept();
            }
            Op::Reply(index, ok) => self.reply(index, ok),
            Op::Stray(kind) => self.stray(kind),
            Op::ErrorWithoutId => self.error_without_id(),
            Op::Event(name) => {
                self.feed(&event(name));
                self.model.event(name);
            }
            Op::Eof => {
                self.peer.connection.handle_eof();
                self.model.eof();
            }
            Op::Reset => {
                self.peer.connection.handle_failure(IoFailure::Reset);
                self.model.ended(CloseReason::Failed(IoFailure::Reset));
            }
            Op::Failure => {
                self.peer.connection.handle_failure(IoFailure::Other(5));
                self.model.end(CloseReason::Failed(IoFailure::Other(5)));
            }
            Op::Close => {
                self.peer.connection.close();
                self.model.close();
            }
        }
        self.compare(op);
    }

    /// Everything that can be seen of the connection, against the model.
    fn compare(&mut self, op: &Op) {
        let outputs = std::iter::from_fn(|| self.peer.connection.poll_output());
        let told: Vec<_> = outputs.map(|output| tell(&output)).collect();
        let expected = std::mem::take(&mut self.model.told);
        assert_eq!(told, expected, "told after {op:?}");
        assert!(!self.closed || told.is_empty(), "{told:?} after Closed");
        let connection = &self.peer.connection;
        self.closed = connection.close_reason().is_some();
        assert_eq!(connection.phase(), self.model.phase(), "phase after {op:?}");
        assert_eq!(self.closed, connection.phase() == Phase::Closed);
        assert_eq!(connection.is_idle(), self.model.is_idle(), "is_idle after {op:?}");
        assert_eq!(connection.strays(), self.model.strays, "strays after {op:?}");
        assert_eq!(self.peer.open(), self.model.open(), "open descriptors after {op:?}");
        let begun = self.model.begun();
        for id in self.model.ids() {
            assert_eq!(connection.has_begun(id), begun.contains(&id), "has_begun after {op:?}");
        }
    }

    fn feed(&mut self, text: &str) {
        for chunk in text.as_bytes().chunks(self.chunk) {
            self.peer.feed(chunk);
        }
    }

    fn execute(&mut self, kind: Kind, size: usize) {
        let name = if kind == Kind::Quit { "quit".to_owned() } else { "c".repeat(size) };
        let mut request = Request::new(name.clone());
        let mut descriptor = None;
        match kind {
            Kind::OutOfBand => request = request.out_of_band(),
            Kind::WithDescriptor => {
                self.descriptors += 1;
                descriptor = Some(self.descriptors);
                request = request.descriptor(Descriptor::open(self.descriptors, &self.peer.open));
            }
            Kind::InBand | Kind::Quit => {}
        }
        let verdict = self.model.verdict(kind, &name);
        let accepted = self.peer.connection.execute(request);
        assert_eq!(accepted.clone().map(|_| ()), verdict);
        if let Ok(id) = accepted {
            assert!(Some(id) > self.last_id, "{id} was given before");
            self.last_id = Some(id);
            self.model.execute(id, kind, &name, descriptor);
        }
    }

    fn cancel(&mut self, index: Index) {
        let ids = self.model.ids();
        if ids.is_empty() {
            return;
        }
        let id = *index.get(&ids);
        let cancelled = match self.peer.connection.cancel(id) {
            Cancelled::NeverSent(descriptor) => {
                CancelOutcome::NeverSent(descriptor.map(|descriptor| descriptor.number()))
            }
            Cancelled::ReplyDiscarded => CancelOutcome::ReplyDiscarded,
            Cancelled::Unknown => CancelOutcome::Unknown,
        };
        assert_eq!(cancelled, self.model.cancel(id));
    }

    /// Claims what may be claimed, and lets the transport take `most` bytes of it.
    fn send(&mut self, most: usize) {
        let expected = self.model.transmit();
        let transmit = self.peer.connection.transmit();
        let lent = transmit.map(|t| (t.bytes.to_vec(), t.descriptor.map(Descriptor::number)));
        assert_eq!(lent, expected, "lent");
        let taken = lent.map_or(0, |(bytes, _)| bytes.len().min(most));
        self.peer.connection.advance(taken);
        if taken > 0 {
            self.model.advance(taken);
        }
    }

    fn reply(&mut self, index: Index, ok: bool) {
        let waiting = self.model.at_the_server();
        if waiting.is_empty() {
            return;
        }
        let id = *index.get(&waiting);
        self.feed(&if ok { success(id) } else { error(id) });
        self.model.reply(id, ok);
    }

    fn stray(&mut self, kind: u8) {
        let text = match kind {
            0 => "{\"return\": {}}".to_owned(),
            1 => success("\"gone\""),
            2 => error("{\"a\": [1]}"),
            3 => success(1),
            4 | 5 => return self.late_reply(),
            _ => success(format!("\"{}\"", self.handshake)),
        };
        self.feed(&text);
        self.model.stray();
    }

    /// A second reply to a command that has ended.
    fn late_reply(&mut self) {
        if let Some(id) = self.model.ended_id() {
            self.feed(&success(id));
            self.model.late_reply();
        }
    }

    fn error_without_id(&mut self) {
        let json = r#"{"error": {"class": "GenericError", "desc": "no"}}"#;
        self.feed(json);
        let error = CommandError { class: ErrorClass::GenericError, desc: "no".into() };
        let violation = qmp_proto::Violation::UnattributableError(error);
        self.model.error_without_id(CloseReason::Violation(violation));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn c17_whatever_happens_every_command_ends_once_and_nothing_is_torn(
        config in choices(),
        chunk in prop_oneof![Just(1usize), Just(7), Just(usize::MAX)],
        program in program(),
    ) {
        let mut run = Run::new(config, chunk);
        for op in &program {
            run.step(op);
        }
        run.step(&Op::Eof);
        prop_assert!(run.peer.connection.is_idle());
        prop_assert!(run.peer.open().is_empty());
    }
}
