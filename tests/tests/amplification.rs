//! C3, C4, C21: how much memory a peer's bytes can take, for each type that they may be decoded to, and how long a recording of
//! them is. The tables in the guide are made of this: `QMP_WRITE_TABLE=1 cargo test -p qmp-tests --test amplification`.
#![cfg(target_pointer_width = "64")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs;
use std::hint::black_box;
use std::sync::LazyLock;

use qmp_proto::{Config, Dialect};

#[path = "amplification/decoding.rs"]
mod decoding;
#[path = "amplification/receiving.rs"]
mod receiving;
#[path = "amplification/recording.rs"]
mod recording;

/// The length of a long text.
const LONG: usize = 1 << 20;

/// One line of the table.
struct Row {
    subject: String,
    shape: String,
    received: usize,
    /// Bytes on the heap, or bytes of the recording.
    taken: u64,
    /// The input is short enough to be repeated in the error, so it is copied more than twice.
    is_repeated: bool,
}

/// Measured once for all tests here.
struct Tables {
    agent: Vec<Row>,
    monitor: Vec<Row>,
    receiving: Vec<Row>,
    recording: Vec<Row>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    agent: decoding::of_an_agent(),
    monitor: decoding::of_a_monitor(),
    receiving: receiving::rows(),
    recording: recording::rows(),
});

impl Row {
    /// What `work` takes at its worst, of all that it allocates.
    fn measured<T>(subject: &str, shape: &str, received: usize, work: impl FnOnce() -> T) -> Self {
        let info = allocation_counter::measure(|| drop(black_box(work())));
        let (subject, shape) = (subject.to_owned(), shape.replace('\n', "\\n"));
        Self { subject, shape, received, taken: info.bytes_max, is_repeated: false }
    }

    fn factor(&self) -> f64 {
        self.taken as f64 / self.received as f64
    }

    fn line(&self) -> String {
        let Self { subject, shape, received, taken, .. } = self;
        format!("| {subject} | {shape} | {received} | {taken} | {:.1} |\n", self.factor())
    }
}

fn config(dialect: Dialect) -> Config {
    let mut config = Config::default();
    config.dialect = dialect;
    config
}

const HEAP: &str = "| type | what came | bytes received | bytes on the heap | factor |\n";
const TEXT: &str = "| kind | what came | bytes received | bytes recorded | factor |\n";
const RULE: &str = "|---|---|---|---|---|\n";

fn rendered(header: &str, rows: &[Row]) -> String {
    rows.iter().fold([header, RULE].concat(), |table, row| table + &row.line())
}

/// The guide with what was measured in its tables.
fn with_tables(guide: &str) -> String {
    let Tables { agent, monitor, receiving, recording } = &*TABLES;
    let mut text = guide.to_owned();
    for (name, header, rows) in [
        ("agent", HEAP, agent),
        ("monitor", HEAP, monitor),
        ("receiving", HEAP, receiving),
        ("recording", TEXT, recording),
    ] {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
        let start = text.find(&begin).expect("its beginning") + begin.len();
        let stop = start + text[start..].find(&end).expect("its end");
        text.replace_range(start..stop, &rendered(header, rows));
    }
    text
}

/// The cells of a line, but for the numbers, which depend on the compiler's and the library's version.
fn words(line: &str) -> Vec<&str> {
    line.split('|').map(str::trim).filter(|cell| cell.parse::<f64>().is_err()).collect()
}

fn numbers(line: &str) -> Vec<f64> {
    line.split('|').filter_map(|cell| cell.trim().parse().ok()).collect()
}

#[test]
fn c4_the_table_of_the_guide_is_what_is_measured() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../qmp-proto/src/guide/memory.md");
    let guide = fs::read_to_string(path).unwrap();
    let measured = with_tables(&guide);
    if std::env::var_os("QMP_WRITE_TABLE").is_some() {
        return fs::write(path, measured).unwrap();
    }
    assert_eq!(guide.lines().count(), measured.lines().count(), "QMP_WRITE_TABLE=1 writes it");
    for (there, here) in guide.lines().zip(measured.lines()) {
        let near =
            |(there, here): (&f64, &f64)| (0.8..1.25).contains(&(here / there)) || there == here;
        let same = words(there) == words(here)
            && numbers(there).len() == numbers(here).len()
            && numbers(there).iter().zip(&numbers(here)).all(near);
        assert!(same, "{there}\nis now\n{here}\nQMP_WRITE_TABLE=1 writes it");
    }
}

/// In no shape do as many values as there may be take more, nor does a text more than two copies.
#[test]
fn c4_decoding_is_bounded_in_every_shape() {
    for (rows, limit) in [(&TABLES.agent, 48 << 20), (&TABLES.monitor, 400 << 20)] {
        for row in rows {
            let copies =
                !row.is_repeated && row.shape.contains(['…', '4']) && !row.shape.contains(",…");
            let most = if copies { limit.min(2 * row.received as u64 + 1000) } else { limit };
            assert!(row.taken <= most, "{} more than {most}", row.line());
        }
    }
}

#[test]
fn c21_a_recording_is_a_small_multiple_of_the_stream() {
    for row in &TABLES.recording {
        assert!(row.factor() < 6.0, "{}", row.line());
    }
}
