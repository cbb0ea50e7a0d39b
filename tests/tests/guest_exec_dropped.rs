//! C23: a program in the guest whose waiting is dropped. That is of futures alone, so it is no part of
//! the story.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use qmp_smol::guest_commands::GuestSyncDelimited;
use qmp_smol::{GuestProgram, connect_guest_agent};
use qmp_tests::agent::Agent;
use qmp_tests::qemu::{DEADLINE, make_fifo};
use qmp_tests::scripted::Watched;
use smol::future::or;

/// Waits until there is such a file.
async fn appears(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < DEADLINE, "{path:?} does not appear");
        smol::Timer::after(Duration::from_millis(1)).await;
    }
}

#[test]
fn c23_a_dropped_wait_leaves_the_program_running_and_the_client_in_step() {
    let _watched = Watched::new();
    smol::block_on(async {
        let Some(agent) = Agent::start() else { return };
        let [fifo, begun, ended] = ["fifo", "begun", "ended"].map(|name| agent.folder().join(name));
        make_fifo(&fifo);
        // For both directions, so that this open does not wait.
        let hold = File::options().read(true).write(true).open(&fifo).unwrap();
        let script = "cd \"$0\"; exec 3<fifo; touch begun; cat <&3; touch ended";
        let program = GuestProgram::new("sh").args(["-c", script]).arg(agent.file(""));
        let client = connect_guest_agent(agent.address()).await.unwrap();
        let exec = async { Some(client.guest_exec(&program).await) };
        let dropped = async {
            appears(&begun).await;
            None
        };
        assert!(or(exec, dropped).await.is_none());
        assert!(!ended.exists());
        for id in 0..10 {
            assert_eq!(client.execute(&GuestSyncDelimited { id }).await, Ok(id));
        }
        drop(hold);
        appears(&ended).await;
    });
}

/// A future that nobody has polled has done nothing.
#[test]
fn c23_a_program_is_not_started_before_it_is_waited_for() {
    let _watched = Watched::new();
    smol::block_on(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect_guest_agent(agent.address()).await.unwrap();
        let touch = |name| GuestProgram::new("touch").arg(agent.file(name));
        drop(client.guest_exec(&touch("one")));
        client.guest_exec(&touch("two")).await.unwrap();
        assert!(agent.folder().join("two").exists() && !agent.folder().join("one").exists());
    });
}
