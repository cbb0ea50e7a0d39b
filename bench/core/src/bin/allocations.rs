//! Counts the allocations of one round of a workload: `allocations WHO WHAT CHUNK`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

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
    let mut reader = workload.reader(data.replies);
    let counts = allocation_counter::measure(|| {
        for piece in data.bytes.chunks(workload.chunk) {
            reader.read(piece);
        }
    });
    println!("{}", counts.count_total);
    ExitCode::SUCCESS
}
