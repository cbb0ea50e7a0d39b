//! C23: what a guest agent without ids sends unasked is dropped before the next command goes out.
#![cfg(not(qmp_shuttle))]
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::pin::{Pin, pin};
use std::task::Poll;

use qmp_client::asynchronous::{Client, Driver};
use qmp_proto::Dialect;
use qmp_proto::guest_commands::GuestGetTime;
use support::{Builder, Wire, poll};

mod support;

const COMMAND: &[u8] = b"{\"execute\":\"guest-get-time\"}\n";

/// Answers what a session begins with, without an id.
#[track_caller]
fn synchronise(wire: &Wire, sent: &[u8]) {
    assert!(sent.starts_with(b"\xff"), "{}", sent.escape_ascii());
    let digits = sent.iter().copied().skip_while(|byte| !byte.is_ascii_digit());
    let number: Vec<u8> = digits.take_while(u8::is_ascii_digit).collect();
    wire.say([b"\xff{\"return\": ", &*number, b"}\n"].concat());
}

fn connect(wire: &Wire) -> (Client, Driver) {
    let builder = Builder::new().dialect(Dialect::GuestAgent);
    let mut connecting = pin!(builder.from_transport_with_driver(wire.clone()));
    assert!(poll(connecting.as_mut()).is_pending());
    synchronise(wire, &wire.take_bytes());
    let Poll::Ready(Ok((client, _, driver))) = poll(connecting.as_mut()) else { panic!() };
    (client, driver)
}

/// The reply too many is there and unread when the next command is to go out, whoever sends that.
#[test]
fn c23_a_reply_too_many_that_is_there_is_not_the_next_commands() {
    for wire in [Wire::new(), Wire::new().shared()] {
        let (client, mut driver) = connect(&wire);
        for round in 0..20 {
            let mut time = pin!(client.execute(&GuestGetTime));
            let mut turns = 0;
            let mut sent = Vec::new();
            while sent.is_empty() {
                assert!(poll(time.as_mut()).is_pending());
                sent = wire.take_bytes();
                if sent.is_empty() {
                    let _ = poll(Pin::new(&mut driver));
                    sent = wire.take_bytes();
                }
                turns += 1;
                assert!(turns < 5, "it is not sent");
            }
            if round > 0 {
                synchronise(&wire, &sent);
                let _ = poll(Pin::new(&mut driver));
                let _ = poll(time.as_mut());
                sent = wire.take_bytes();
            }
            assert_eq!(sent, COMMAND);
            wire.say("{\"return\": 2}\n");
            let outcome = loop {
                if let Poll::Ready(outcome) = poll(time.as_mut()) {
                    break outcome;
                }
                let _ = poll(Pin::new(&mut driver));
            };
            assert_eq!(outcome, Ok(2), "round {round}");
            wire.say("{\"return\": 1}\n");
        }
    }
}
