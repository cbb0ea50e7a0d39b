//! C12: `quit`, the one command behind which not a byte may follow.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use qmp_blocking::commands::Quit;
use qmp_blocking::{
    Builder, Client, CloseReason, Error, connect, connect_with_events, from_stream,
};
use qmp_tests::scripted::{PATIENCE, Peer, Server, pair, run};

/// QEMU resets where it had not read all. What it said before has been read here by then.
#[test]
fn c12_a_reset_after_quit_is_the_expected_end_too() {
    let server = Server::tcp(|peer| {
        peer.greet();
        let quit = peer.expect("quit");
        peer.reply(&quit, "{}");
        // Only over TCP may the reset overtake the reply: so it waits for it.
        peer.reset();
    });
    let client = connect(server.address()).unwrap();
    let outcome = client.execute(&Quit).map(|_| ());
    assert!(matches!(outcome, Ok(()) | Err(Error::Unanswered(CloseReason::Quit))), "{outcome:?}");
    assert_eq!(client.closed(), CloseReason::Quit);
    server.join();
}

/// Its caller need not wait for it for ever.
#[test]
fn c12_a_server_may_answer_quit_and_stay() {
    let (seen, is_seen) = mpsc::channel();
    let server = Server::unix(move |peer| {
        peer.greet();
        let quit = peer.expect("quit");
        peer.reply(&quit, "{}");
        is_seen.recv_timeout(PATIENCE).unwrap();
    });
    let client = connect(server.address()).unwrap();
    client.execute(&Quit).unwrap();
    assert_eq!(client.closed_within(Duration::from_millis(20)), None);
    seen.send(()).unwrap();
    assert_eq!(client.closed_within(PATIENCE), Some(CloseReason::Quit));
    server.join();
}

/// The end comes without a reply: by an end of the stream, by a reset over TCP, and by one over a
/// Unix socket, where the server leaves `quit` unread.
fn ends_without_a_reply(shutdown: bool, test: impl Fn(Result<(), Error>)) {
    let say = move |peer: &mut Peer| {
        if shutdown {
            peer.event("SHUTDOWN", r#"{"guest": false, "reason": "host-qmp-quit"}"#);
        }
    };
    let ((seen_by_one, one), (seen_by_other, other)) = (mpsc::channel(), mpsc::channel());
    let reset_after = move |peer: &mut Peer, seen: mpsc::Receiver<()>| {
        say(peer);
        // So that it is read, and not lost to the reset.
        seen.recv_timeout(PATIENCE).unwrap();
    };
    let servers = [
        (
            None,
            Server::unix(move |peer| {
                peer.greet();
                peer.expect("quit");
                say(peer);
            }),
        ),
        (
            Some(seen_by_one),
            Server::tcp(move |peer| {
                peer.greet();
                peer.expect("quit");
                reset_after(peer, one);
                peer.reset();
            }),
        ),
        (
            Some(seen_by_other),
            Server::unix(move |peer| {
                peer.greet();
                // The line end behind qmp_capabilities comes by itself: this is what quit begins with.
                peer.wait_for_input();
                reset_after(peer, other);
            }),
        ),
    ];
    for (seen, server) in servers {
        let (client, mut events) = connect_with_events(server.address()).unwrap();
        thread::scope(|scope| {
            let quitting = scope.spawn(|| client.execute(&Quit).map(|_| ()));
            if shutdown {
                assert_eq!(events.next().unwrap().unwrap().name(), "SHUTDOWN");
            }
            if let Some(seen) = seen {
                seen.send(()).unwrap();
            }
            test(quitting.join().unwrap());
        });
        assert_eq!(client.closed(), CloseReason::Quit);
        server.join();
    }
}

#[test]
fn c12_shutdown_stands_for_the_reply_that_does_not_come() {
    ends_without_a_reply(true, |outcome| assert_eq!(outcome, Ok(())));
}

#[test]
fn c12_without_shutdown_it_is_not_known_whether_quit_ran() {
    let unanswered = Error::Unanswered(CloseReason::Quit);
    ends_without_a_reply(false, |outcome| assert_eq!(outcome, Err(unanswered.clone())));
}

/// A machine that is shut down before is not what `quit` did.
#[test]
fn c12_an_earlier_shutdown_stands_for_nothing() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        peer.event("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#);
        let stop = peer.expect("stop");
        peer.reply(&stop, "{}");
        peer.expect("quit");
    });
    let client = from_stream(socket).unwrap();
    run(&client, "stop").unwrap();
    let outcome = client.execute(&Quit).map(|_| ());
    assert_eq!(outcome, Err(Error::Unanswered(CloseReason::Quit)));
    script.join();
}

#[test]
fn c12_what_waits_behind_quit_is_never_sent() {
    let (quitting, may_reply) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let quit = peer.expect("quit");
        may_reply.recv_timeout(PATIENCE).unwrap();
        peer.reply(&quit, "{}");
        peer.finish_sending();
        assert_eq!(peer.rest(), b"");
    });
    let client = from_stream(socket).unwrap();
    let outcomes = thread::scope(|scope| {
        let quit = scope.spawn(|| client.execute(&Quit).map(|_| ()));
        wait_until_sent(&client);
        let not_sent = run(&client.with_timeout(Duration::ZERO), "withdrawn");
        assert_eq!(not_sent, Err(Error::TimedOut { sent: false }));
        let queued: Vec<_> = (0..3).map(|_| scope.spawn(|| run(&client, "queued"))).collect();
        quitting.send(()).unwrap();
        assert_eq!(quit.join().unwrap(), Ok(()));
        queued.into_iter().map(|thread| thread.join().unwrap().unwrap_err()).collect::<Vec<_>>()
    });
    for error in outcomes {
        let reason = match &error {
            Error::NotSent(reason) => reason,
            // One that came too late even to wait.
            Error::Refused(qmp_blocking::Refusal::Closed(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(*reason, CloseReason::Quit);
    }
    script.join();
}

fn wait_until_sent(client: &Client) {
    while client.wait_idle(Duration::ZERO).is_ok() {
        thread::yield_now();
    }
}

#[test]
fn c12_after_a_refused_quit_it_goes_on() {
    let (quitting, may_refuse) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let quit = peer.expect("quit");
        may_refuse.recv_timeout(PATIENCE).unwrap();
        peer.fail(&quit, "GenericError", "not now");
        for _ in 0..2 {
            let queued = peer.expect("queued");
            peer.reply(&queued, "{}");
        }
        let quit = peer.expect("quit");
        peer.reply(&quit, "{}");
    });
    let client = from_stream(socket).unwrap();
    thread::scope(|scope| {
        let quit = scope.spawn(|| client.execute(&Quit));
        wait_until_sent(&client);
        let queued = scope.spawn(|| run(&client, "queued"));
        quitting.send(()).unwrap();
        assert!(matches!(quit.join().unwrap(), Err(Error::Command(_))));
        queued.join().unwrap().unwrap();
    });
    run(&client, "queued").unwrap();
    client.execute(&Quit).unwrap();
    assert_eq!(client.closed(), CloseReason::Quit);
    script.join();
}

#[test]
fn c12_a_withdrawn_quit_changes_nothing() {
    let (withdrawn, may_answer) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let slow = peer.expect("slow");
        may_answer.recv_timeout(PATIENCE).unwrap();
        peer.reply(&slow, "{}");
        assert_eq!(peer.serve(), ["stop"]);
    });
    let client = Builder::new().window(1).from_stream(socket).unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| run(&client, "slow"));
        wait_until_sent(&client);
        let quit = client.with_timeout(Duration::ZERO).execute(&Quit).map(|_| ());
        assert_eq!(quit, Err(Error::TimedOut { sent: false }));
        withdrawn.send(()).unwrap();
        slow.join().unwrap().unwrap();
    });
    run(&client, "stop").unwrap();
    drop(client);
    script.join();
}
