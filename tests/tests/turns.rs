//! Who waits, reads: whichever thread that is, everybody gets what is theirs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::{Builder, CloseReason, Error, Refusal, from_stream};
use qmp_tests::scripted::{PATIENCE, Random, event_text, pair, run};

const SHORT: Duration = Duration::from_millis(2);

#[test]
fn events_flow_while_nobody_calls() {
    let (sent, all_sent) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        // Far more than the sockets hold.
        let data = format!("{{\"text\": \"{}\"}}", "x".repeat(10_000));
        (0..1_000).for_each(|_| peer.event("FLOOD", &data));
        sent.send(()).unwrap();
        // What the client had not read yet makes a reset of its end.
        peer.serve();
    });
    let client = from_stream(socket).unwrap();
    all_sent.recv_timeout(PATIENCE).expect("somebody reads");
    drop(client);
    script.join();
}

/// The reply of the one may be read by the other at any moment, also just before it would read
/// itself.
#[test]
fn c13_two_threads_in_step_never_miss_their_replies() {
    const ROUNDS: usize = 2_000;
    let (socket, script) = pair(|peer| {
        peer.greet();
        assert_eq!(peer.serve().len(), 2 * ROUNDS);
    });
    let client = from_stream(socket).unwrap();
    let together = Barrier::new(2);
    thread::scope(|scope| {
        for seed in [1, 2] {
            let (client, together) = (&client, &together);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..ROUNDS {
                    together.wait();
                    (0..random.below(500)).for_each(|_| std::hint::spin_loop());
                    run(client, "stop").unwrap();
                }
            });
        }
    });
    drop(client);
    script.join();
}

/// Several wait, one of them reads, and its reply comes first, last or in between, alone or in one
/// piece with others: when it leaves, another has to go on reading, and not one that leaves too.
#[test]
fn c13_whoever_leaves_first_another_goes_on_reading() {
    const ROUNDS: usize = 300;
    const THREADS: usize = 4;
    let (returned, has_returned) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let mut random = Random::new(3);
        for _ in 0..ROUNDS {
            let mut commands = peer.commands(THREADS);
            while !commands.is_empty() {
                let together = 1 + random.below(commands.len() as u64);
                let pick = |_| {
                    let at = random.below(commands.len() as u64) as usize;
                    commands.swap_remove(at).success("{}")
                };
                peer.send((0..together).map(pick).collect::<String>());
                // Only when their threads have left come the next replies.
                for _ in 0..together {
                    has_returned.recv_timeout(PATIENCE).expect("a reply that is told");
                }
            }
        }
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    let together = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (client, together, returned) = (&client, &together, returned.clone());
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    together.wait();
                    run(client, "stop").unwrap();
                    returned.send(()).unwrap();
                }
            });
        }
    });
    drop(client);
    script.join();
}

#[test]
fn c8_timeouts_while_another_thread_reads() {
    const TIMEOUTS: usize = 50;
    let (timed_out, all_timed_out) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let patient = peer.expect("patient");
        all_timed_out.recv_timeout(PATIENCE).unwrap();
        // Late replies, which nobody waits for.
        for _ in 0..TIMEOUTS {
            let hasty = peer.expect("hasty");
            peer.reply(&hasty, "\"late\"");
        }
        peer.reply(&patient, "\"yours\"");
        let next = peer.expect("next");
        peer.reply(&next, "\"next\"");
        peer.expect_eof();
    });
    // Every command may be in flight.
    let client = Builder::new().window(TIMEOUTS + 2).from_stream(socket).unwrap();
    thread::scope(|scope| {
        let patient = scope.spawn(|| run(&client, "patient"));
        // The patient's is the first on the wire, and mostly the reader by now.
        while client.wait_idle(Duration::ZERO).is_ok() && !patient.is_finished() {
            thread::yield_now();
        }
        let hasty = client.with_timeout(SHORT);
        for _ in 0..TIMEOUTS {
            assert_eq!(run(&hasty, "hasty"), Err(Error::TimedOut { sent: true }));
        }
        timed_out.send(()).unwrap();
        assert_eq!(patient.join().unwrap().unwrap().as_str(), Ok("\"yours\""));
    });
    assert_eq!(run(&client, "next").unwrap().as_str(), Ok("\"next\""));
    drop(client);
    script.join();
}

/// The reader's deadline is a limit of the socket's while it reads; who reads next has another.
#[test]
fn deadlines_are_each_threads_own() {
    let (all_timed_out, wait_for_all) = mpsc::channel::<()>();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let mut patient = None;
        for command in peer.commands(5) {
            if command.name == "patient" {
                patient = Some(command);
            }
        }
        let _ = wait_for_all.recv_timeout(PATIENCE);
        peer.reply(&patient.expect("the patient one"), "{}");
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        let mut hasty = Vec::new();
        for milliseconds in [40, 20, 1, 80] {
            let client = client.with_timeout(Duration::from_millis(milliseconds));
            hasty.push(scope.spawn(move || run(&client, "hasty")));
        }
        let patient = scope.spawn(|| run(&client, "patient"));
        for thread in hasty {
            assert_eq!(thread.join().unwrap(), Err(Error::TimedOut { sent: true }));
        }
        assert!(start.elapsed() < PATIENCE, "a deadline was not kept");
        drop(all_timed_out);
        patient.join().unwrap().unwrap();
    });
    drop(client);
    script.join();
}

#[test]
fn timeouts_of_any_length_are_taken() {
    let (socket, script) = pair(|peer| {
        peer.greet();
        assert_eq!(peer.serve().len(), 5);
    });
    let client = from_stream(socket).unwrap();
    for timeout in [Duration::MAX, Duration::from_secs(u64::MAX / 4), Duration::from_secs(1 << 40)]
    {
        run(&client.with_timeout(timeout), "stop").unwrap();
        client.wait_idle(timeout).unwrap();
    }
    run(&client.with_timeout(None), "stop").unwrap();
    let at_once = run(&client.with_timeout(Duration::ZERO), "stop");
    assert!(matches!(at_once, Ok(_) | Err(Error::TimedOut { sent: true })), "{at_once:?}");
    client.wait_idle(Duration::MAX).unwrap();
    assert_eq!(client.close(Duration::MAX), Ok(()));
    script.join();
}

#[test]
fn c19_another_thread_closes_while_one_reads() {
    let (sent, is_sent) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        peer.expect("stop");
        sent.send(()).unwrap();
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&client, "stop"));
        is_sent.recv_timeout(PATIENCE).unwrap();
        assert_eq!(client.close(SHORT), Err(Error::StillBusy));
        assert_eq!(waiting.join().unwrap(), Err(Error::Unanswered(CloseReason::Requested)));
    });
    script.join();
}

/// Nothing comes from the server that could wake a thread which reads: what another thread does has
/// to be enough.
#[test]
fn c19_a_command_that_waits_ends_when_another_thread_closes() {
    let (sent, is_sent) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let (socket, script) = pair(move |peer| {
        peer.greet();
        let slow = peer.expect("slow");
        sent.send(()).unwrap();
        has_ended.recv_timeout(PATIENCE).expect("the command that waits ends first");
        peer.reply(&slow, "\"late\"");
        peer.expect_eof();
    });
    let client = Builder::new().window(1).max_queued(2, usize::MAX).from_stream(socket).unwrap();
    thread::scope(|scope| {
        let slow = scope.spawn(|| run(&client.with_timeout(Duration::from_millis(20)), "slow"));
        is_sent.recv_timeout(PATIENCE).unwrap();
        let queued = scope.spawn(|| {
            let outcome = loop {
                match run(&client, "queued") {
                    // The place is taken by what the test itself tries.
                    Err(Error::Refused(Refusal::QueueFull)) => thread::yield_now(),
                    outcome => break outcome,
                }
            };
            ended.send(()).unwrap();
            outcome
        });
        // Until the queued one has the last place.
        let hasty = client.with_timeout(Duration::ZERO);
        while run(&hasty, "hasty") != Err(Error::Refused(Refusal::QueueFull)) {
            thread::yield_now();
        }
        // When this one leaves, the queued one is alone with the socket.
        assert_eq!(slow.join().unwrap(), Err(Error::TimedOut { sent: true }));
        let close = scope.spawn(|| client.close(Duration::from_secs(10)));
        assert_eq!(queued.join().unwrap(), Err(Error::NotSent(CloseReason::Requested)));
        assert_eq!(close.join().unwrap(), Ok(()), "the reply owed has come in time");
    });
    script.join();
}

/// The last command that waits is given up by its thread, while another waits for idleness.
#[test]
fn c16_idleness_is_told_when_another_thread_brings_it_about() {
    for commands in 1..=3 {
        let (idle, is_idle) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let quit = peer.expect("quit");
            peer.reply(&quit, "{}");
            // Nothing comes any more, the end neither.
            is_idle.recv_timeout(PATIENCE).expect("it is idle, and that is told");
            assert!(peer.rest().is_empty(), "something was sent behind quit");
        });
        let client = from_stream(socket).unwrap();
        run(&client, "quit").unwrap();
        thread::scope(|scope| {
            // What comes behind quit waits, and is given up one after the other.
            let client = &client;
            let timeouts = (1..=commands).map(|number| Duration::from_millis(30 * number));
            let waiting: Vec<_> = timeouts
                .map(|timeout| scope.spawn(move || run(&client.with_timeout(timeout), "late")))
                .collect();
            let waits = scope.spawn(move || {
                // It is not idle when it begins to wait, unless the machine is slow.
                while client.wait_idle(Duration::ZERO).is_ok()
                    && waiting.iter().any(|thread| !thread.is_finished())
                {
                    thread::yield_now();
                }
                let outcome = client.wait_idle(None);
                idle.send(()).unwrap();
                (outcome, waiting)
            });
            let (outcome, waiting) = waits.join().unwrap();
            assert_eq!(outcome, Ok(()));
            for thread in waiting {
                assert_eq!(thread.join().unwrap(), Err(Error::TimedOut { sent: false }));
            }
        });
        drop(client);
        script.join();
    }
}

/// Everything at once, in an order that nobody planned: commands with and without timeouts, events,
/// waits for idleness, subscribers that come and go.
#[test]
fn nobody_waits_for_ever_whatever_the_others_do() {
    const ROUNDS: u64 = 150;
    const THREADS: u64 = 6;
    let (socket, script) = pair(|peer| {
        peer.greet();
        let mut random = Random::new(4);
        let mut held = Vec::new();
        while let Some(command) = peer.try_command() {
            held.push(command);
            // In the end the client may be gone.
            if random.below(3) == 0 {
                peer.try_send(event_text("NOISE", "{}"));
            }
            // What is held is held for as long as others go on to send: never the last one.
            while held.len() > 1 || (held.len() == 1 && held[0].name == "patient") {
                let at = random.below(held.len() as u64) as usize;
                peer.try_send(held.swap_remove(at).success("{}"));
            }
        }
    });
    let client = from_stream(socket).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let client = &client;
            scope.spawn(move || {
                let mut random = Random::new(thread + 10);
                let mut events = client.events();
                for _ in 0..ROUNDS {
                    let short = Duration::from_micros(random.below(300));
                    match random.below(6) {
                        0 => drop(run(&client.with_timeout(short), "hasty")),
                        1 => drop(events.next_timeout(short)),
                        2 => drop(client.wait_idle(short)),
                        3 => events = client.events(),
                        _ => drop(run(client, "patient").unwrap()),
                    }
                }
            });
        }
    });
    drop(client);
    script.join();
}
