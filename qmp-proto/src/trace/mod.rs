//! Recorded sessions as text. The crate `qmp-server` replays them.
//!
//! A trace is a session's messages, both ways, in the form of QEMU's own documents:
//!
//! ```text
//! # QMP trace, version 1
//! 0.000310 <- {"QMP": {"version": {}, "capabilities": []}}
//! 0.000402 -> {"execute":"qmp_capabilities","id":1}
//! 0.000731 <- {"return": {}, "id": 1}
//! 0.000802 -> {"execute":"query-name","id":2}
//! 0.001044 <- {"return": {"name": "vm"}, "id": 2}
//! 0.001100 <- !what is no JSON \xff\x0d\x0a
//! 0.001250 -> --
//! ```
//!
//! - The first line is as above. A line `# redacted` says that values were replaced. Other lines
//!   that begin with `#`, and empty ones, are comments.
//! - Every other line is a time, a direction and a payload, with one space between them. The time is
//!   that since the session's start, in seconds with six digits behind the point.
//! - `->` is what the client sent, `<-` what it got.
//! - A message is a JSON object, as it was sent but for its line ends, which become spaces.
//! - What is no such message follows a `!`: `\xNN` stands for a byte, `\\` for a backslash, and
//!   everything else for itself. The bytes come back exactly.
//! - `--` is the end of that side's stream.
//!
//! White space between lines is not recorded, nor are descriptors that rode along. [`Recorder`] says
//! what of a stream becomes a message, and what bytes.
//!
//! [`Recorder`] makes a [`Trace`] of bytes, [`Redaction`] takes the secrets out, and `Replay` of `qmp-server` is a
//! server that says again what it said, as long as the client does so too:
//!
//! ```
//! use core::time::Duration;
//! use qmp_proto::trace::{Direction, Recorder, Trace};
//! use qmp_server::Replay;
//!
//! let mut recorder = Recorder::new(1 << 20);
//! let mut text = recorder.header().to_owned();
//! for (direction, bytes) in [
//!     (Direction::ToClient, r#"{"QMP": {}}"#),
//!     (Direction::ToServer, r#"{"execute": "stop", "id": 7}"#),
//!     (Direction::ToClient, r#"{"return": {}, "id": 7}"#),
//! ] {
//!     recorder.record(direction, bytes.as_bytes(), Duration::from_millis(1500));
//! }
//! recorder.end(Direction::ToServer, Duration::from_secs(2));
//! while let Some(entry) = recorder.poll_entry() {
//!     text += &format!("{entry}\n");
//! }
//! assert!(text.contains("1.500000 -> {\"execute\": \"stop\", \"id\": 7}\n"));
//!
//! let trace: Trace = text.parse()?;
//! let mut replay = Replay::new(trace);
//! let mut sent = Vec::new();
//! replay.handle_input(br#"{"id": "other", "execute": "stop"}"#);
//! while let Some(bytes) = replay.transmit() {
//!     sent.extend_from_slice(bytes);
//!     let taken = bytes.len();
//!     replay.advance(taken);
//! }
//! assert_eq!(sent, b"{\"QMP\": {}}\r\n{\"return\": {}, \"id\": \"other\"}\r\n");
//! replay.handle_eof();
//! assert!(replay.is_finished());
//! # Ok::<(), qmp_proto::trace::TraceError>(())
//! ```

// One line of a trace (`entry`, `escape`), a whole trace (`document`), streams cut into lines (`splitter`, `joiner`, `recorder`,
// `lines`), secrets (`redaction`), and JSON tokens (`tokens`).
mod entry;
mod escape;
mod document;
mod splitter;
mod joiner;
mod recorder;
mod redaction;
#[allow(missing_docs, reason = "public for qmp-server only")]
pub(crate) mod tokens;
pub(crate) mod lines;

pub use document::{Trace, TraceError};
pub use entry::{Direction, Entry, Payload};
pub use recorder::Recorder;
pub use redaction::{REDACTED, Redaction};
