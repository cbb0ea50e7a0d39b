//! The workers, with what they allocate counted.
#![forbid(unsafe_code)]

use std::alloc::System;

use stats_alloc::StatsAlloc;

#[global_allocator]
static HEAP: StatsAlloc<System> = StatsAlloc::system();

fn main() {
    bench_worker::run(bench_peers::CLIENTS, || bench_worker::in_heap(&HEAP));
}
