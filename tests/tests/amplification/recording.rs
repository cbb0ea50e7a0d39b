//! The length of a recording of what a hostile peer sends.

use std::time::Duration;

use qmp_proto::Dialect;
use qmp_proto::trace::{Direction, Recorder};

use super::{LONG, Row};

const AT: Duration = Duration::from_secs(1000);

/// Floods of the shortest pieces of each kind, and of bytes that are escaped.
const FLOODS: [(&str, &[u8]); 10] = [
    ("escapes", b"\xff"),
    ("escapes", b"\x80"),
    ("escapes", b"\x01\xff"),
    ("a character", b"}"),
    ("lines", b"a\n"),
    ("messages", b"{}"),
    ("messages", b"{\"return\":1}"),
    ("messages at fault", b"{]"),
    ("messages broken off", b"{\x01"),
    ("messages broken off", b"{\xff"),
];

pub(super) fn rows() -> Vec<Row> {
    FLOODS.into_iter().map(|(kind, flood)| row(kind, flood)).collect()
}

fn row(kind: &str, flood: &[u8]) -> Row {
    let bytes = flood.repeat(LONG / flood.len());
    let shape = format!("`{}…`", flood.escape_ascii().to_string().replace("\\\"", "\""));
    let taken = recorded(Dialect::Qmp, &bytes);
    assert_eq!(recorded(Dialect::GuestAgent, &bytes), taken, "{shape} of a guest agent");
    Row { subject: kind.to_owned(), shape, received: bytes.len(), taken, is_repeated: false }
}

/// The length of the recording.
fn recorded(dialect: Dialect, bytes: &[u8]) -> u64 {
    let mut recorder = Recorder::new(1 << 20).dialect(dialect);
    let mut recorded = recorder.header().len();
    for piece in bytes.chunks(64 << 10) {
        recorder.record(Direction::ToClient, piece, AT);
        recorded += taken(&mut recorder);
    }
    recorder.end(Direction::ToClient, AT);
    recorded += taken(&mut recorder);
    recorded as u64
}

/// The length of the lines that are complete.
fn taken(recorder: &mut Recorder) -> usize {
    std::iter::from_fn(|| recorder.poll_entry()).map(|entry| entry.to_string().len() + 1).sum()
}
