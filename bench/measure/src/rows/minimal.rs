//! What a minimal program costs who builds it: one that asks for the status and prints it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::failed;
use crate::place::root;
use crate::results::Row;

/// What it is called in the table, and its package.
const PROGRAMS: [(&str, &str); 3] = [
    ("ours blocking", "minimal-ours"),
    ("limit std and serde_json", "minimal-raw"),
    ("peer qapi sync", "minimal-qapi"),
];
/// What README recommends for small programs.
const FOR_SIZE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
];
/// Clock ticks in a second, as /proc has them on every Linux.
const TICKS: f64 = 100.0;

pub fn measure() -> io::Result<()> {
    for (what, package) in PROGRAMS {
        let crates = crates(package)? as f64;
        let folder = tempfile::tempdir()?;
        let before = children_seconds()?;
        let size = build(package, folder.path(), &[])?;
        let seconds = children_seconds()? - before;
        for (row, value, unit, goal) in [
            ("minimal program, crates", crates, "crates", 20.0),
            ("minimal program, clean build", seconds, "s of CPU", 22.0),
            ("minimal program, stripped", size as f64 / 1e3, "KB", 650.0),
        ] {
            Row::of(row, what, value, unit).goal(goal).write();
        }
        let size = build(package, tempfile::tempdir()?.path(), &FOR_SIZE)?;
        Row::of("minimal program, built for size", what, size as f64 / 1e3, "KB").write();
    }
    Ok(())
}

/// How many crates are built for it, beside itself.
fn crates(package: &str) -> io::Result<usize> {
    let format = ["--edges", "normal,build", "--prefix", "none", "--no-dedupe", "--format", "{p}"];
    let tree = cargo().args(["tree", "--locked", "-p", package]).args(format).output()?;
    let text = String::from_utf8_lossy(&tree.stdout);
    let name = |line: &str| line.split(" (").next().unwrap_or(line).trim().to_owned();
    let crates: BTreeSet<_> = text.lines().map(name).filter(|name| !name.is_empty()).collect();
    Ok(crates.len() - 1)
}

/// Builds it all anew; gives the program's size.
fn build(package: &str, folder: &Path, profile: &[(&str, &str)]) -> io::Result<u64> {
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--quiet", "-p", package, "--target-dir"]);
    build.arg(folder).stderr(Stdio::null());
    // As in a workspace that sets neither, but for the stripping.
    build.env("CARGO_PROFILE_RELEASE_DEBUG", "0").env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    build.envs(profile.iter().copied());
    match build.status()?.success() {
        true => Ok(fs::metadata(folder.join("release").join(package))?.len()),
        false => Err(failed(format!("{package} does not build"))),
    }
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root().join("bench"));
    cargo
}

/// The CPU time of all children that have ended, and of theirs.
fn children_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(") ").next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // The state, which is the first field here, is no number.
    match ticks.get(12..14) {
        Some(ticks) => Ok(ticks.iter().sum::<f64>() / TICKS),
        None => Err(failed("/proc/self/stat is not as it was")),
    }
}
