//! No agent behind the port: connecting succeeds, nothing answers, and at some point writes block.

use std::sync::mpsc;
use std::time::Duration;

use qmp_tests::agent::Agent;
use qmp_tests::scripted::{PATIENCE, Server, pair};

use super::super::qmp::guest_commands::{GuestFileWrite, GuestGetTime};
use super::super::qmp::{ConnectError, Error, ErrorClass, Evidence};
use super::super::runtime::tell;
use super::{agents, delimited, echo, heard, is_in_step, serve_echoes, sync_number, synchronise};

const SHORT: Duration = Duration::from_millis(100);
/// Long enough for an agent to answer.
const LONGER: Duration = Duration::from_millis(1500);

#[test]
fn c23_nobody_answers_and_the_error_says_what_that_looks_like() {
    tell(async {
        let (done, may_end) = mpsc::channel();
        let server = Server::unix_listener(move |listener| {
            listener.wait_for_client();
            heard(&may_end);
        });
        let impatient = agents().deadline(SHORT);
        let error = wait!(impatient.connect(server.address())).unwrap_err();
        let ConnectError::NoAgent { waited, evidence: None } = &error else { panic!("{error:?}") };
        assert!(*waited >= SHORT);
        let text = error.to_string();
        let expected = "connected, but no guest agent answered in ";
        assert!(text.starts_with(expected) && text.contains("is qemu-ga running"), "{text}");
        assert!(text.contains("or it is older than guest-sync-delimited (QEMU 1.1)"), "{text}");
        done.send(()).unwrap();
        server.join();
    });
}

#[test]
fn c23_an_agent_that_refuses_a_session_is_named_in_its_own_words() {
    tell(async {
        let Some(agent) = Agent::start_with(&["-b", "guest-sync-delimited"]) else { return };
        let error = wait!(agents().deadline(LONGER).connect(agent.address())).unwrap_err();
        let ConnectError::NoAgent { evidence: Some(Evidence::Error(refusal)), .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(refusal.class, ErrorClass::CommandNotFound);
        let text = error.to_string();
        let named = "instead came the error CommandNotFound: ";
        assert!(
            text.contains(named) && text.contains("guest-sync-delimited has been dis"),
            "{text}"
        );
        assert!(
            text.ends_with("it must allow guest-sync-delimited, which is how a session begins")
        );
    });
}

/// A console's words, cut off or not, and a hostile error.
#[test]
fn c23_what_comes_in_place_of_an_agents_answer_is_named() {
    let hostile = "\u{1b}]0;x\u{7}".repeat(40);
    let error = serde_json::json!({"error": {"class": "X", "desc": hostile}}).to_string() + "\n";
    let cases = [
        (
            "\r\nlogin: ".to_owned(),
            "; instead came 6 bytes that are not a message: is this a console",
        ),
        ("{\"event\": \"A\"}\n".to_owned(), "; instead came an event: is qemu-ga running"),
        (error, "; instead came the error X: \\u001b]0;x\\u0007\\u001b"),
    ];
    tell(async {
        for (said, named) in cases {
            let (socket, script) = pair(move |peer| {
                peer.send(said);
                sync_number(peer);
                peer.rest();
            });
            let error = wait!(agents().deadline(SHORT).from_stream(socket)).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(named), "{text}");
            assert!(text.len() < 1500 && !text.contains('\u{1b}'), "{text}");
            script.join();
        }
    });
}

/// An agent that is restarting, or the QEMU behind it.
#[test]
fn c20_a_channel_that_ends_before_the_agent_has_answered_is_opened_again() {
    tell(async {
        let server = Server::unix_listener(|listener| {
            drop(listener.accept());
            sync_number(&mut listener.accept());
            let mut late = listener.accept();
            late.send("\u{7f}half an answ");
            drop(late);
            let mut last = listener.accept();
            synchronise(&mut last);
            serve_echoes(&mut last);
        });
        let client = wait!(agents().connect(server.address())).unwrap();
        is_in_step(&client).await;
        drop(client);
        server.join();
    });
}

/// What was begun goes out whole, whenever it is read, and then a session begins anew.
#[test]
fn c23_a_command_that_finds_no_room_is_caught_by_its_deadline() {
    const SIZE: usize = 4 << 20;
    tell(async {
        let (blocked, may_read) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            synchronise(peer);
            heard(&may_read);
            let big = peer.expect("guest-file-write");
            assert_eq!(big.arguments["buf-b64"].as_str().unwrap().len(), SIZE);
            peer.reply(&big, r#"{"count": 1, "eof": false}"#);
            synchronise(peer);
            serve_echoes(peer);
        });
        let client = wait!(agents().from_stream(socket)).unwrap();
        let content = "A".repeat(SIZE);
        let big = GuestFileWrite { handle: 1000, buf_b64: &content, count: None };
        let outcome = wait!(client.with_timeout(SHORT).execute(&big));
        assert_eq!(outcome, Err(Error::AgentSilent { sent: true }));
        // What comes now waits for a new session.
        let busy = echo(&client.with_timeout(SHORT), 1).await.unwrap_err();
        let expected =
            matches!(&busy, Error::AgentBusy { command, .. } if command == "guest-file-write");
        assert!(expected, "{busy}");
        blocked.send(()).unwrap();
        is_in_step(&client.with_timeout(PATIENCE)).await;
        drop(client);
        script.join();
    });
}

/// The agent is killed with the question, and another one comes behind a channel that stays open.
#[test]
fn c23_a_lost_question_is_asked_again_as_long_as_somebody_waits() {
    tell(async {
        let (socket, script) = pair(|peer| {
            synchronise(peer);
            for _ in 0..2 {
                peer.expect("guest-get-time");
                let lost = sync_number(peer);
                // It comes by itself, with an id and without.
                let [again, last] = [sync_number(peer), sync_number(peer)];
                assert!(lost < again && again < last);
                peer.send(delimited(last));
            }
            serve_echoes(peer);
        });
        let client = wait!(agents().from_stream(socket)).unwrap();
        let late = Err(Error::TimedOut { sent: true });
        assert_eq!(wait!(client.with_timeout(SHORT).execute(&GuestGetTime)), late);
        assert_eq!(wait!(client.wait_idle(PATIENCE)), Ok(()));
        assert_eq!(wait!(client.with_timeout(SHORT).execute(&GuestGetTime)), late);
        // Without a timeout.
        is_in_step(&client).await;
        drop(client);
        script.join();
    });
}
