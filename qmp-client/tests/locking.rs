//! The races of the shared connection, with shuttle in the place of std's locks: it tries many orders in which the tasks
//! may run, and finds a wait that nothing ends.
//!
//! ```sh
//! make shuttle
//! ```
#![cfg(qmp_shuttle)]
#![allow(missing_docs, reason = "a test")]

use std::future::Future;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::{FutureExt, StreamExt};
use qmp_client::asynchronous::{Client, Driver, Events};
use qmp_client::{Error, Lagged};
use qmp_proto::commands::{Cont, QueryStatus, RunState, Stop};
use qmp_proto::{CloseReason, Event, IoFailure, Refusal};
use qmp_server::Machine;
use shuttle::future::{JoinHandle, block_on, spawn};
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicBool, Ordering};

use support::{Builder, Wire};

mod support;

/// So many orders are tried of each test.
const ORDERS: usize = 2_000;
const LONG: Duration = Duration::from_secs(1);

/// Runs a test in many orders, some at random and some with few switches of tasks: over a wire from which
/// the driver alone receives, and over one from which callers do too. It takes so many bytes at once.
fn check_with_room(room: usize, test: impl Fn(Wire) + Send + Sync + Clone + 'static) {
    for shared in [false, true] {
        let test = test.clone();
        let test = move || {
            let wire = Wire::with_room(room);
            test(if shared { wire.shared() } else { wire });
        };
        shuttle::check_random(test.clone(), ORDERS);
        shuttle::check_pct(test, ORDERS, 3);
    }
}

fn check(test: impl Fn(Wire) + Send + Sync + Clone + 'static) {
    check_with_room(usize::MAX, test);
}

/// A client that is connected to a machine, whose driver is not spawned yet.
async fn connected(wire: &Wire) -> (Client, Events, Driver, JoinHandle<()>) {
    let served = spawn(wire.clone().serve(Machine::new()));
    let connected = Builder::new().from_transport_with_driver(wire.clone()).await;
    let (client, events, driver) = connected.unwrap();
    (client, events, driver, served)
}

/// A client that is connected to a machine, and its driver.
async fn driven(wire: &Wire) -> (Client, Events, JoinHandle<CloseReason>, JoinHandle<()>) {
    let (client, events, driver, served) = connected(wire).await;
    (client, events, spawn(driver), served)
}

#[test]
fn c13_callers_in_any_order_get_their_replies() {
    // So little room that every command is sent in pieces.
    check_with_room(40, |wire| {
        block_on(async {
            let (client, events, driver, served) = driven(&wire).await;
            drop(events);
            let callers = [0; 3].map(|_| {
                let client = client.clone();
                spawn(async move {
                    client.execute(&Stop).await.unwrap();
                    assert_eq!(
                        client.execute(&QueryStatus).await.unwrap().status,
                        RunState::Prelaunch
                    );
                })
            });
            for caller in callers {
                caller.await.unwrap();
            }
            client.wait_idle(None).await.unwrap();
            drop(client);
            assert_eq!(driver.await.unwrap(), CloseReason::Requested);
            served.await.unwrap();
        });
    });
}

/// The server answers only when it has got them all: nothing but the callers wakes the driver.
#[test]
fn c13_a_command_beside_an_unanswered_one_is_sent() {
    check(|wire| {
        block_on(async {
            let served = spawn(wire.clone().answer_together(3));
            let connected = Builder::new().from_transport_with_driver(wire).await;
            let (client, _, driver) = connected.unwrap();
            let driver = spawn(driver);
            let callers = [0; 3].map(|_| {
                let client = client.clone();
                spawn(async move { client.execute(&Stop).await.map(|_| ()) })
            });
            drop(client);
            for caller in callers {
                caller.await.unwrap().unwrap();
            }
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

#[test]
fn c19_execute_against_close() {
    check(|wire| {
        block_on(async {
            let (client, _, driver, served) = driven(&wire).await;
            let other = client.clone();
            let caller = spawn(async move {
                for _ in 0..2 {
                    match other.execute(&Stop).await {
                        Ok(_)
                        | Err(Error::NotSent(CloseReason::Requested))
                        | Err(Error::Refused(Refusal::Closing | Refusal::Closed(_))) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
            assert_eq!(client.close(LONG).await, Ok(()));
            caller.await.unwrap();
            assert_eq!(client.closed().await, CloseReason::Requested);
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

#[test]
fn c8_cancel_against_reply() {
    check(|wire| {
        block_on(async {
            let (client, _, driver, served) = driven(&wire).await;
            let other = client.clone();
            let caller = spawn(async move {
                let mut given_up = other.execute(&Cont);
                // Polled once, and dropped when it may have been sent, answered, or neither.
                let polled = poll_once(&mut given_up).await;
                shuttle::future::yield_now().await;
                drop(given_up);
                polled
            });
            assert!(client.execute(&QueryStatus).await.is_ok());
            caller.await.unwrap();
            client.wait_idle(None).await.unwrap();
            assert!(client.execute(&QueryStatus).await.is_ok());
            drop(client);
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

#[test]
fn c14_subscribe_against_event() {
    check(|wire| {
        block_on(async {
            let (client, _, driver, served) = driven(&wire).await;
            let other = client.clone();
            let subscriber = spawn(async move {
                let mut events = other.events();
                other.execute(&Stop).await.unwrap();
                let first: Result<Event, Lagged> = events.next().await.unwrap();
                // Which of them it is, the other task has its say in.
                assert!(["RESUME", "STOP"].contains(&first.unwrap().name()));
                drop(events);
            });
            let events = client.events();
            client.execute(&Cont).await.unwrap();
            subscriber.await.unwrap();
            drop(client);
            let all: Vec<_> = events.collect().await;
            assert!(!all.is_empty() && all.iter().all(Result::is_ok), "{all:?}");
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

#[test]
fn c15_a_watched_event_against_the_reply() {
    check(|wire| {
        block_on(async {
            let (client, _, driver, served) = driven(&wire).await;
            let other = client.clone();
            let noise = spawn(async move { other.execute(&QueryStatus).await.map(|_| ()) });
            let until = client.execute_until(&Cont, |event| event.name() == "RESUME");
            assert_eq!(until.await.unwrap().1.name(), "RESUME");
            noise.await.unwrap().unwrap();
            drop(client);
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

/// The event comes before the reply, so whoever has the reply finds that the matcher has run.
#[test]
fn c15_a_matcher_against_who_else_hands_out() {
    check(|wire| {
        block_on(async {
            let (client, _, driver, served) = driven(&wire).await;
            let seen = Arc::new(AtomicBool::new(false));
            let sees = seen.clone();
            let mut until = client.execute_until(&QueryStatus, move |event| {
                // Others may run meanwhile.
                shuttle::thread::yield_now();
                sees.fetch_or(event.name() == "RESUME", Ordering::SeqCst);
                event.name() == "RESUME"
            });
            assert!(poll_once(&mut until).await.is_none());
            let until = spawn(until);
            let other = client.clone();
            let other = spawn(async move {
                let mut given_up = other.execute(&Stop);
                poll_once(&mut given_up).await;
                shuttle::future::yield_now().await;
            });
            client.execute(&Cont).await.unwrap();
            assert!(seen.load(Ordering::SeqCst));
            until.await.unwrap().unwrap();
            other.await.unwrap();
            drop(client);
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

#[test]
fn c18_last_drop_against_driver() {
    check(|wire| {
        block_on(async {
            let (client, events, driver, served) = driven(&wire).await;
            let handles = [0; 2].map(|_| {
                let client = client.clone();
                spawn(async move { client.execute(&Cont).await.map(|_| ()) })
            });
            drop(client);
            let collector = spawn(events.collect::<Vec<_>>());
            for handle in handles {
                handle.await.unwrap().unwrap();
            }
            assert_eq!(driver.await.unwrap(), CloseReason::Requested);
            assert!(wire.is_shut());
            assert!(!collector.await.unwrap().is_empty());
            served.await.unwrap();
        });
    });
}

/// Everyone who waits learns it, whatever they wait for.
#[test]
fn c17_the_driver_dropped_against_everything() {
    check(|wire| {
        block_on(async {
            let (client, events, driver, served) = connected(&wire).await;
            let gone = CloseReason::Failed(IoFailure::DriverGone);
            let caller = client.clone();
            let caller = spawn(async move { caller.execute(&Stop).await.map(|_| ()) });
            let idle = client.clone();
            let idle = spawn(async move { idle.wait_idle(None).await });
            let closed = client.clone();
            let closed = spawn(async move { closed.closed().await });
            let collector = spawn(events.collect::<Vec<_>>());
            // It runs for a while, and is dropped.
            let while_it_runs = async { shuttle::future::yield_now().await };
            driver.map_to_unit().or(while_it_runs).await;
            match caller.await.unwrap() {
                Ok(()) => {}
                Err(
                    Error::NotSent(reason)
                    | Error::Unanswered(reason)
                    | Error::Refused(Refusal::Closed(reason)),
                ) => assert_eq!(reason, gone),
                Err(error) => panic!("{error:?}"),
            }
            idle.await.unwrap().unwrap();
            assert_eq!(closed.await.unwrap(), gone);
            collector.await.unwrap();
            drop(client);
            served.await.unwrap();
        });
    });
}

/// Each command is the only one, and the last one's caller never comes back to it.
#[test]
fn c13_a_caller_forgotten_against_all_others() {
    check(|wire| {
        block_on(async {
            let (client, events, driver, served) = driven(&wire).await;
            for _ in 0..2 {
                client.execute(&Stop).await.unwrap();
            }
            let mut forgotten = client.execute(&Cont);
            poll_once(&mut forgotten).await;
            let waits =
                spawn(async move { events.filter(|event| is(event, "RESUME")).next().await });
            let other = client.clone();
            let other = spawn(async move { other.execute(&QueryStatus).await.map(|_| ()) });
            assert!(waits.await.unwrap().is_some());
            other.await.unwrap().unwrap();
            drop((forgotten, client));
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

/// The window has room for one: whoever receives the reply sees that the next one is sent.
#[test]
fn c10_what_waits_for_the_window_is_sent() {
    check(|wire| {
        block_on(async {
            let served = spawn(wire.clone().serve(Machine::new()));
            let builder = Builder::new().window(1);
            let (client, _, driver) = builder.from_transport_with_driver(wire).await.unwrap();
            let driver = spawn(driver);
            let callers = [0; 3].map(|_| {
                let client = client.clone();
                spawn(async move {
                    for _ in 0..2 {
                        client.execute(&Stop).await.unwrap();
                    }
                })
            });
            drop(client);
            for caller in callers {
                caller.await.unwrap();
            }
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

/// Nobody executes anything meanwhile: the driver receives it.
#[test]
fn c14_an_event_after_a_lone_command() {
    check(|wire| {
        block_on(async {
            let (client, events, driver, served) = driven(&wire).await;
            client.execute(&QueryStatus).await.unwrap();
            wire.say(support::EVENT);
            let mut events = events.filter(|event| is(event, "GONE"));
            assert!(events.next().await.is_some());
            wire.end();
            assert!(matches!(client.closed().await, CloseReason::Eof { .. }));
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

/// The event follows a reply. Its delivery does not depend on the driver's patience, which may never end here.
#[test]
fn c14_an_awaited_event_against_lone_commands() {
    check(|wire| {
        block_on(async {
            let (client, events, driver, served) = driven(&wire).await;
            let waits = spawn(async move { events.filter(|event| is(event, "GONE")).next().await });
            for _ in 0..3 {
                client.execute(&QueryStatus).await.unwrap();
            }
            wire.say(support::EVENT);
            assert!(waits.await.unwrap().is_some());
            drop(client);
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

#[test]
fn c15_a_watched_event_against_lone_commands() {
    check(|wire| {
        block_on(async {
            let (client, _, driver, served) = driven(&wire).await;
            let until = client.execute_until(&Stop, |event| event.name() == "GONE");
            let until = spawn(until);
            for _ in 0..3 {
                client.execute(&QueryStatus).await.unwrap();
            }
            // An event before the command does not count.
            while !until.is_finished() {
                wire.say(support::EVENT);
                shuttle::future::yield_now().await;
            }
            until.await.unwrap().unwrap();
            drop(client);
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

#[test]
fn c17_the_awaited_end_against_lone_commands() {
    check(|wire| {
        block_on(async {
            let (client, _, driver, served) = driven(&wire).await;
            let other = client.clone();
            let closed = spawn(async move { other.closed().await });
            for _ in 0..3 {
                client.execute(&QueryStatus).await.unwrap();
            }
            wire.end();
            assert!(matches!(closed.await.unwrap(), CloseReason::Eof { .. }));
            drop(client);
            driver.await.unwrap();
            served.await.unwrap();
        });
    });
}

fn is(event: &Result<Event, Lagged>, name: &str) -> bool {
    event.as_ref().is_ok_and(|event| event.name() == name)
}

trait ToUnit: Future + Sized {
    async fn map_to_unit(self) {
        self.await;
    }
}

impl<F: Future> ToUnit for F {}
