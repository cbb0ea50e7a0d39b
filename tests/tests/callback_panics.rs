//! A callback that panics: the client is closed with the panic as the cause, or it goes on, or the
//! process is aborted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use qmp_blocking::commands::{Cont, QueryStatus, Stop};
use qmp_blocking::{Builder, Client, CloseReason, Error, OnPanic, Pool, Refusal, Request};
use qmp_tests::calls::{Calls, Gate, client_with, machine};
use qmp_tests::scripted::PATIENCE;

/// The ways in which a callback comes to run. Each panics, on purpose.
fn panicking_callbacks() -> [fn(&Client); 3] {
    [
        |client| client.submit(&QueryStatus, |_| panic!("{} purpose", "on")).unwrap(),
        |client| {
            client.on_event("RESUME", |_| panic!("on purpose")).detach();
            client.submit(&Cont, drop).unwrap();
        },
        |client| {
            client.on_any_event(|_| std::panic::panic_any("on purpose".to_owned())).detach();
            client.submit(&Cont, drop).unwrap();
        },
    ]
}

fn reason() -> CloseReason {
    CloseReason::CallbackPanicked("on purpose".into())
}

#[test]
fn by_default_the_client_is_closed_and_everybody_learns_why() {
    assert_eq!(OnPanic::default(), OnPanic::Close);
    for callback in panicking_callbacks() {
        let client = machine(&Builder::new());
        let events = client.events();
        callback(&client);
        assert_eq!(client.closed(), reason());
        assert_eq!(client.close_reason(), Some(reason()));
        let closed = Error::Refused(Refusal::Closed(reason()));
        assert_eq!(client.execute(&QueryStatus), Err(closed.clone()));
        assert_eq!(client.submit(&QueryStatus, drop), Err(closed));
        client.wait_idle(PATIENCE).unwrap();
        // The stream of events ends.
        assert!(events.flatten().all(|event| event.name() == "RESUME"));
    }
    assert_eq!(reason().to_string(), "a callback panicked: on purpose");
}

#[test]
fn what_is_no_text_is_a_panic_too() {
    let client = machine(&Builder::new());
    client.submit(&QueryStatus, |_| std::panic::panic_any(17)).unwrap();
    let CloseReason::CallbackPanicked(text) = client.closed() else { panic!("another reason") };
    assert_eq!(&*text, "something that is no text");
}

#[test]
fn c17_a_panic_ends_what_others_wait_for() {
    let (sent, is_sent) = mpsc::channel();
    let (client, script) = client_with(&Builder::new().window(1), move |peer| {
        let first = peer.expect("first");
        peer.reply(&first, "{}");
        peer.expect("slow");
        sent.send(()).unwrap();
        peer.expect_eof();
    });
    let (gate, wait) = Gate::new();
    client
        .submit_request(Request::new("first"), move |_| {
            wait();
            panic!("on purpose");
        })
        .unwrap();
    let (callback, outcomes) = Calls::new();
    client.submit_request(Request::new("slow"), callback).unwrap();
    let (callback, unsent) = Calls::new();
    client.submit_request(Request::new("never sent"), callback).unwrap();
    // The callback of the first does not keep the second from being sent.
    is_sent.recv_timeout(PATIENCE).unwrap();
    gate.open();
    assert_eq!(outcomes.next(), Err(Error::Unanswered(reason())));
    assert_eq!(unsent.next(), Err(Error::NotSent(reason())));
    script.join();
}

#[test]
fn a_panic_closes_no_other_client_of_the_same_pool() {
    let builder = Builder::new().callback_pool(Pool::threads(1));
    let (one, other) = (machine(&builder), machine(&builder));
    one.submit(&QueryStatus, |_| panic!("on purpose")).unwrap();
    assert_eq!(one.closed(), reason());
    let (callback, statuses) = Calls::new();
    other.submit(&QueryStatus, callback).unwrap();
    assert!(statuses.next().is_ok());
    other.wait_idle(PATIENCE).unwrap();
}

#[test]
fn on_request_a_panic_is_passed_over() {
    for callback in panicking_callbacks() {
        let client =
            machine(&Builder::new().on_callback_panic(OnPanic::Continue).callback_threads(1));
        let (told, calls) = Calls::new();
        let mut count = 0;
        let registration = client.on_any_event(move |event| {
            count += 1;
            told(count);
            assert!(event.name() != "RESUME", "on purpose");
        });
        callback(&client);
        client.wait_idle(PATIENCE).unwrap();
        client.execute(&Cont).unwrap();
        client.execute(&Stop).unwrap();
        client.wait_idle(PATIENCE).unwrap();
        assert_eq!(client.close_reason(), None);
        // It was called again after its own panic, with what it had captured.
        drop(registration);
        let mut last = 0;
        while last < 2 {
            last = calls.next();
        }
        assert!(client.execute(&QueryStatus).is_ok());
    }
}

const ROLE: &str = "QMP_TESTS_ABORTED_CHILD";

/// The process that is aborted is this test, as a child.
#[test]
fn on_request_a_panic_aborts_the_process() {
    if let Some(index) = env::var_os(ROLE) {
        let client = machine(&Builder::new().on_callback_panic(OnPanic::Abort));
        let index: usize = index.to_str().unwrap().parse().unwrap();
        panicking_callbacks()[index](&client);
        let _ = client.closed();
        return;
    }
    for index in 0..panicking_callbacks().len() {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "on_request_a_panic_aborts_the_process", "--nocapture"]);
        child.env(ROLE, index.to_string()).stdin(Stdio::null());
        let output = child.output().unwrap();
        const SIGABRT: i32 = 6;
        assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
        // The panic hook's, as with any thread's.
        assert!(String::from_utf8_lossy(&output.stderr).contains("on purpose"), "{output:?}");
    }
}
