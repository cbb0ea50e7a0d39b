//! C12, C18 and C19: the client ends it, by closing, by leaving, or by ending the server.

use std::sync::mpsc;
use std::time::Duration;

use qmp_tests::scripted::{PATIENCE, Peer, Script, Server, pair};
use smol::future::yield_now;

use super::ending::{run_when_there_is_room, wait_until_no_room};
use super::qmp::commands::Quit;
use super::qmp::{Builder, Client, CloseReason, Error, Refusal};
use super::runtime::{finish, next, start, tell};
use super::{after_the_end, heard, names_of, qmp, run};

const SHORT: Duration = Duration::from_millis(20);

/// QEMU serves one client at a time: one that is kept open by mistake locks out everyone else.
#[test]
fn c18_the_last_client_dropped_closes_at_once() {
    tell(async {
        let server = Server::unix_listener(|listener| {
            let mut first = listener.accept();
            first.greet();
            first.expect_eof();
            let mut second = listener.accept();
            second.greet();
            assert_eq!(second.serve(), ["stop"]);
            // Only now is the first one's socket closed on this side.
            drop(first);
        });
        let (client, mut idle) = wait!(qmp::connect_with_events(server.address())).unwrap();
        // One stream is waited for; the other one is just there. Neither is a handle.
        let waiting = start(names_of(client.events()));
        let with_timeout = client.with_timeout(PATIENCE);
        drop((client.clone(), client));
        assert_eq!(with_timeout.close_reason(), None, "one handle is left");
        drop(with_timeout);
        assert!(finish(waiting).await.is_empty());
        let second = wait!(qmp::connect(server.address())).unwrap();
        run(&second, "stop").await.unwrap();
        drop(second);
        server.join();
        assert!(next(&mut idle).await.is_none());
    });
}

/// A client that has given up a command which its server does not answer.
async fn with_a_reply_owed() -> (Client, Script) {
    let (socket, script) = pair(|peer| {
        peer.greet();
        peer.expect("slow");
        peer.expect_eof();
    });
    let client = wait!(qmp::from_stream(socket)).unwrap();
    let given_up = run(&client.with_timeout(SHORT), "slow").await;
    assert_eq!(given_up, Err(Error::TimedOut { sent: true }));
    (client, script)
}

#[test]
fn c18_a_client_dropped_with_replies_owed_closes_at_once() {
    tell(async {
        let (client, script) = with_a_reply_owed().await;
        drop(client);
        script.join();
    });
}

#[test]
fn c19_close_waits_for_replies_and_refuses_new_commands() {
    tell(async {
        let (sent, is_sent) = mpsc::channel();
        let (closing, may_answer) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let slow = peer.expect("slow");
            sent.send(()).unwrap();
            heard(&may_answer);
            peer.reply(&slow, "\"late, but there\"");
            peer.expect_eof();
        });
        let builder = Builder::new().window(1).max_queued(2, usize::MAX);
        let client = wait!(builder.from_stream(socket)).unwrap();
        let slow = start({
            let client = client.clone();
            async move { run(&client, "slow").await }
        });
        heard(&is_sent);
        let queued = start(run_when_there_is_room(client.clone()));
        wait_until_no_room(&client).await;
        let close = start({
            let client = client.clone();
            async move { wait!(client.close(PATIENCE)) }
        });
        let refused = loop {
            match run(&client, "late").await.unwrap_err() {
                Error::Refused(Refusal::QueueFull) => yield_now().await,
                // It had found the room that was left, and so was not sent either.
                Error::NotSent(CloseReason::Requested) => {}
                other => break other,
            }
        };
        assert_eq!(refused, Error::Refused(Refusal::Closing));
        closing.send(()).unwrap();
        assert_eq!(finish(queued).await, Err(Error::NotSent(CloseReason::Requested)));
        assert_eq!(finish(slow).await.unwrap().as_str(), Ok("\"late, but there\""));
        assert_eq!(finish(close).await, Ok(()));
        after_the_end(&client, &CloseReason::Requested).await;
        script.join();
    });
}

#[test]
fn c19_close_ends_at_its_deadline() {
    tell(async {
        let (client, script) = with_a_reply_owed().await;
        assert_eq!(wait!(client.close(SHORT)), Err(Error::StillBusy));
        after_the_end(&client, &CloseReason::Requested).await;
        script.join();
    });
}

/// Many close at once, from several clones, while others execute.
#[test]
fn c19_closing_from_everywhere_ends_each_command_once() {
    tell(async {
        for _ in 0..30 {
            let (socket, script) = pair(|peer| {
                peer.greet();
                peer.serve();
            });
            let client = wait!(qmp::from_stream(socket)).unwrap();
            let parts: Vec<_> = (0..6)
                .map(|number| {
                    let client = client.clone();
                    start(async move {
                        match number % 3 {
                            0 => drop(wait!(client.close(PATIENCE))),
                            1 => while run(&client, "stop").await.is_ok() {},
                            _ => assert_eq!(wait!(client.closed()), CloseReason::Requested),
                        }
                    })
                })
                .collect();
            for part in parts {
                finish(part).await;
            }
            assert_eq!(wait!(client.closed()), CloseReason::Requested);
            script.join();
        }
    });
}

#[test]
fn c12_no_byte_follows_quit_and_the_end_after_it_is_the_expected_one() {
    let script = |peer: &mut Peer| {
        peer.greet();
        let stop = peer.expect("stop");
        peer.reply(&stop, "{}");
        let quit = peer.expect("quit");
        assert_eq!(quit.before, b"\n", "the end of the command before");
        peer.event("SHUTDOWN", r#"{"guest": false, "reason": "host-qmp-quit"}"#);
        peer.reply(&quit, "{}");
        // The client is done, and has sent nothing more.
        peer.finish_sending();
        assert_eq!(peer.rest(), b"");
    };
    tell(async {
        for server in [Server::unix(script), Server::tcp(script)] {
            let (client, events) = wait!(qmp::connect_with_events(server.address())).unwrap();
            run(&client, "stop").await.unwrap();
            wait!(client.execute(&Quit)).unwrap();
            assert_eq!(wait!(client.closed()), CloseReason::Quit);
            assert_eq!(names_of(events).await, ["SHUTDOWN"]);
            server.join();
        }
    });
}

#[test]
fn c12_nothing_is_sent_behind_quit_until_it_is_refused() {
    tell(async {
        let (quitting, is_quitting) = mpsc::channel();
        let (queued, may_refuse) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let quit = peer.expect("quit");
            quitting.send(()).unwrap();
            heard(&may_refuse);
            peer.fail(&quit, "GenericError", "not now");
            assert_eq!(peer.serve(), ["last"]);
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let quit = start({
            let client = client.clone();
            async move { wait!(client.execute(&Quit)) }
        });
        heard(&is_quitting);
        let withdrawn = run(&client.with_timeout(SHORT), "withdrawn").await;
        assert_eq!(withdrawn, Err(Error::TimedOut { sent: false }));
        queued.send(()).unwrap();
        assert!(matches!(finish(quit).await, Err(Error::Command(_))));
        run(&client, "last").await.unwrap();
        drop(client);
        script.join();
    });
}
