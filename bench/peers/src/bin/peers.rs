//! The workers.
#![forbid(unsafe_code)]

fn main() {
    bench_worker::run(bench_peers::CLIENTS, bench_worker::uncounted);
}
