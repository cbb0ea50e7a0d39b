//! What memory a process takes.

use std::alloc::System;
use std::fs;

use stats_alloc::StatsAlloc;

/// What is allocated.
#[derive(Clone, Copy, Default)]
pub struct Heap {
    /// What is allocated at this time, in bytes.
    pub bytes: i64,
    /// How often memory was allocated or a block made larger, so far.
    pub allocations: u64,
}

/// What this allocator has counted.
pub fn in_heap(allocator: &StatsAlloc<System>) -> Heap {
    let stats = allocator.stats();
    Heap {
        bytes: stats.bytes_allocated as i64 - stats.bytes_deallocated as i64,
        allocations: (stats.allocations + stats.reallocations) as u64,
    }
}

/// For a program that does not count: counting takes instructions too.
pub fn uncounted() -> Heap {
    Heap::default()
}

/// How far a process's memory rises.
pub(crate) struct Peak {
    before: u64,
}

impl Peak {
    pub(crate) fn begin() -> Self {
        // Has the kernel begin anew with the peak.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Self { before: field("VmRSS:") }
    }

    pub(crate) fn end(self) -> u64 {
        field("VmHWM:").saturating_sub(self.before)
    }
}

/// In bytes.
fn field(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0) << 10
}
