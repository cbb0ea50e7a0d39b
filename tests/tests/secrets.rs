//! C22: a value may be a secret, so no text of an error repeats one. What the server itself writes
//! as an error's description is passed on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::error::Error as StdError;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use qmp_blocking::commands::{HumanMonitorCommand, QueryVersion};
use qmp_blocking::{
    Builder, Client, Command, ConnectError, Error, Event, Refusal, Request, from_stream,
};
use qmp_tests::scripted::{PATIENCE, Peer, Script, pair, run};
use serde::{Deserialize, Serialize};

const SECRET: &str = "hunter2";

/// Neither it nor what stands behind it says the secret, to people or to programmers.
#[track_caller]
fn assert_discreet(error: &dyn StdError) {
    let mut next = Some(error);
    while let Some(error) = next {
        for text in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
            assert!(!text.contains(SECRET), "{text}");
        }
        next = error.source();
    }
}

fn secret() -> serde_json::Value {
    serde_json::json!({ "password": SECRET, "list": [SECRET], "more": { SECRET: SECRET } })
}

fn secret_request() -> Request<serde_json::Value, std::os::fd::OwnedFd> {
    Request::new("set_password").arguments(secret())
}

fn connected(script: impl FnOnce(&mut Peer) + Send + 'static) -> (Client, Script) {
    let (socket, script) = pair(|peer| {
        peer.greet();
        script(peer);
    });
    (from_stream(socket).unwrap(), script)
}

#[derive(Debug, Serialize)]
struct Login;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "what it would be decoded into")]
struct Session {
    user: u8,
    kind: Kind,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Plain,
}

impl Command for Login {
    const NAME: &'static str = "login";
    type Return = Session;
}

#[test]
fn c22_a_payload_that_does_not_decode_is_not_repeated() {
    let payloads = [
        r#""hunter2""#,
        r#"{"user": "hunter2", "kind": "plain"}"#,
        r#"{"user": 1, "kind": "hunter2"}"#,
        r#"{"user": 1, "other": "hunter2"}"#,
        r#"{"user": 1, "user": 2, "kind": "hunter2"}"#,
        r#"{"user": hunter2}"#,
        r#"["hunter2", 1]"#,
    ];
    let (client, script) = connected(move |peer| {
        for payload in payloads {
            let command = peer.expect("login");
            peer.reply(&command, payload);
        }
        peer.expect_eof();
    });
    for _ in payloads {
        let error = client.execute(&Login).unwrap_err();
        assert!(matches!(error, Error::Decode(_)), "{error:?}");
        assert_discreet(&error);
    }
    drop(client);
    script.join();
}

#[test]
fn c22_arguments_are_in_no_error_of_their_command() {
    let (client, script) = connected(|peer| {
        peer.expect("set_password");
        peer.expect("set_password");
    });
    let hasty = client.with_timeout(Duration::from_millis(2));
    assert_discreet(&hasty.execute_request(secret_request()).unwrap_err());
    // It is in flight, and in no queue that the client would show.
    let shown = format!("{client:?}");
    let bytes = format!("{:?}", SECRET.as_bytes());
    assert!(!shown.contains(SECRET) && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    assert_discreet(&client.execute_request(secret_request()).unwrap_err());
    assert_discreet(&client.execute_request(secret_request()).unwrap_err());
    script.join();
}

#[test]
fn c22_refused_arguments_are_not_repeated() {
    let (client, script) = connected(|peer| peer.expect_eof());
    let texts = [
        r#"{"password": "hunter2", "password": "hunter2"}"#,
        "{\"password\": \"hunter2\u{ffff}\"}",
        r#"{"password": "hunter2\ud800"}"#,
    ];
    for text in texts {
        let request = Request::new("set_password").raw_arguments(text).unwrap();
        let error = client.execute_request(request).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
        assert_discreet(&error);
    }
    for text in [r#"{"password": hunter2}"#, r#""hunter2""#, r#"{"hunter2"#] {
        assert_discreet(&Request::<_, ()>::new("set_password").raw_arguments(text).unwrap_err());
    }
    let not_an_object = client.execute_request(Request::new("set_password").arguments(SECRET));
    assert_discreet(&not_an_object.unwrap_err());
    drop(client);
    script.join();
}

#[test]
fn c22_what_breaks_the_protocol_is_not_repeated() {
    let faults = [
        r#"{"hunter2": 1}"#,
        r#"{"event": ["hunter2"]}"#,
        r#"{"event": "hunter2", "return": "hunter2"]"#,
        r#"{"error": "hunter2", "id": 1}"#,
        "hunter2",
    ];
    for fault in faults {
        let (client, script) = connected(move |peer| {
            peer.expect("stop");
            peer.send(fault);
            peer.expect_eof();
        });
        let error = run(&client, "stop").unwrap_err();
        assert!(matches!(error, Error::Unanswered(_)), "{error:?}");
        assert_discreet(&error);
        assert_discreet(&client.closed());
        script.join();
    }
}

/// Only the first words of an unknown speaker are (C7).
#[test]
fn c22_what_is_no_qmp_is_not_repeated() {
    for said in ["SSH-2.0-hunter2\r\n", r#"{"hunter2": "hunter2"}"#] {
        let (socket, script) = pair(move |peer| {
            peer.send(said);
            peer.expect_eof();
        });
        let error = Builder::new().from_stream(socket).unwrap_err();
        assert!(matches!(error, ConnectError::Ended { .. }), "{error:?}");
        assert_discreet(&error);
        script.join();
    }
}

/// An event's data and a reply are not shown by accident either.
#[test]
fn c22_payloads_are_not_in_debug_output() {
    let (client, script) = connected(|peer| {
        let command = peer.command();
        peer.event("SECRET_CHANGED", &secret().to_string());
        peer.reply(&command, &secret().to_string());
        let version = peer.command();
        peer.reply(&version, &secret().to_string());
        peer.expect_eof();
    });
    let matcher = |event: &Event| event.name() == "SECRET_CHANGED";
    let hmp = HumanMonitorCommand { command_line: SECRET, cpu_index: None };
    let error = client.execute_until(&hmp, matcher).unwrap_err();
    assert_discreet(&error);
    assert_discreet(&client.execute(&QueryVersion).unwrap_err());
    drop(client);
    script.join();
}

/// The one text that is the server's own.
#[test]
fn c22_the_servers_description_is_passed_on() {
    let (client, script) = connected(|peer| {
        let command = peer.command();
        peer.fail(&command, "GenericError", "the password 'hunter2' is too short");
        peer.expect_eof();
    });
    let error = client.execute_request(secret_request()).unwrap_err();
    assert_eq!(error.to_string(), "GenericError: the password 'hunter2' is too short");
    drop(client);
    script.join();
}

/// Neither as text nor as a list of bytes, on one line or on many.
#[track_caller]
fn assert_unseen(shown: &impl std::fmt::Debug) {
    for text in [format!("{shown:?}"), format!("{shown:#?}")] {
        assert!(!text.contains(SECRET), "{text}");
        let dense: String = text.split_whitespace().collect();
        assert!(!dense.contains("104,117,110"), "{text}");
    }
}

/// Queued, in flight, received in part, and left over in a buffer.
#[test]
fn c22_a_client_is_shown_without_what_goes_through_it() {
    let (half_sent, half_is_sent) = mpsc::channel();
    let (seen, go_on) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let in_flight = peer.expect("set_password");
        let told = in_flight.success(&secret().to_string());
        let (half, rest) = told.split_at(told.len() / 2);
        assert!(half.contains(SECRET));
        peer.event("SECRET_CHANGED", &secret().to_string());
        peer.send(half);
        half_sent.send(()).unwrap();
        go_on.recv_timeout(PATIENCE).unwrap();
        peer.send(rest);
        peer.serve();
    });
    let client = Builder::new().window(1).max_queued(2, usize::MAX).from_stream(socket).unwrap();
    let mut events = client.events();
    thread::scope(|scope| {
        let execute = || loop {
            match client.execute_request(secret_request()) {
                // The place is taken by what the test itself tries.
                Err(Error::Refused(Refusal::QueueFull)) => thread::yield_now(),
                outcome => break outcome,
            }
        };
        let threads = [(); 2].map(|()| scope.spawn(execute));
        half_is_sent.recv_timeout(PATIENCE).unwrap();
        // Until the other waits; of the reply something may have come, or will.
        let hasty = client.with_timeout(Duration::ZERO);
        while hasty.execute_request(secret_request()) != Err(Error::Refused(Refusal::QueueFull)) {
            assert_unseen(&(&client, &events));
        }
        assert!(events.next_timeout(PATIENCE).is_some());
        assert_unseen(&(&client, &events));
        seen.send(()).unwrap();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap().is_ok()));
    });
    assert_unseen(&(&client, &events));
    drop(client);
    assert_unseen(&events);
    script.join();
}
