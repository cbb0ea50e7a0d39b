//! A connection for the length of a function: it waits at its end, and closes however it is left.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use qmp_blocking::commands::{Cont, QueryStatus, Stop};
use qmp_blocking::{Builder, CloseReason, ConnectError, Error, Refusal, Request, scope};
use qmp_server::Machine;
use qmp_server::net::Server as MachineServer;
use qmp_tests::calls::Calls;
use qmp_tests::scripted::Server;

fn machine() -> MachineServer {
    MachineServer::bind("tcp:127.0.0.1:0", Machine::new()).unwrap()
}

#[test]
fn its_end_waits_for_commands_and_callbacks_and_closes() {
    let server = machine();
    let called = Arc::new(AtomicUsize::new(0));
    let count = || {
        let called = called.clone();
        move || {
            called.fetch_add(1, Ordering::SeqCst);
        }
    };
    // One after the other: the server serves one client at a time, so each has closed in time.
    for round in 1..=3 {
        let (on_event, on_reply) = (count(), count());
        let clone = scope(server.address(), |api| {
            api.on_any_event(move |_| on_event()).detach();
            for _ in 0..10 {
                let on_reply = on_reply.clone();
                api.query_then("status", move |_| on_reply()).unwrap();
            }
            api.submit(&Cont, drop).unwrap();
            api.submit(&Stop, drop).unwrap();
            api.clone()
        })
        .unwrap();
        assert_eq!(called.load(Ordering::SeqCst), round * 12);
        let closed = Error::Refused(Refusal::Closed(CloseReason::Requested));
        assert_eq!(clone.execute(&QueryStatus), Err(closed));
    }
}

#[test]
fn what_the_function_returns_is_returned() {
    let server = machine();
    let running = scope(server.address(), |api| Ok(api.execute(&QueryStatus)?.running));
    assert_eq!(running.unwrap(), Ok::<_, Error>(false));
}

#[test]
fn the_client_is_used_from_other_threads_inside() {
    let server = machine();
    let statuses: Result<Vec<_>, Error> = scope(server.address(), |api| {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| api.query("status"))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    })
    .unwrap();
    assert_eq!(statuses.unwrap().len(), 4);
}

#[test]
fn c18_it_closes_also_when_the_function_panics() {
    let server = Server::unix(|peer| {
        peer.greet();
        peer.expect("slow");
        // Not answered, and not waited for.
        peer.expect_eof();
    });
    let (callback, outcomes) = Calls::new();
    let mut kept = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        scope(server.address(), |api| {
            kept = Some(api.clone());
            api.submit_request(Request::new("slow"), callback).unwrap();
            panic!("on purpose");
        })
    }));
    assert!(outcome.is_err());
    server.join();
    let Err(Error::Unanswered(CloseReason::Requested)) = outcomes.next() else {
        panic!("it was sent, and not answered")
    };
    assert_eq!(kept.unwrap().close_reason(), Some(CloseReason::Requested));
}

#[test]
fn where_there_is_no_connection_nothing_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Builder::new().deadline(Duration::from_millis(10));
    let outcome = builder.scope(folder.path().join("none"), |_| panic!("there is no client"));
    assert!(matches!(outcome, Err(ConnectError::NoSocket(_))));
}

#[test]
fn a_connection_that_ends_inside_is_idle() {
    let server = Server::unix(|peer| {
        peer.greet();
        peer.expect("slow");
    });
    let (callback, outcomes) = Calls::new();
    scope(server.address(), |api| api.submit_request(Request::new("slow"), callback))
        .unwrap()
        .unwrap();
    let eof = CloseReason::Eof { mid_message: false };
    assert_eq!(outcomes.next(), Err(Error::Unanswered(eof)));
    server.join();
}
