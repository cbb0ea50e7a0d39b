//! Instructions of a workload, counted by callgrind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use crate::workload::Workload;

/// Runs workloads in a program of their own.
pub struct Callgrind {
    program: PathBuf,
    out: tempfile::TempDir,
}

impl Callgrind {
    /// For this program's own `work`.
    ///
    /// # Errors
    ///
    /// Where there is no valgrind.
    pub fn new() -> io::Result<Self> {
        Command::new("valgrind").arg("--version").output().map_err(|error| {
            io::Error::other(format!("valgrind ({error}): scripts/install-valgrind installs it"))
        })?;
        Ok(Self { program: env::current_exe()?, out: tempfile::tempdir()? })
    }

    /// How many instructions one round takes: the difference between one and two times `rounds`.
    ///
    /// # Errors
    ///
    /// Where the workload fails.
    pub fn count(&self, workload: Workload, rounds: u64) -> io::Result<f64> {
        let (once, twice) = (self.total(workload, rounds)?, self.total(workload, 2 * rounds)?);
        Ok((twice - once) as f64 / rounds as f64)
    }

    /// How many instructions so many rounds take.
    ///
    /// # Errors
    ///
    /// Where the workload fails.
    pub fn total(&self, workload: Workload, rounds: u64) -> io::Result<u64> {
        let file = self.out.path().join("out");
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted*"])
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(&self.program)
            .arg("work")
            .args(workload.words())
            .arg(rounds.to_string())
            .output()?;
        if !run.status.success() {
            let told = String::from_utf8_lossy(&run.stderr).into_owned();
            return Err(io::Error::other(format!("{workload:?}: {told}")));
        }
        let text = fs::read_to_string(&file)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total
            .and_then(|total| total.trim().parse().ok())
            .filter(|total| *total > 0)
            .ok_or_else(|| io::Error::other(format!("{workload:?}: nothing was counted")))
    }
}

/// A program that was built beside this one.
///
/// # Errors
///
/// Where it was not.
pub fn beside(name: &str) -> io::Result<PathBuf> {
    let program = env::current_exe()?.with_file_name(name);
    match Path::new(&program).exists() {
        true => Ok(program),
        false => Err(io::Error::other(format!("{} is not built", program.display()))),
    }
}
