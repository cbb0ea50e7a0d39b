//! Counts the allocations of one round of a workload: `allocations WHO WHAT CHUNK`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use bench_core::data::Data;
use bench_core::workload::Workload;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [who, what, chunk] = &words[..] else {
        eprintln!("usage: allocations WHO WHAT CHUNK");
        return ExitCode::FAILURE;
    };
    let Some(workload) = Workload::from_words([who, what, chunk]) else {
        eprintln!("no such workload: {}", words.join(" "));
        return ExitCode::FAILURE;
    };
    let data = workload.data();
    // Setting up does not count.
    let nothing = Data { bytes: Vec::new(), messages: data.messages, replies: data.replies };
    let count = |data| {
        allocation_counter::measure(|| {
            workload.read(data);
        })
        .count_total
    };
    println!("{}", count(&data) - count(&nothing));
    ExitCode::SUCCESS
}
