//! The rows of the report that are about the core.

use std::io;
use std::process::Command;

use serde::Serialize;

use crate::callgrind::{Callgrind, beside};
use crate::workload::{What, Who, Workload};

/// One line of what comes out.
#[derive(Serialize)]
pub struct Row {
    row: String,
    what: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<f64>,
}

/// What a stream costs, by the byte: its row, what it is, in which pieces it comes, the goal, and who
/// is counted beside us.
struct Stream {
    row: &'static str,
    what: What,
    chunk: usize,
    goal: f64,
    others: &'static [Who],
}

const BY_LINE: &[Who] = &[
    Who::Guess,
    Who::Spans,
    Who::Envelope,
    #[cfg(feature = "peers")]
    Who::Qapi,
];

const STREAMS: [Stream; 5] = [
    Stream { row: "core, small", what: What::Small, chunk: 4096, goal: 25.0, others: BY_LINE },
    Stream { row: "core, schema", what: What::Schema, chunk: 4096, goal: 7.0, others: BY_LINE },
    Stream { row: "core, big", what: What::Big, chunk: 4096, goal: 4.0, others: BY_LINE },
    Stream {
        row: "core, pretty",
        what: What::Pretty,
        chunk: 4096,
        goal: 25.0,
        others: &[Who::Framing, Who::Spans],
    },
    Stream { row: "core, byte by byte", what: What::Small, chunk: 1, goal: 160.0, others: BY_LINE },
];

const SIZES: [usize; 3] = [64 << 10, 1 << 20, 16 << 20];

/// Pieces in which growth is looked at; the last is larger than any message.
const CHUNKS: [(&str, usize); 4] = [("1", 1), ("64", 64), ("4096", 4096), ("whole", usize::MAX)];

/// Counts everything, and shows each row as it is known.
///
/// # Errors
///
/// Where a workload fails.
pub fn count_all(show: &mut dyn FnMut(&Row) -> io::Result<()>) -> io::Result<()> {
    let callgrind = Callgrind::new()?;
    for stream in &STREAMS {
        for who in [Who::Ours].iter().chain(stream.others) {
            show(&by_the_byte(&callgrind, stream, *who)?)?;
        }
    }
    for who in [Who::Ours].iter().chain(BY_LINE) {
        show(&allocations(*who)?)?;
    }
    for (name, chunk) in CHUNKS {
        growth(&callgrind, name, chunk, show)?;
    }
    for (row, what) in
        [("core, command", What::Command), ("core, command prepared", What::PreparedCommand)]
    {
        let value = callgrind.count(Workload::ours(what), 100)?;
        show(&Row { row: row.into(), what: name(Who::Ours), value, unit: "Ir", goal: None })?;
    }
    Ok(())
}

fn by_the_byte(callgrind: &Callgrind, stream: &Stream, who: Who) -> io::Result<Row> {
    let workload = Workload { who, what: stream.what, chunk: stream.chunk };
    let value = callgrind.count(workload, 1)? / workload.data().bytes.len() as f64;
    let goal = (who == Who::Ours).then_some(stream.goal);
    Ok(Row { row: stream.row.into(), what: name(who), value, unit: "Ir/byte", goal })
}

fn allocations(who: Who) -> io::Result<Row> {
    let workload = Workload { who, ..Workload::ours(What::Small) };
    let run = Command::new(beside("allocations")?).args(workload.words()).output()?;
    let text = String::from_utf8_lossy(&run.stdout);
    let count: f64 = text.trim().parse().map_err(io::Error::other)?;
    let goal = (who == Who::Ours).then_some(1.0);
    let value = count / workload.data().messages as f64;
    let row = "core, small, allocations".into();
    Ok(Row { row, what: name(who), value, unit: "per message", goal })
}

/// The exponent with which the work grows from the smallest size to the largest, and each size's.
fn growth(
    callgrind: &Callgrind,
    pieces: &str,
    chunk: usize,
    show: &mut dyn FnMut(&Row) -> io::Result<()>,
) -> io::Result<()> {
    let mut totals = Vec::new();
    for size in SIZES {
        let workload = Workload { chunk, ..Workload::ours(What::List(size)) };
        let total = callgrind.total(workload, 1)? as f64;
        let row = format!("growth, pieces of {pieces}, {} KiB", size >> 10);
        let value = total / size as f64;
        show(&Row { row, what: name(Who::Ours), value, unit: "Ir/byte", goal: None })?;
        totals.push(total);
    }
    let (first, last) = (totals[0], totals[SIZES.len() - 1]);
    let value = (last / first).log(SIZES[SIZES.len() - 1] as f64 / SIZES[0] as f64);
    let row = format!("growth, pieces of {pieces}");
    show(&Row { row, what: name(Who::Ours), value, unit: "exponent", goal: Some(1.02) })
}

fn name(who: Who) -> String {
    match who {
        Who::Ours => "ours".into(),
        #[cfg(feature = "peers")]
        Who::Qapi => "peer qapi".into(),
        Who::Guess => "limit guess".into(),
        Who::Spans => "limit spans".into(),
        Who::Envelope => "limit serde".into(),
        Who::Framing => "limit framing".into(),
    }
}
