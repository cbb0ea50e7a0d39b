//! Commands that nobody waits for: each callback is called once, with what became of its command.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::commands::{Cont, QueryName, QueryStatus, RunState};
use qmp_blocking::guest_commands::GuestPing;
use qmp_blocking::{
    Builder, CloseReason, CommandError, Dialect, Error, ErrorClass, Raw, Refusal, Request,
};
use qmp_tests::calls::{Calls, Gate, client, client_with, machine};
use qmp_tests::scripted::{PATIENCE, Peer, pair, run};

fn eof() -> CloseReason {
    CloseReason::Eof { mid_message: false }
}

#[test]
fn a_submitted_command_is_answered_while_nobody_waits() {
    let client = machine(&Builder::new());
    let (callback, statuses) = Calls::new();
    client.submit(&QueryStatus, callback).unwrap();
    assert_eq!(statuses.next().unwrap().status, RunState::Prelaunch);
    statuses.over();
}

/// The question with which a guest agent's session begins is lost with an agent that is killed. The background
/// thread asks again, with an id and without one.
#[test]
fn c23_a_submitted_command_is_sent_though_a_question_is_lost() {
    let number = |peer: &mut Peer| peer.expect("guest-sync-delimited").arguments["id"].to_string();
    let answer = |number: &str| [b"\xff{\"return\": ", number.as_bytes(), b"}\n"].concat();
    let (socket, script) = pair(move |peer| {
        let first = number(peer);
        peer.send(answer(&first));
        peer.expect("guest-ping");
        let lost = number(peer);
        let again = [number(peer), number(peer)];
        assert!(!again.contains(&lost));
        peer.send(again.map(|number| answer(&number)).concat());
        let ping = peer.expect("guest-ping");
        peer.reply(&ping, "{}");
        peer.expect_eof();
    });
    let client = Builder::new().dialect(Dialect::GuestAgent).from_stream(socket).unwrap();
    let (callback, outcomes) = Calls::new();
    let hasty = client.with_timeout(Duration::from_millis(50));
    hasty.submit(&GuestPing, callback.clone()).unwrap();
    assert_eq!(outcomes.next().map(drop), Err(Error::TimedOut { sent: true }));
    client.submit(&GuestPing, callback).unwrap();
    assert_eq!(outcomes.next().map(drop), Ok(()));
    outcomes.over();
    drop((client, hasty));
    script.join();
}

#[test]
fn queries_go_by_their_names_with_and_without_the_prefix() {
    let client = machine(&Builder::new());
    let (callback, raws) = Calls::new();
    client.query_then("status", callback.clone()).unwrap();
    client.query_then("query-status", callback).unwrap();
    for raw in raws.take(2) {
        assert_eq!(raw, client.query("status"));
        assert_eq!(raw, client.query("query-status"));
    }
    raws.over();
}

#[test]
fn what_nobody_has_a_callback_for_is_executed_all_the_same() {
    let client = machine(&Builder::new());
    client.submit(&Cont, drop).unwrap();
    client.query_then("version", drop).unwrap();
    client.wait_idle(PATIENCE).unwrap();
    assert_eq!(client.execute(&QueryStatus).unwrap().status, RunState::Running);
}

#[test]
fn c17_errors_of_every_kind_come_to_the_callback() {
    let (client, script) = client(|peer| {
        let bad = peer.expect("bad");
        peer.fail(&bad, "DeviceNotFound", "no such device");
        let name = peer.expect("query-name");
        peer.reply(&name, "17");
        peer.expect("query-name");
    });
    let (callback, raws) = Calls::new();
    client.submit_request(Request::new("bad"), callback).unwrap();
    let error = CommandError::new(ErrorClass::DeviceNotFound, "no such device");
    assert_eq!(raws.next(), Err(Error::Command(error)));
    raws.over();
    let (callback, names) = Calls::new();
    client.submit(&QueryName, callback.clone()).unwrap();
    assert!(matches!(names.next(), Err(Error::Decode(_))));
    client.submit(&QueryName, callback).unwrap();
    assert_eq!(names.next(), Err(Error::Unanswered(eof())));
    names.over();
    script.join();
    let (callback, refused) = Calls::new();
    let closed = Error::Refused(Refusal::Closed(eof()));
    assert_eq!(client.submit(&QueryName, callback), Err(closed));
    refused.over();
}

#[test]
fn c17_when_the_last_client_goes_each_callback_is_called_once() {
    let (client, script) = client_with(&Builder::new().window(2), |peer| {
        peer.commands(2);
        peer.expect_eof();
    });
    let (callback, outcomes) = Calls::new();
    for _ in 0..5 {
        client.submit_request(Request::new("stop"), callback.clone()).unwrap();
    }
    drop((callback, client));
    let mut outcomes_by_kind = [0, 0];
    for outcome in outcomes.take(5) {
        match outcome {
            Err(Error::Unanswered(CloseReason::Requested)) => outcomes_by_kind[0] += 1,
            Err(Error::NotSent(CloseReason::Requested)) => outcomes_by_kind[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(outcomes_by_kind, [2, 3]);
    outcomes.over();
    script.join();
}

#[test]
fn c18_submitted_commands_keep_no_connection_alive() {
    let (gate, wait) = Gate::new();
    let (client, script) = client(|peer| {
        peer.expect("slow");
        peer.expect_eof();
    });
    let (callback, outcomes) = Calls::new();
    client
        .submit_request(Request::new("slow"), move |outcome| {
            // Still at it while the connection has to end.
            wait();
            callback(outcome);
        })
        .unwrap();
    drop(client);
    script.join();
    gate.open();
    assert_eq!(outcomes.next(), Err(Error::Unanswered(CloseReason::Requested)));
    outcomes.over();
}

#[test]
fn a_submitted_command_has_its_deadline_too() {
    let (timed_out, has_timed_out) = mpsc::channel();
    let (client, script) = client_with(&Builder::new().window(1), move |peer| {
        let slow = peer.expect("slow");
        has_timed_out.recv_timeout(PATIENCE).expect("the callbacks are called meanwhile");
        peer.reply(&slow, "\"late\"");
        let next = peer.expect("next");
        peer.reply(&next, "\"yours\"");
        peer.expect_eof();
    });
    let hasty = client.with_timeout(Duration::from_millis(30));
    let (callback, outcomes) = Calls::new();
    let start = Instant::now();
    hasty.submit_request(Request::new("slow"), callback.clone()).unwrap();
    assert_eq!(outcomes.next(), Err(Error::TimedOut { sent: true }));
    assert!(start.elapsed() >= Duration::from_millis(30));
    // It waits behind the first, so it is never sent.
    hasty.submit_request(Request::new("queued"), callback.clone()).unwrap();
    assert_eq!(outcomes.next(), Err(Error::TimedOut { sent: false }));
    let at_once = client.with_timeout(Duration::ZERO);
    at_once.submit_request(Request::new("queued"), callback.clone()).unwrap();
    assert_eq!(outcomes.next(), Err(Error::TimedOut { sent: false }));
    timed_out.send(()).unwrap();
    let patient = client.with_timeout(Duration::MAX);
    patient.submit_request(Request::new("next"), callback).unwrap();
    assert_eq!(outcomes.next().unwrap().as_str(), Ok("\"yours\""));
    outcomes.over();
    drop((client, hasty, at_once, patient));
    script.join();
}

/// The deadlines do not come in the order of the commands.
#[test]
fn many_deadlines_are_each_kept() {
    let (client, script) = client(|peer| {
        peer.commands(40);
        peer.expect_eof();
    });
    let (callback, late) = Calls::new();
    for number in 0..40 {
        let timeout = Duration::from_millis(20 + 37 * number % 60);
        let (start, callback) = (Instant::now(), callback.clone());
        client
            .with_timeout(timeout)
            .submit_request(Request::new("slow"), move |outcome| {
                assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
                callback(start.elapsed() >= timeout);
            })
            .unwrap();
    }
    assert_eq!(late.take(40), [true; 40]);
    drop(client);
    script.join();
}

/// Replies come in another order than the commands, and find their callbacks.
#[test]
fn c13_replies_find_their_callbacks_whoever_reads_them() {
    const COMMANDS: usize = 300;
    let (client, script) = client(|peer| {
        let mut held = Vec::new();
        for _ in 0..COMMANDS {
            held.push(peer.command());
            // Whoever waits may be the only one that sends.
            if held.len() == 5 || held.last().is_some_and(|last| last.name == "awaited") {
                for command in held.drain(..).rev() {
                    peer.reply(&command, &command.arguments["number"].to_string());
                }
            }
        }
        for command in held {
            peer.reply(&command, &command.arguments["number"].to_string());
        }
        peer.expect_eof();
    });
    let (callback, numbers) = Calls::new();
    thread::scope(|scope| {
        for thread in 0..3 {
            let (client, callback) = (client.clone(), callback.clone());
            scope.spawn(move || {
                for number in (0..COMMANDS).filter(|number| number % 3 == thread) {
                    let is_awaited = number % 10 < 3;
                    let name = if is_awaited { "awaited" } else { "submitted" };
                    let arguments = serde_json::json!({ "number": number });
                    let request = Request::new(name).arguments(arguments);
                    // Those that wait read for the others.
                    if is_awaited {
                        let raw = client.execute_request(request).unwrap();
                        assert_eq!(raw.parse::<usize>(), Ok(number));
                    } else {
                        let callback = callback.clone();
                        let told = move |raw: Result<Raw, Error>| {
                            callback((number, raw.unwrap().parse::<usize>().unwrap()));
                        };
                        client.submit_request(request, told).unwrap();
                    }
                }
            });
        }
    });
    client.wait_idle(PATIENCE).unwrap();
    for _ in 0..COMMANDS / 10 * 7 {
        let (asked, told) = numbers.next();
        assert_eq!(asked, told);
    }
    numbers.none_yet();
    drop(client);
    script.join();
}

#[test]
fn unfinished_commands_are_bounded_and_more_are_refused() {
    let builder = Builder::new().max_queued(3, usize::MAX).callback_threads(1);
    let client = machine(&builder);
    let (gate, wait) = Gate::new();
    let (callback, outcomes) = Calls::new();
    let first = callback.clone();
    client
        .query_then("status", move |outcome| {
            wait();
            first(outcome.is_ok());
        })
        .unwrap();
    for _ in 0..2 {
        let callback = callback.clone();
        client.query_then("status", move |outcome| callback(outcome.is_ok())).unwrap();
    }
    // All replies have come: it is the callbacks that are owed.
    while client.execute(&QueryStatus).is_err() {
        thread::yield_now();
    }
    assert_eq!(client.query_then("status", drop), Err(Error::Refused(Refusal::QueueFull)));
    outcomes.none_yet();
    gate.open();
    client.wait_idle(PATIENCE).unwrap();
    client.query_then("status", move |outcome| callback(outcome.is_ok())).unwrap();
    assert_eq!(outcomes.take(4), [true; 4]);
    outcomes.over();
}

/// While others wait for replies, and while none does, whoever reads.
#[test]
fn c17_every_callback_is_called_exactly_once_in_any_mixture() {
    const ROUNDS: usize = 400;
    let client = machine(&Builder::new().callback_threads(3));
    let called = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (client, called) = (&client, &called);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    if (round + thread) % 3 == 0 {
                        run(client, "query-status").unwrap();
                    }
                    let called = called.clone();
                    let count = move |outcome: Result<Raw, Error>| {
                        outcome.unwrap();
                        called.fetch_add(1, Ordering::SeqCst);
                    };
                    client.query_then("status", count).unwrap();
                    if round % 7 == thread {
                        client.wait_idle(PATIENCE).unwrap();
                    }
                }
            });
        }
    });
    client.wait_idle(PATIENCE).unwrap();
    assert_eq!(called.load(Ordering::SeqCst), 4 * ROUNDS);
}

#[test]
fn c11_a_submitted_command_may_carry_a_descriptor_or_go_out_of_band() {
    let (client, script) = client_with(&Builder::new().oob(true), |peer| {
        let getfd = peer.expect("getfd");
        assert_eq!(getfd.descriptors.len(), 1);
        let yank = peer.expect("yank");
        assert!(yank.out_of_band && yank.descriptors.is_empty());
        peer.reply(&yank, "\"yank\"");
        peer.reply(&getfd, "\"getfd\"");
        peer.expect_eof();
    });
    let (callback, outcomes) = Calls::new();
    let descriptor = File::open("/dev/null").unwrap().into();
    let getfd = Request::new("getfd").descriptor(descriptor);
    client.submit_request(getfd, callback.clone()).unwrap();
    let yank = Request::new("yank").out_of_band();
    client.submit_request(yank, callback).unwrap();
    let told = outcomes.take(2).into_iter().map(|outcome| outcome.unwrap().parse().unwrap());
    // On two threads, in either order.
    let told: BTreeSet<String> = told.collect();
    assert_eq!(told, ["getfd", "yank"].map(str::to_owned).into());
    drop(client);
    script.join();
}
