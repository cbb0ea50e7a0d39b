//! Fifos that are opened late or are not there, and streams that fail.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use qmp_blocking::{
    Address, Builder, Client, CloseReason, ConnectError, Error, IoFailure, from_io,
};
use qmp_tests::qemu::make_fifo;
use qmp_tests::scripted::{PATIENCE, Peer, Script, event_text, pipes, run};
use rustix::fs::{Mode, OFlags};

/// Connects to fifos of which only the first is open at the server's; opens the second when the
/// client has.
fn late_fifos(
    builder: &Builder,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (Result<Client, ConnectError>, Script) {
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["qmp.in", "qmp.out"].map(|name| folder.path().join(name));
    make_fifo(&input);
    make_fifo(&output);
    let address = Address::Pipe(folder.path().join("qmp"));
    let input = File::options().read(true).write(true).open(input).unwrap();
    let script = Script::start(move || {
        let deadline = Instant::now() + PATIENCE;
        let output = loop {
            // This fails as long as nobody has it open for reading.
            match rustix::fs::open(&output, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
                Ok(output) => break output,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            thread::yield_now();
        };
        script(&mut Peer::new(input.into(), output));
    });
    (builder.connect(address), script)
}

#[test]
fn c20_a_fifo_that_the_server_opens_late_is_waited_for() {
    let (client, script) = late_fifos(&Builder::new(), |peer| {
        peer.greet();
        let command = peer.expect("stop");
        peer.reply(&command, "{}");
        peer.expect("last");
    });
    let client = client.unwrap();
    run(&client, "stop").unwrap();
    run(&client, "last").unwrap_err();
    script.join();
}

#[test]
fn c20_a_server_of_fifos_that_ends_before_it_greets_is_noticed() {
    // Another one may start, and is waited for.
    let (client, script) = late_fifos(&Builder::new().deadline(Duration::from_secs(2)), |_| ());
    let error = client.unwrap_err();
    assert!(matches!(error, ConnectError::NoSocket(_)), "{error:?}");
    assert!(error.to_string().contains("nobody reads the fifo"), "{error}");
    script.join();
}

#[test]
fn c20_missing_fifos_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let hasty = Builder::new().deadline(Duration::from_millis(2));
    let text = || hasty.connect(Address::Pipe(path.clone())).unwrap_err().to_string();
    let shown = path.display();
    let missing = format!("no such fifo: make both with mkfifo {shown}.in {shown}.out; is QEMU");
    assert!(text().contains(&missing), "{}", text());
    make_fifo(&path.with_extension("in"));
    make_fifo(&path.with_extension("out"));
    let unread = format!("nobody reads the fifo: is QEMU running with -qmp pipe:{shown}?");
    assert!(text().ends_with(&unread), "{}", text());
}

/// What is given is taken, whatever it is; that it is no socket is found out.
#[test]
fn a_file_in_the_place_of_a_socket_is_an_error() {
    let file = tempfile::tempfile().unwrap();
    let error = Builder::new().from_stream(file).unwrap_err();
    assert!(
        matches!(error, ConnectError::Ended { reason: CloseReason::Failed(_), .. }),
        "{error:?}"
    );
}

/// Reads what there is, and then fails.
struct Failing(io::Cursor<Vec<u8>>, mpsc::Receiver<()>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => {
                let _ = self.1.recv_timeout(PATIENCE);
                Err(io::Error::other("this reader fails"))
            }
            length => Ok(length),
        }
    }
}

#[test]
fn a_reader_that_fails_ends_the_connection() {
    // It greets, and does not wait for qmp_capabilities.
    let said = [qmp_tests::scripted::GREETING, &event_text("STOP", "{}")].concat();
    let (fail, may_fail) = mpsc::channel();
    fail.send(()).unwrap();
    let reader = Failing(io::Cursor::new(said.into_bytes()), may_fail);
    let error = from_io(reader, io::sink()).unwrap_err();
    let failed = CloseReason::Failed(IoFailure::Other("other error: this reader fails".into()));
    assert!(matches!(&error, ConnectError::Ended { reason, .. } if *reason == failed), "{error:?}");
    assert!(error.to_string().ends_with(": the transport failed: other error: this reader fails"));
}

/// What it swallowed would never be answered.
#[test]
fn a_writer_that_fails_ends_the_connection() {
    let (closed, is_closed) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let (reader, writer, script) = pipes(move |peer| {
        peer.greet();
        peer.stop_reading();
        closed.send(()).unwrap();
        // The other pipe stays open all the while.
        has_ended.recv_timeout(PATIENCE).expect("the connection ends");
    });
    let client = from_io(reader, writer).unwrap();
    is_closed.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(run(&client, "stop"), Err(Error::Unanswered(_))));
    ended.send(()).unwrap();
    script.join();
}
