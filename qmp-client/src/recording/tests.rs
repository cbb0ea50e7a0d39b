use super::*;

use std::io::{self, Write};
use std::sync::{Arc, Weak, mpsc};
use std::task::Waker;
use std::thread;

use qmp_proto::Request;
use qmp_proto::trace::{Payload, Redaction, Trace};

use crate::shared::testing::{PATIENCE, execute, hear, reply, send};
use crate::shared::{Flushed, SharedConnection};

const GREETING: &str = "{\"QMP\":\r\n {\"capabilities\": []}}\r\n";

/// What was written, and how often it was flushed.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<(Vec<u8>, usize)>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(lock(&self.0).0.clone()).unwrap()
    }

    fn flushes(&self) -> usize {
        lock(&self.0).1
    }

    fn trace(&self) -> Trace {
        self.text().parse().unwrap()
    }

    /// The lines without their times, which never go back.
    fn lines(&self) -> Vec<String> {
        let trace = self.trace();
        assert!(trace.entries().is_sorted_by_key(|entry| entry.at()));
        let shown =
            |entry: &qmp_proto::trace::Entry| format!("{} {}", entry.direction(), entry.payload());
        trace.entries().iter().map(shown).collect()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(bytes.ends_with(b"\n"), "not whole lines: {}", bytes.escape_ascii());
        lock(&self.0).0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        lock(&self.0).1 += 1;
        Ok(())
    }
}

fn tapped(recording: &Recording) -> Arc<SharedConnection> {
    let config = Config::default();
    let tap = recording.tap(&config, Instant::now());
    SharedConnection::with_tap(config, Some(tap))
}

/// Brings it to where commands are sent; gives what it sent.
fn negotiate(shared: &SharedConnection) -> String {
    assert!(hear(shared, GREETING));
    let handshake = send(shared);
    let id = handshake.rsplit(':').next().unwrap().trim_end_matches(['}', '\n']);
    assert!(hear(shared, &reply(id)));
    handshake.trim_end().to_owned()
}

#[test]
fn c21_a_session_is_written_down_in_order() {
    let page = Page::default();
    let shared = tapped(&Recording::new(page.clone()));
    let handshake = negotiate(&shared);
    let pending = execute(&shared, "stop");
    let sent = send(&shared);
    assert!(hear(&shared, &reply(pending.id())));
    assert_eq!(page.flushes(), 0);
    assert!(!shared.receive(Received::Eof));
    let id = |sent: &str| sent.rsplit(':').next().unwrap().trim_end_matches(['}', '\n']).to_owned();
    let expected = [
        "<- {\"QMP\":   {\"capabilities\": []}}".to_owned(),
        format!("-> {handshake}"),
        format!("<- {{\"return\": {{}}, \"id\": {}}}", id(&handshake)),
        format!("-> {}", sent.trim_end()),
        format!("<- {{\"return\": {{}}, \"id\": {}}}", id(&sent)),
        "<- --".to_owned(),
        "-> --".to_owned(),
    ];
    assert_eq!(page.lines(), expected);
    assert!(page.text().starts_with("# QMP trace, version 1\n0.000"), "{}", page.text());
    assert_eq!(page.flushes(), 1);
}

#[test]
fn c21_what_the_transport_takes_in_parts_is_one_line() {
    let page = Page::default();
    let shared = tapped(&Recording::new(page.clone()));
    negotiate(&shared);
    let before = page.lines().len();
    let _pending = execute(&shared, "stop");
    // A byte, nothing, and a failure.
    let mut outcomes =
        [Ok(1), Err(io::ErrorKind::Interrupted), Ok(1), Err(io::ErrorKind::WouldBlock)].into_iter();
    let flushed = shared.flush(|_, _| Ok(outcomes.next().unwrap()?));
    assert_eq!(flushed, Flushed::Blocked);
    assert_eq!(page.lines().len(), before);
    send(&shared);
    assert!(page.lines()[before].starts_with("-> {\"execute\":\"stop\",\"id\":"));
    // What the transport did not take was never said.
    let _pending = execute(&shared, "cont");
    assert_eq!(shared.flush(|_, _| Err(io::ErrorKind::BrokenPipe.into())), Flushed::Failed);
    shared.abort();
    assert_eq!(page.lines()[before + 1..], ["-> --"]);
}

#[test]
fn c21_an_unfinished_message_is_written_down_at_the_end() {
    let page = Page::default();
    let shared = tapped(&Recording::new(page.clone()));
    negotiate(&shared);
    hear(&shared, "{\"return\": ");
    assert!(!shared.receive(Received::Failed(qmp_proto::IoFailure::Reset)));
    // Late news from another thread.
    assert!(!shared.receive(Received::Eof));
    assert_eq!(page.lines()[3..], ["<- !{\"return\": ", "<- --", "-> --"]);
}

#[test]
fn c21_garbage_is_written_down_too() {
    let page = Page::default();
    let shared = tapped(&Recording::new(page.clone()));
    assert!(!hear(&shared, "SSH-2.0-x\r\n"));
    assert_eq!(page.lines(), [r"<- !SSH-2.0-x\x0d\x0a", "-> --"]);
}

#[test]
fn c21_a_redacted_recording_says_so() {
    let page = Page::default();
    let shared = tapped(&Recording::new(page.clone()).redacted(Redaction::default()));
    negotiate(&shared);
    say_a_secret(&shared);
    shared.abort();
    assert!(page.trace().is_redacted());
    assert!(!page.text().contains("hunter2"), "{}", page.text());
    assert!(page.text().contains(r#""password":"(redacted)""#), "{}", page.text());
}

fn say_a_secret(shared: &Arc<SharedConnection>) {
    let arguments = [("password", "hunter2")];
    let arguments = std::collections::BTreeMap::from(arguments);
    let request = Request::new("set_password").arguments(arguments);
    let _pending = shared.execute(request.prepare().unwrap(), None).unwrap();
    assert!(send(shared).contains("hunter2"));
    hear(shared, "{\"return\": \"hunter2\", \"id\": 1}");
}

/// Each command before its reply, in one piece, whoever sent it and whoever wrote it down.
#[test]
fn c21_the_order_is_kept_with_many_threads() {
    let page = Page::default();
    let shared = tapped(&Recording::new(page.clone()));
    negotiate(&shared);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let mut pending = execute(&shared, "stop");
                    send(&shared);
                    assert!(hear(&shared, &reply(pending.id())));
                    assert!(pending.poll(Waker::noop()).is_ready());
                }
            });
        }
    });
    let lines = page.lines();
    assert_eq!(lines.len(), 3 + 4 * 100 * 2);
    let mut known = std::collections::HashSet::new();
    for line in &lines[3..] {
        let id = line.rsplit(':').next().unwrap().trim().to_owned();
        assert_eq!(known.insert(id), line.starts_with("->"), "{line}");
    }
}

/// Another thread gets the lock meanwhile.
#[test]
fn c21_the_writer_is_called_without_the_lock() {
    struct Curious(Arc<Mutex<Weak<SharedConnection>>>, Arc<Mutex<usize>>);
    impl Write for Curious {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(shared) = lock(&self.0).upgrade() {
                let (sender, looked) = mpsc::channel();
                thread::spawn(move || sender.send(shared.inspect(|connection| connection.phase())));
                looked.recv_timeout(PATIENCE).expect("the lock");
                *lock(&self.1) += 1;
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.write(b"").map(|_| ())
        }
    }
    let (weak, calls) = (Arc::default(), Arc::default());
    let shared = tapped(&Recording::new(Curious(Arc::clone(&weak), Arc::clone(&calls))));
    *lock(&weak) = Arc::downgrade(&shared);
    negotiate(&shared);
    shared.abort();
    assert_eq!(*lock(&calls), 5, "three messages, the end, and a flush");
}

/// Whose third call fails in some way.
struct Faulty(Page, usize, fn() -> io::Result<usize>);

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1 == 3 { (self.2)() } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[track_caller]
fn assert_harmless(fault: fn() -> io::Result<usize>, error: &str) {
    let page = Page::default();
    let recording = Recording::new(Faulty(page.clone(), 0, fault));
    let shared = tapped(&recording);
    negotiate(&shared);
    assert_eq!(recording.error().unwrap().to_string(), error);
    let mut pending = execute(&shared, "stop");
    send(&shared);
    assert!(hear(&shared, &reply(pending.id())));
    assert!(pending.poll(Waker::noop()).is_ready());
    shared.abort();
    assert_eq!(page.lines().len(), 2, "{}", page.text());
    assert_eq!(page.flushes(), 0);
}

#[test]
fn c21_a_fault_of_the_writer_ends_the_recording_alone() {
    assert_harmless(|| Err(io::Error::other("the disk is full")), "the disk is full");
    assert_harmless(|| Ok(0), "failed to write whole buffer");
    assert_harmless(|| panic!("not today"), "the recording's writer panicked");
}

/// As one that is made again, since its server was quitting: what follows is the only trace.
#[test]
fn c21_a_connection_without_a_byte_writes_nothing() {
    let page = Page::default();
    let recording = Recording::new(page.clone());
    tapped(&recording).abort();
    tapped(&recording).receive(Received::Eof);
    assert_eq!(page.text(), "");
    hear(&tapped(&recording), r#"{"event": "STOP"}"#);
    assert_eq!(page.lines().len(), 1);
}

#[test]
fn c21_connections_are_written_down_one_after_the_other() {
    let page = Page::default();
    let recording = Recording::new(page.clone());
    for _ in 0..2 {
        let shared = tapped(&recording);
        hear(&shared, r#"{"event": "STOP"}"#);
        shared.abort();
    }
    let shown = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    let lines: Vec<_> = page.text().lines().map(shown).collect();
    let one = ["QMP trace, version 1", r#"<- {"event": "STOP"}"#, "-> --"];
    assert_eq!(lines.iter().map(|line| line.trim()).collect::<Vec<_>>(), [one, one].concat());
    // Each is a trace; both together are none, or the second would never be replayed.
    let text = page.text();
    for one in text.split_inclusive("-> --\n") {
        let trace: Trace = one.parse().unwrap();
        assert!(matches!(trace.entries(), [_, entry] if *entry.payload() == Payload::End));
    }
    assert_eq!(text.parse::<Trace>().unwrap_err().line, 4);
}

#[test]
fn c21_a_recording_is_shown_without_what_went_by() {
    let recording = Recording::new(Page::default());
    let shared = tapped(&recording);
    negotiate(&shared);
    say_a_secret(&shared);
    hear(&shared, "{\"half\": \"hunter2");
    let shown = format!("{shared:?} {recording:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
}

#[cfg(feature = "tracing")]
mod log {
    use super::*;

    use std::fmt::Write as _;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    /// Notes what is logged up to a level.
    struct Notes(Level, Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                write!(self.0, " {value:?}").unwrap();
            }
        }
    }

    impl Subscriber for Notes {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "qmp" && *metadata.level() <= self.0
        }
        fn event(&self, event: &Event<'_>) {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            lock(&self.1).push(line.0);
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// What a session logs up to a level.
    fn logged(level: Level, recording: Option<&Recording>) -> Vec<String> {
        let notes = Arc::default();
        tracing::subscriber::with_default(Notes(level, Arc::clone(&notes)), || {
            let shared = match recording {
                Some(recording) => tapped(recording),
                None => SharedConnection::new(Config::default()),
            };
            negotiate(&shared);
            say_a_secret(&shared);
            shared.abort();
        });
        let notes = mem::take(&mut *lock(&notes));
        assert!(!notes.concat().contains("hunter2"), "{notes:?}");
        notes
    }

    #[test]
    fn c21_messages_are_logged_without_secrets() {
        let lines = logged(Level::TRACE, None);
        let starts = [
            "TRACE <- {\"QMP\":",
            "TRACE -> {\"execute\":\"qmp_capabilities\"",
            "TRACE <- {\"return\": {}",
            "DEBUG ready for commands",
            "TRACE -> {\"execute\":\"set_password\",\"arguments\":{\"password\":\"(redacted)\"}",
            "TRACE <- {\"return\": \"(redacted)\", \"id\": 1}",
            "TRACE -> --",
            "DEBUG ended: closed on request",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn c22_the_log_does_nothing_to_a_terminal() {
        let notes = Arc::default();
        tracing::subscriber::with_default(Notes(Level::TRACE, Arc::clone(&notes)), || {
            let shared = SharedConnection::new(Config::default());
            negotiate(&shared);
            hear(&shared, "{\"event\": \"\u{202e}\u{9b}2J\"}\n\u{1b}c");
            shared.abort();
        });
        let notes = lock(&notes).concat();
        assert!(notes.contains(r"\u202e\u009b2J"), "{notes}");
        assert!(!notes.contains(|c: char| c.is_control() || c == '\u{202e}'), "{notes:?}");
    }

    #[test]
    fn c21_fewer_things_are_logged_at_other_levels() {
        let debug = ["DEBUG ready for commands", "DEBUG ended: closed on request"];
        assert_eq!(logged(Level::DEBUG, None), debug);
        assert_eq!(logged(Level::INFO, None), [""; 0]);
    }

    #[test]
    fn c21_a_connection_is_logged_and_recorded_at_once() {
        let page = Page::default();
        let lines = logged(Level::TRACE, Some(&Recording::new(page.clone())));
        assert_eq!(lines.len(), 8);
        assert!(page.text().contains("hunter2"));
    }
}
