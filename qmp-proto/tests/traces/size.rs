//! C21: how many bytes a recording takes for a byte that was sent. The figures stand in
//! `guide::memory`.

use std::time::Duration;

use qmp_proto::Dialect;
use qmp_proto::trace::{Direction, Entry, Recorder, Trace};

/// The length of a flood.
const SENT: usize = 6_000;

/// The bytes of the recording for a byte of the flood, rounded.
fn measure(dialect: Dialect, before: &[u8], unit: &[u8], chunk: usize) -> usize {
    let flood = [before, &unit.repeat(SENT / unit.len())].concat();
    let mut recorder = Recorder::new(1 << 20).dialect(dialect);
    let mut entries: Vec<Entry> = Vec::new();
    for part in flood.chunks(chunk) {
        recorder.record(Direction::ToClient, part, Duration::ZERO);
        entries.extend(std::iter::from_fn(|| recorder.poll_entry()));
    }
    recorder.end(Direction::ToClient, Duration::ZERO);
    entries.extend(std::iter::from_fn(|| recorder.poll_entry()));
    let mut trace = Trace::new(false);
    entries.into_iter().for_each(|entry| trace.push(entry));
    let text = trace.to_string();
    assert_eq!(text.parse(), Ok(trace));
    (text.len() + flood.len() / 2) / flood.len()
}

#[test]
fn c21_a_recording_of_a_flood_is_bounded() {
    let cases: [(&[u8], &[u8], usize); 14] = [
        (b"", b"\xff", 4),
        (b"", b"\x01", 4),
        (b"", b"x", 1),
        (b"", b"\\", 2),
        (b"", b"\n", 0),
        (b"", b"x\n", 10),
        (b"", b"\x01\n", 11),
        (b"", b"{}", 8),
        (b"", b"{]", 8),
        (b"", b"\x01{}", 11),
        (b"", b"{\xff", 17),
        (b"", b"\x01\xff", 18),
        (b"{\x01", b"}", 1),
        (b"{\x01", b"{}", 8),
    ];
    for (before, unit, factor) in cases {
        for dialect in [Dialect::Qmp, Dialect::GuestAgent] {
            let whole = measure(dialect, before, unit, usize::MAX);
            let name =
                (dialect, before.escape_ascii().to_string(), unit.escape_ascii().to_string());
            assert_eq!(whole, factor, "{name:?}");
            assert_eq!(measure(dialect, before, unit, 1), whole, "{name:?}, byte by byte");
        }
    }
}
