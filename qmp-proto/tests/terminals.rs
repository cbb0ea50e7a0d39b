//! C22: texts that include a peer's text do nothing to a terminal.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;

use qmp_proto::{
    CloseReason, CommandError, Config, ErrorClass, ExecuteError, Output, Violation, printable,
};

use support::peer::Peer;

/// A colour, a title, a bell, the C1 introducer, a forged line and bidirectional overrides.
const HOSTILE: &str = "\u{1b}[31m\u{1b}]0;x\u{7}\u{9b}2J\r\nerror: all is well\u{202e}\u{2066}";

/// Checks an error with a peer's text in it, and its sources.
#[track_caller]
fn check(error: impl Error) {
    let mut error: Option<&dyn Error> = Some(&error);
    while let Some(shown) = error {
        check_text(shown);
        error = shown.source();
    }
}

#[track_caller]
fn check_text(text: impl Display) {
    let text = text.to_string();
    assert!(text.contains("all is well"), "{text:?}");
    assert!(text.is_ascii() && !text.contains(|c: char| c.is_control()), "{text:?}");
}

#[test]
fn c22_errors_with_a_peer_s_text_do_nothing_to_a_terminal() {
    let error = || CommandError::new(ErrorClass::Other(HOSTILE.into()), HOSTILE);
    check(error());
    check(ExecuteError::Command(error()));
    check(CloseReason::NegotiationRefused(error()));
    check(CloseReason::Violation(Violation::UnattributableError(error())));
    check(CloseReason::CallbackPanicked(HOSTILE.into()));
    // A program gets the unfiltered text.
    assert_eq!(*error().desc, *HOSTILE);
}

#[test]
fn c22_an_error_as_it_comes_does_nothing_to_a_terminal() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("query-block");
    peer.take_all();
    let desc = HOSTILE.replace("\r\n", "\\r\\n");
    peer.feed(format!(r#"{{"error": {{"class": "GenericError", "desc": "{desc}"}}, "id": {id}}}"#));
    let Some(Output::Reply(_, Err(error))) = peer.connection.poll_output() else { panic!() };
    check(error);
}

#[test]
fn c22_a_payload_with_such_names_does_nothing_to_a_terminal() {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("query-block");
    peer.take_all();
    let name = HOSTILE.replace("\r\n", "").replace(|c: char| c < ' ', "");
    peer.feed(format!(r#"{{"return": {{"{name}": true}}, "id": {id}}}"#));
    let Some(Output::Reply(_, Ok(raw))) = peer.connection.poll_output() else { panic!() };
    check(raw.parse::<BTreeMap<String, u8>>().unwrap_err());
    check_text(raw.display());
    check_text(printable(HOSTILE));
}
