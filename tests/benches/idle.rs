//! What an idle connection takes of the client's process, at a thousand of them: a process for each
//! adapter, and one for the server.
//!
//! ```sh
//! cargo bench -p qmp-tests --bench idle
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails, ends")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use qmp_tests::crowd;

const CONNECTIONS: usize = 1000;
/// For the server's side too, in the other process.
const DESCRIPTORS: u64 = 8 * CONNECTIONS as u64;

fn main() {
    crowd::allow_descriptors(DESCRIPTORS);
    let arguments: Vec<_> = env::args().skip(1).collect();
    match &arguments[..] {
        [role, path] if role == "serve" => {
            crowd::serve(Path::new(path));
            // Until it is killed.
            thread::sleep(Duration::from_secs(600));
        }
        [role, path] => measure_one(role, Path::new(path)),
        // Cargo's own arguments.
        _ => measure_each(),
    }
}

fn measure_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    let this = |role: &str| {
        let mut this = Command::new(env::current_exe().unwrap());
        this.arg(role).arg(&path).stdin(Stdio::null());
        this
    };
    let mut server = this("serve").spawn().unwrap();
    for adapter in ["blocking", "smol", "async-std"] {
        assert!(this(adapter).status().unwrap().success());
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

fn measure_one(adapter: &str, path: &Path) {
    match adapter {
        "blocking" => measure(adapter, || qmp_blocking::connect(path).unwrap()),
        "smol" => measure(adapter, || smol::block_on(qmp_smol::connect(path)).unwrap()),
        _ => measure(adapter, || async_std::task::block_on(qmp_async_std::connect(path)).unwrap()),
    }
}

fn measure<C>(name: &str, connect: impl Fn() -> C) {
    // What the runtime takes at its first use is not a connection's.
    let first = connect();
    let before = resident();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| connect()).collect();
    let taken = resident().saturating_sub(before);
    println!("{name:10} {:6} bytes resident for each of {CONNECTIONS}", taken / CONNECTIONS);
    drop((first, clients));
}

/// In bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes = line.trim().trim_end_matches(" kB").trim();
    kilobytes.parse::<usize>().unwrap() << 10
}
