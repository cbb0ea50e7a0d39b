//! C23: a real guest agent at a serial line that is killed, or stopped, while it has a command.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests, with their helpers")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use qmp_blocking::guest_commands::{GuestFileOpen, GuestInfo, GuestPing};
use qmp_blocking::{Client, CloseReason, Dialect, Error, Raw, Request, Violation};
use qmp_tests::agent::SerialAgent;
use qmp_tests::qemu::{DEADLINE, within};
use rustix::process::Signal;

/// Our end of the line, and what passes it.
struct Line {
    file: File,
    received: Arc<AtomicUsize>,
    /// Gets a message for each question, which begins with 0xFF.
    questions: mpsc::Sender<()>,
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.received.fetch_add(length, Ordering::SeqCst);
        Ok(length)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        for _ in bytes[..length].iter().filter(|byte| **byte == 0xFF) {
            let _ = self.questions.send(());
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

struct Scene {
    agent: SerialAgent,
    client: Client,
    received: Arc<AtomicUsize>,
    questions: mpsc::Receiver<()>,
}

impl Scene {
    fn new() -> Option<Self> {
        let mut agent = SerialAgent::new()?;
        agent.start();
        let (questions, asked) = mpsc::channel();
        let received = Arc::new(AtomicUsize::new(0));
        let line = || Line {
            file: agent.line(),
            received: received.clone(),
            questions: questions.clone(),
        };
        // Without a deadline for commands: only the agent can end one.
        let builder = qmp_blocking::Builder::new().dialect(Dialect::GuestAgent);
        let client = builder.deadline(DEADLINE).from_io(line(), line()).unwrap();
        Some(Self { agent, client, received, questions: asked })
    }

    fn wait_for_questions(&self, count: usize) {
        for _ in 0..count {
            self.questions.recv_timeout(DEADLINE).expect("a question");
        }
    }
}

/// Every later command waited for ever.
#[test]
fn c23_an_agent_that_is_killed_in_its_reply_ends_the_command() {
    let Some(mut scene) = Scene::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    fs::write(&path, vec![b'x'; 40 << 20]).unwrap();
    let path = path.into_os_string().into_string().unwrap();
    let handle = scene.client.execute(&GuestFileOpen { path: &path, mode: None }).unwrap();
    let read = {
        let (client, received) = (scene.client.clone(), scene.received.clone());
        received.store(0, Ordering::SeqCst);
        let arguments = serde_json::json!({"handle": handle, "count": 30 << 20});
        let request = Request::new("guest-file-read").arguments(arguments);
        thread::spawn(move || client.execute_request(request).map(|raw: Raw| raw.as_bytes().len()))
    };
    let received = scene.received.clone();
    within(move || {
        while received.load(Ordering::SeqCst) < 1 << 20 {
            thread::yield_now();
        }
    });
    scene.agent.restart();
    let outcome = within(|| read.join()).unwrap();
    let Err(Error::Unanswered(CloseReason::Violation(reason))) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(
        matches!(reason, Violation::AgentRestarted | Violation::UnattributableError(_)),
        "{reason}"
    );
    // The agent that was started next is there for everybody.
    let client = scene.client.clone();
    within(move || client.execute(&GuestPing)).unwrap();
    let client = scene.client.clone();
    assert!(!within(move || client.execute(&GuestInfo)).unwrap().version.is_empty());
}

/// An agent that is stopped is probed several times, and then answers everything in order.
#[test]
fn c23_an_agent_that_is_stopped_for_a_while_loses_no_command() {
    let Some(scene) = Scene::new() else { return };
    scene.client.execute(&GuestPing).unwrap();
    while scene.questions.try_recv().is_ok() {}
    scene.agent.signal(Signal::STOP);
    let (info, ping) = {
        let (first, second) = (scene.client.clone(), scene.client.clone());
        (
            thread::spawn(move || first.execute(&GuestInfo)),
            thread::spawn(move || second.execute(&GuestPing)),
        )
    };
    scene.wait_for_questions(2);
    scene.agent.signal(Signal::CONT);
    assert!(!within(|| info.join()).unwrap().unwrap().version.is_empty());
    within(|| ping.join()).unwrap().unwrap();
    let client = scene.client.clone();
    within(move || client.execute(&GuestPing)).unwrap();
}
