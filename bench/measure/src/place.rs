//! Where programs are, and where they run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::thread::available_parallelism;

/// Which CPUs a program may use.
#[derive(Clone, Copy, PartialEq)]
pub enum Cpu {
    /// The one on which both sides run.
    One,
    /// Another one, for a server across CPUs.
    Other,
}

/// Before all others on the machine, if that is allowed.
static FIRST: LazyLock<bool> = LazyLock::new(|| {
    let tried = Command::new("nice").args(["-n", "-20", "true"]).output();
    tried.is_ok_and(|tried| tried.status.success() && tried.stderr.is_empty())
});

/// How many CPUs there are.
pub fn cpus() -> usize {
    available_parallelism().map_or(1, usize::from)
}

impl Cpu {
    /// What to start for a program to run there.
    pub fn command(self) -> Command {
        let cpu = match self {
            Self::One => cpus() - 1,
            Self::Other => 0,
        };
        let mut command = Command::new("taskset");
        command.args(["-c", &cpu.to_string()]);
        if *FIRST {
            command.args(["nice", "-n", "-20"]);
        }
        command
    }
}

/// A program that was built beside this one.
pub fn beside(name: &str) -> PathBuf {
    env::current_exe().unwrap_or_default().with_file_name(name)
}

/// The repository.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here)
}
