//! Commands that a thread starts now and waits for later.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::time::{Duration, Instant};

use qmp_blocking::commands::{QueryStatus, QueryVersion, RunState};
use qmp_blocking::{Builder, CloseReason, Error, Request};
use qmp_tests::calls::{client, client_with, machine};
use qmp_tests::scripted::PATIENCE;

/// How many are outstanding at once.
const MANY: usize = 64;

#[test]
fn c13_one_thread_has_many_outstanding_and_waits_in_any_order() {
    let client = machine(&Builder::new());
    for backwards in [false, true] {
        let mut started: Vec<_> = (0..MANY)
            .map(|number| match number % 2 {
                0 => (number, client.start_request(Request::query("version")).unwrap()),
                _ => (number, client.start_request(Request::query("status")).unwrap()),
            })
            .collect();
        if backwards {
            started.reverse();
        }
        for (number, command) in started {
            let raw = command.wait().unwrap();
            let is_status = raw.as_str().unwrap().contains("running");
            assert_eq!(is_status, number % 2 == 1, "{number}: {raw:?}");
        }
    }
    assert_eq!(client.start(&QueryStatus).unwrap().wait().unwrap().status, RunState::Prelaunch);
}

#[test]
fn c10_with_a_window_they_are_waited_for_in_any_order_too() {
    let client = machine(&Builder::new().window(2));
    let mut started: Vec<_> = (0..MANY).map(|_| client.start(&QueryVersion).unwrap()).collect();
    let last = started.pop().unwrap();
    last.wait().unwrap();
    assert!(started.into_iter().all(|command| command.wait().is_ok()));
}

/// They are put off to be sent together. Where nobody waits for them, they are sent all the same.
#[test]
fn who_does_not_wait_has_them_sent_too() {
    let (client, script) = client(|peer| {
        // The first is not answered, so no reply brings the others along.
        let commands = peer.commands(4);
        for command in &commands {
            peer.reply(command, "{}");
        }
        peer.expect_eof();
    });
    let mut started: Vec<_> =
        (0..4).map(|_| client.start_request(Request::new("stop")).unwrap()).collect();
    let start = Instant::now();
    while !started.iter_mut().all(|command| command.is_finished()) {
        assert!(start.elapsed() < PATIENCE, "they are not sent, or their replies not read");
        std::thread::yield_now();
    }
    for command in started {
        command.wait().unwrap();
    }
    drop(client);
    script.join();
}

#[test]
fn c08_one_that_is_dropped_unsent_is_withdrawn_and_those_behind_it_are_sent() {
    let (client, script) = client_with(&Builder::new().window(1), |peer| {
        let first = peer.expect("first");
        peer.reply(&first, "1");
        let third = peer.expect("third");
        peer.reply(&third, "3");
        peer.expect_eof();
    });
    let start = |name| client.start_request(Request::new(name)).unwrap();
    let (first, second, third) = (start("first"), start("second"), start("third"));
    drop(second);
    assert_eq!(third.wait().unwrap().as_str(), Ok("3"));
    assert_eq!(first.wait().unwrap().as_str(), Ok("1"));
    drop(client);
    script.join();
}

#[test]
fn the_timeout_counts_from_the_start() {
    let (client, script) = client(|peer| {
        let slow = peer.expect("slow");
        let next = peer.expect("next");
        peer.reply(&slow, "1");
        peer.reply(&next, "2");
        peer.expect_eof();
    });
    let mut slow =
        client.with_timeout(Duration::from_millis(5)).start_request(Request::new("slow")).unwrap();
    let start = Instant::now();
    while !slow.is_finished() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert_eq!(slow.wait(), Err(Error::TimedOut { sent: true }));
    let next = client.start_request(Request::new("next")).unwrap();
    assert_eq!(next.wait().unwrap().as_str(), Ok("2"));
    drop(client);
    script.join();
}

#[test]
fn c17_they_end_with_the_connection() {
    let (client, script) = client_with(&Builder::new().window(1), |peer| {
        peer.expect("first");
    });
    let [first, second] =
        ["first", "second"].map(|name| client.start_request(Request::new(name)).unwrap());
    script.join();
    let eof = CloseReason::Eof { mid_message: false };
    assert_eq!(second.wait(), Err(Error::NotSent(eof.clone())));
    assert_eq!(first.wait(), Err(Error::Unanswered(eof)));
}

#[test]
fn c18_they_are_handles() {
    let (client, script) = client(|peer| {
        let command = peer.expect("stop");
        peer.reply(&command, "{}");
        peer.expect_eof();
    });
    let started = client.start_request(Request::new("stop")).unwrap();
    drop(client);
    assert_eq!(started.wait().unwrap().as_str(), Ok("{}"));
    script.join();
}

/// To be put off is not to be lost: what the window admits has been sent when the socket is closed.
#[test]
fn c18_what_was_put_off_is_sent_before_the_end() {
    for close in [false, true] {
        let (client, script) = client(|peer| {
            peer.commands(3);
            peer.expect_eof();
        });
        for _ in 0..3 {
            client.submit_request(Request::new("stop"), drop).unwrap();
        }
        if close {
            assert_eq!(client.close(Duration::ZERO), Err(Error::StillBusy));
        }
        drop(client);
        script.join();
    }
}
