//! The length of a recording of what a hostile peer sends.

use std::time::Duration;

use qmp_proto::Dialect;
use qmp_proto::trace::{Direction, Recorder};

use super::{LONG, Row};

const AT: Duration = Duration::from_secs(1000);

/// Floods of the shortest pieces of each kind, and of bytes that are escaped.
const FLOODS: [&[u8]; 10] = [
    b"\xff",
    b"\x80",
    b"\x01\xff",
    b"{}",
    b"{]",
    b"}",
    b"a\n",
    b"{\x01",
    b"{\xff",
    b"{\"return\":1}",
];

pub(super) fn rows() -> Vec<Row> {
    let dialects = [("guest agent", Dialect::GuestAgent), ("monitor", Dialect::Qmp)];
    let of = |(name, dialect)| FLOODS.into_iter().map(move |flood| row(name, dialect, flood));
    dialects.into_iter().flat_map(of).collect()
}

fn row(name: &str, dialect: Dialect, flood: &[u8]) -> Row {
    let bytes = flood.repeat(LONG / flood.len());
    let mut recorder = Recorder::new(1 << 20).dialect(dialect);
    let mut recorded = recorder.header().len();
    for piece in bytes.chunks(64 << 10) {
        recorder.record(Direction::ToClient, piece, AT);
        recorded += taken(&mut recorder);
    }
    recorder.end(Direction::ToClient, AT);
    recorded += taken(&mut recorder);
    let shape = format!("`{}…`", flood.escape_ascii().to_string().replace("\\\"", "\""));
    Row { subject: name.to_owned(), shape, received: bytes.len(), heap: recorded as u64 }
}

/// The length of the lines that are complete.
fn taken(recorder: &mut Recorder) -> usize {
    std::iter::from_fn(|| recorder.poll_entry()).map(|entry| entry.to_string().len() + 1).sum()
}
