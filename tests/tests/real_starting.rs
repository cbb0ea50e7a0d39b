//! C20: clients that come at the moment when the monitor's socket appears. Up to 10.0.2, QEMU may greet
//! such a client twice, or greet it and hang.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::path::Path;
use std::time::{Duration, Instant};

use qmp_blocking::Address;
use qmp_blocking::commands::{QueryVersion, Quit};
use qmp_tests::qemu::{DEADLINE, Monitor, Setup, patient};

/// How long connecting took in so many starts.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn report(&mut self) {
        self.0.sort_unstable();
        let at = |share: usize| self.0[(self.0.len() - 1) * share / 100];
        let late = self.0.iter().filter(|time| **time >= Duration::from_secs(1)).count();
        println!(
            "{} starts: connected in {:.1?} (median), {:.1?} (99 of 100), {:.1?} (all); {late} took a \
             second or longer",
            self.0.len(),
            at(50),
            at(99),
            at(100)
        );
    }
}

/// What a client is made with.
#[derive(Clone, Copy, Debug)]
enum Adapter {
    Blocking,
    Smol,
    AsyncStd,
}

const ADAPTERS: [Adapter; 3] = [Adapter::Blocking, Adapter::Smol, Adapter::AsyncStd];

/// A session of an async adapter; the value is when the client was connected.
macro_rules! session {
    ($adapter:ident, $path:expr) => {
        async {
            let builder = $adapter::Builder::new().deadline(DEADLINE);
            let client = builder.connect($path).await.unwrap();
            let connected = Instant::now();
            client.execute(&QueryVersion).await.unwrap();
            client.execute(&Quit).await.unwrap();
            connected
        }
    };
}

impl Adapter {
    /// Connects, executes a command, and ends the server. Returns when the client was connected.
    fn session(self, path: &Path) -> Instant {
        match self {
            Self::Blocking => {
                let client = patient().connect(path).unwrap();
                let connected = Instant::now();
                client.execute(&QueryVersion).unwrap();
                client.execute(&Quit).unwrap();
                connected
            }
            Self::Smol => smol::block_on(session!(qmp_smol, path)),
            Self::AsyncStd => async_std::task::block_on(session!(qmp_async_std, path)),
        }
    }
}

/// Starts a server, connects when its socket is there, and returns how long that took and the log of the server.
fn start(setup: Setup, adapter: Adapter) -> (Duration, String) {
    let mut server = setup.monitor(Monitor::Unix).start_at_once();
    let Address::Unix(path) = server.address().clone() else { unreachable!() };
    let deadline = Instant::now() + DEADLINE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "it does not start: {server:?}");
        std::hint::spin_loop();
    }
    let begun = Instant::now();
    let took = adapter.session(&path) - begun;
    assert!(server.wait().success());
    (took, std::fs::read_to_string(server.folder().join("stderr")).unwrap())
}

fn starts(count: usize) {
    let mut times = Times::default();
    for number in 0..count {
        let setup = match number % 4 {
            3 => Setup::storage_daemon(),
            _ => Setup::bare(),
        };
        let Some(setup) = setup else { return };
        times.0.push(start(setup, ADAPTERS[number % 3]).0);
    }
    times.report();
}

#[test]
fn c20_a_client_that_comes_when_the_socket_appears() {
    starts(20);
}

/// `make test-starts`
#[test]
#[ignore = "it takes minutes: the long form of the test above"]
fn c20_many_clients_that_come_when_the_socket_appears() {
    let count = std::env::var("QMP_STARTS").ok().and_then(|count| count.parse().ok());
    starts(count.unwrap_or(5_000));
}

/// The library of `start_race.c`, which makes the race certain.
#[cfg(target_os = "linux")]
mod races {
    use std::path::PathBuf;
    use std::process::Command;

    use qmp_tests::qemu::{find, left_out};

    use super::{ADAPTERS, Monitor, Setup, Times, start};

    /// Starts with each outcome.
    const STARTS: usize = 10;

    /// Whether the race can be forced in the QEMU under test. QEMU 10.0.13 does not have it any more, and an
    /// unpacked QEMU 5.2 has a libc that is older than the library's.
    fn can_race() -> bool {
        let Some(setup) = Setup::bare() else { return false };
        let client = setup.monitor(Monitor::Unix).start().connect();
        let version = client.greeting().version.as_ref().unwrap().qemu;
        let (major, minor, micro) = (version.major, version.minor, version.micro);
        let can_race = ((7, 0, 0)..(10, 0, 3)).contains(&(major, minor, micro));
        if !can_race {
            let version = format!("{major}.{minor}.{micro}");
            left_out(&format!("the race is forced in QEMU 7.0 to 10.0.2, and this is {version}"));
        }
        can_race
    }

    fn build(folder: &tempfile::TempDir) -> Option<PathBuf> {
        let library = folder.path().join("start_race.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/start_race.c");
        let mut compiler = Command::new(find("cc")?);
        compiler.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]);
        compiler.args([source, "-o"]).arg(&library).args(["-ldl", "-pthread"]);
        assert!(compiler.status().unwrap().success(), "{compiler:?}");
        Some(library)
    }

    fn starts(outcome: &str) {
        if !can_race() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let Some(library) = build(&folder) else { return };
        let mut times = Times::default();
        for number in 0..STARTS {
            let Some(mut setup) = Setup::bare() else { return };
            setup.command().env("LD_PRELOAD", &library).env("START_RACE", outcome);
            let adapter = ADAPTERS[number % ADAPTERS.len()];
            let (took, log) = start(setup, adapter);
            assert!(log.contains(&format!("start race: {outcome}\n")), "{adapter:?}: {log}");
            times.0.push(took);
        }
        print!("{outcome}: ");
        times.report();
    }

    #[test]
    fn c20_a_server_that_greets_twice_at_its_start() {
        starts("twice");
    }

    #[test]
    fn c20_a_server_whose_main_thread_hangs_at_its_start() {
        starts("main-hangs");
    }

    #[test]
    fn c20_a_server_whose_io_thread_hangs_at_its_start() {
        starts("io-hangs");
    }
}
