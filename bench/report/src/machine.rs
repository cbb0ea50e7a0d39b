//! On what it was measured.

use std::fs;
use std::process::Command;

/// A sentence about the machine and the tools.
pub fn describe() -> String {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let parts = [
        format!("{processor}, {cpus} CPUs"),
        format!("Linux {}", kernel.trim()),
        said("rustc", "--version"),
        said("valgrind", "--version"),
        said("qemu-storage-daemon", "--version"),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("Taken on {}.\n\n", parts.join("; "))
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}

/// The first line of what a program says.
fn said(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}
