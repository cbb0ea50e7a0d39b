//! The workers.
#![forbid(unsafe_code)]

fn main() {
    bench_worker::run(bench_clients::CLIENTS, bench_worker::uncounted);
}
