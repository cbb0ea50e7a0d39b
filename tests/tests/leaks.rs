//! Connections that are opened and dropped leave no thread and no descriptor behind, whatever the
//! adapter. This counts those of the whole process, so it is a test alone.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]
#![allow(clippy::duplicate_mod, reason = "one source for each adapter, as in story.rs")]

use std::fs;
use std::thread;
use std::time::Instant;

use qmp_tests::scripted::{PATIENCE, Server};

macro_rules! wait {
    ($call:expr) => {
        $call
    };
}

#[path = "leaks"]
mod blocking {
    use qmp_blocking as qmp;
    use qmp_tests::adapters::blocking as runtime;

    #[path = "connections.rs"]
    pub(super) mod connections;
}

// From here on a call gives a future.
macro_rules! wait {
    ($call:expr) => {
        $call.await
    };
}

#[path = "leaks"]
mod smol {
    use qmp_smol as qmp;
    use qmp_tests::adapters::smol as runtime;

    #[path = "connections.rs"]
    pub(super) mod connections;
}

#[path = "leaks"]
mod async_std {
    use qmp_async_std as qmp;
    use qmp_tests::adapters::async_std as runtime;

    #[path = "connections.rs"]
    pub(super) mod connections;
}

#[test]
fn c18_c11_connections_leave_no_thread_and_no_descriptor_behind() {
    blocking::connections::come_and_go();
    guards_of_callbacks();
    smol::connections::come_and_go();
    async_std::connections::come_and_go();
}

/// The guard of a callback is kept for longer than its connection.
fn guards_of_callbacks() {
    let kept = std::cell::RefCell::new(Vec::new());
    leaves_nothing(50, || {
        let server = Server::unix(|peer| {
            peer.greet();
            peer.serve();
        });
        let client = qmp_blocking::connect(server.address()).unwrap();
        kept.borrow_mut().push(client.on_any_event(|_| {}));
        drop(client);
        server.join();
    });
}

/// What a runtime starts once and keeps, or ends when it likes, by the first 15 letters of its name.
const OF_RUNTIMES: [&str; 4] = ["async-io", "smol-", "async-std/runti", "blocking-"];

/// The threads that are nobody's but the test's and the connections'.
fn threads() -> usize {
    let of_runtime = |name: &str| OF_RUNTIMES.iter().any(|known| name.starts_with(known));
    fs::read_dir("/proc/self/task")
        .unwrap()
        // One that has just ended has no name any more.
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| !of_runtime(name))
        .count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs it a few times, so that whatever stays for good is there, and then many times. Threads that
/// are about to end have time to.
#[track_caller]
fn leaves_nothing(times: usize, run: impl Fn()) {
    (0..3).for_each(|_| run());
    settle_at(usize::MAX);
    let before = descriptors();
    (0..times).for_each(|_| run());
    settle_at(before);
}

/// Waits until this thread is alone with the one that started it, and there are no more than so many
/// descriptors.
#[track_caller]
fn settle_at(limit: usize) {
    let start = Instant::now();
    while threads() > 2 || descriptors() > limit {
        assert!(
            start.elapsed() < PATIENCE,
            "{} threads (not 2) and {} descriptors (not {limit}) are left",
            threads(),
            descriptors()
        );
        thread::yield_now();
    }
}
