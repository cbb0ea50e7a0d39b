//! C17: servers that are gone in the middle of a word, at each byte of a session.

use std::net::TcpStream;
use std::sync::mpsc;

use qmp_tests::scripted::{Command, GREETING, PATIENCE, Peer, Server, event_text};

use super::qmp::{Builder, ConnectError, Error, Raw, Refusal};
use super::runtime::tell;
use super::{count, run};

/// How a server leaves.
type Leave = fn(&mut Peer);

/// A server that has so many bytes left to send, and then leaves.
struct Failing<'a> {
    peer: &'a mut Peer,
    left: usize,
    leave: Leave,
}

impl Failing<'_> {
    /// Whether it goes on.
    fn send(&mut self, text: &str) -> bool {
        let sent = &text.as_bytes()[..self.left.min(text.len())];
        self.left -= sent.len();
        self.peer.try_send(sent);
        if self.left == 0 {
            (self.leave)(self.peer);
        }
        self.left > 0
    }

    fn reply(&mut self, command: &Command) -> bool {
        self.send(&command.success("{\"a\": [\"}\", 1]}"))
    }

    /// A whole session: whether all of it was sent.
    fn play(&mut self) -> bool {
        self.send(&format!("{GREETING}\r\n"))
            && self.peer.try_command().is_some_and(|negotiation| self.reply(&negotiation))
            && self.send(&event_text("STOP", "{}"))
            && self.peer.try_command().is_some_and(|stop| self.reply(&stop))
    }
}

/// Connects to a server that leaves after each number of bytes, until it says all that it has to.
async fn leaves_everywhere(leave: Leave) {
    let (tell, told) = mpsc::channel();
    for left in 0.. {
        let tell = tell.clone();
        let server = Server::tcp(move |peer| {
            let whole = Failing { peer, left, leave }.play();
            tell.send(whole).unwrap();
            if whole {
                peer.expect_eof();
            }
        });
        let outcome = session(&server).await;
        server.join();
        let whole = told.recv().unwrap();
        // Its last byte is a line end.
        let complete = outcome.as_ref().is_ok_and(|raw| raw.as_str() == Ok("{\"a\": [\"}\", 1]}"));
        assert!(complete || !whole, "{left} bytes: {outcome:?}");
        if whole {
            assert!(left > 250, "the session has only {left} bytes");
            return;
        }
    }
}

/// Everything ends, and says how.
async fn session(server: &Server) -> Result<Raw, String> {
    let builder = Builder::new().deadline(PATIENCE).command_timeout(PATIENCE);
    let address = server.address().trim_start_matches("tcp:");
    // It may be reset before it is there.
    let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    let client = wait!(builder.from_stream(stream)).map_err(|error| match error {
        ConnectError::Ended { reason, .. } => reason.to_string(),
        other => panic!("{other:?}"),
    })?;
    let events = client.events();
    let outcome = match run(&client, "stop").await {
        Err(Error::NotSent(reason) | Error::Unanswered(reason)) => {
            assert_eq!(wait!(client.closed()), reason);
            Err(reason.to_string())
        }
        Err(Error::Refused(Refusal::Closed(reason))) => Err(reason.to_string()),
        Err(other) => panic!("{other:?}"),
        Ok(raw) => Ok(raw),
    };
    drop(client);
    assert!(count(events).await <= 1);
    outcome
}

#[test]
fn c17_a_server_that_closes_at_any_byte_ends_everything_at_once() {
    tell(leaves_everywhere(|peer| {
        peer.finish_sending();
        peer.stop_reading();
    }));
}

#[test]
fn c17_a_server_that_resets_at_any_byte_ends_everything_at_once() {
    tell(leaves_everywhere(Peer::reset));
}
