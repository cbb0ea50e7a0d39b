//! A lone command of the blocking adapter's is read by the thread that waits for it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::commands::DeviceDel;
use qmp_blocking::{Event, from_stream};
use qmp_tests::scripted::{event_text, pair};

/// Long enough for the background thread to have taken over. To be parked might end early.
fn be_silent() {
    let end = Instant::now() + Duration::from_millis(5);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

/// Its thread reads its reply, so that it need not be woken. Once in a while the background thread
/// is quicker, when the reply is there before the caller has begun to wait for it.
#[test]
fn after_a_silence_too_it_is_read_by_its_own_thread() {
    const ROUNDS: usize = 20;
    let (socket, script) = pair(|peer| {
        peer.greet();
        for _ in 0..ROUNDS {
            let command = peer.expect("device_del");
            peer.send(event_text("DEVICE_DELETED", "{}") + &command.success("{}"));
        }
        peer.expect_eof();
    });
    let client = from_stream(socket).unwrap();
    let its_own = Arc::new(AtomicUsize::new(0));
    for _ in 0..ROUNDS {
        be_silent();
        let (caller, its_own) = (thread::current().id(), its_own.clone());
        let matcher = move |_: &Event| {
            its_own.fetch_add(usize::from(thread::current().id() == caller), Ordering::Relaxed);
            true
        };
        client.execute_until(&DeviceDel { id: "net0" }, matcher).unwrap();
    }
    let its_own = its_own.load(Ordering::Relaxed);
    assert!(its_own > ROUNDS / 2, "{its_own} of {ROUNDS}");
    drop(client);
    script.join();
}
