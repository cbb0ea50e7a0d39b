//! C11: descriptors arrive once, with their own command, and are closed here.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use qmp_tests::qemu::{Monitor, Setup};
use qmp_tests::scripted::{Command, Peer, Server, pair, pipes};

use super::qmp::commands::{AddFd, Closefd, Getfd, QueryFdsets, QueryStatus};
use super::qmp::{Builder, Client, Empty, Error, Refusal, Request};
use super::runtime::{self, finish, start, tell};
use super::{heard, patient, qmp, run};

const SHORT: Duration = Duration::from_millis(20);

/// What tells when a descriptor is closed, and what was written into it before.
struct Tracked(File);

fn tracked() -> (OwnedFd, Tracked) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    (writer, Tracked(reader.into()))
}

impl Tracked {
    /// What was written into it, once it is closed everywhere.
    fn written(mut self) -> String {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        text
    }

    #[track_caller]
    fn assert_closed(self) {
        assert_eq!(self.written(), "");
    }
}

/// The one descriptor of a command, which came with its first byte.
fn descriptor_of(command: &mut Command) -> File {
    let [(at, descriptor)] = <[_; 1]>::try_from(std::mem::take(&mut command.descriptors)).unwrap();
    assert_eq!(at, 0, "it came with the first byte");
    descriptor.into()
}

const GETFD: Getfd<'_> = Getfd { fdname: "a" };

#[test]
fn c11_a_descriptor_comes_once_with_the_first_byte_of_its_command() {
    const COMMANDS: usize = 3;
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            peer.read_bytewise();
            for number in 0..COMMANDS {
                let plain = peer.expect("stop");
                assert!(plain.descriptors.is_empty());
                peer.reply(&plain, "{}");
                let mut command = peer.expect("getfd");
                descriptor_of(&mut command).write_all(&[b'0' + number as u8]).unwrap();
                peer.reply(&command, "{}");
            }
            peer.expect_eof();
        });
        let client = wait!(qmp::from_stream(socket)).unwrap();
        for number in 0..COMMANDS {
            let (descriptor, tracked) = tracked();
            run(&client, "stop").await.unwrap();
            let Empty {} = wait!(client.execute_with_fd(&GETFD, descriptor)).unwrap();
            // The one that this process had is closed too.
            assert_eq!(tracked.written(), number.to_string());
        }
        drop(client);
        script.join();
    });
}

/// The socket is full when the command's turn comes, and it is larger than what then has room.
#[test]
fn c11_after_a_partial_write_the_descriptor_is_not_sent_again() {
    const BIG: usize = 40_000;
    tell(async {
        let (full, may_read) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            heard(&may_read);
            peer.read_bytewise();
            let mut first = peer.expect("getfd");
            assert!(first.raw.len() > BIG);
            descriptor_of(&mut first).write_all(b"here").unwrap();
            let last = peer.expect("last");
            assert!(last.descriptors.is_empty());
            peer.reply(&last, "{}");
            peer.expect_eof();
        });
        rustix::net::sockopt::set_socket_send_buffer_size(&socket, BIG / 10).unwrap();
        let client = wait!(qmp::from_stream(socket)).unwrap();
        let text = serde_json::json!({ "text": "x".repeat(BIG) });
        let (descriptor, tracked) = tracked();
        let big = Request::new("getfd").arguments(text).descriptor(descriptor);
        let outcome = wait!(client.with_timeout(SHORT).execute_request(big));
        assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
        full.send(()).unwrap();
        run(&client, "last").await.unwrap();
        assert_eq!(tracked.written(), "here");
        drop(client);
        script.join();
    });
}

#[test]
fn c11_with_oob_a_descriptor_is_a_barrier() {
    tell(async {
        let (socket, script) = pair(|peer| {
            peer.greet();
            let mut first = peer.expect("getfd");
            let plain = peer.expect("stop");
            drop(descriptor_of(&mut first));
            peer.reply(&plain, "{}");
            peer.reply(&first, "{}");
            let mut second = peer.expect("add-fd");
            drop(descriptor_of(&mut second));
            peer.reply(&second, r#"{"fdset-id": 1, "fd": 9}"#);
            peer.expect_eof();
        });
        let client = wait!(Builder::new().oob(true).from_stream(socket)).unwrap();
        let hasty = client.with_timeout(SHORT);
        let ((first, one), (second, two), (third, three)) = (tracked(), tracked(), tracked());
        let outcome = wait!(hasty.execute_with_fd(&GETFD, first));
        assert_eq!(outcome, Err(Error::TimedOut { sent: true }));
        let outcome = wait!(hasty.execute_with_fd(&GETFD, second));
        assert_eq!(outcome, Err(Error::TimedOut { sent: false }));
        two.assert_closed();
        run(&client, "stop").await.unwrap();
        let added = wait!(client.execute_with_fd(&AddFd::default(), third)).unwrap();
        assert_eq!(added.fd, 9);
        [one, three].into_iter().for_each(Tracked::assert_closed);
        let (descriptor, tracked) = tracked();
        let out_of_band = Request::of(&GETFD).out_of_band().descriptor(descriptor);
        let refused = wait!(client.execute_request(out_of_band));
        assert_eq!(refused, Err(Error::Refused(Refusal::DescriptorOutOfBand)));
        tracked.assert_closed();
        drop((client, hasty));
        script.join();
    });
}

/// However its command ends, it is closed here.
#[test]
fn c11_a_descriptor_is_closed_when_its_command_ends() {
    tell(async {
        let (withdrawn, may_answer) = mpsc::channel();
        let (socket, script) = pair(move |peer| {
            peer.greet();
            let command = peer.expect("getfd");
            peer.fail(&command, "GenericError", "no");
            drop(command);
            let slow = peer.expect("slow");
            heard(&may_answer);
            peer.reply(&slow, "{}");
            peer.expect("getfd");
        });
        let client = wait!(Builder::new().window(1).from_stream(socket)).unwrap();
        let (descriptor, failed) = tracked();
        let outcome = wait!(client.execute_with_fd(&GETFD, descriptor));
        assert!(matches!(outcome, Err(Error::Command(_))), "{outcome:?}");
        failed.assert_closed();

        let hasty = client.with_timeout(SHORT);
        assert_eq!(run(&hasty, "slow").await, Err(Error::TimedOut { sent: true }));
        let (descriptor, not_sent) = tracked();
        let outcome = wait!(hasty.execute_with_fd(&GETFD, descriptor));
        assert_eq!(outcome, Err(Error::TimedOut { sent: false }));
        not_sent.assert_closed();
        withdrawn.send(()).unwrap();

        let (descriptor, unanswered) = tracked();
        let outcome = wait!(client.execute_with_fd(&GETFD, descriptor));
        assert!(matches!(outcome, Err(Error::Unanswered(_))), "{outcome:?}");
        script.join();
        unanswered.assert_closed();
        let (descriptor, refused) = tracked();
        let outcome = wait!(client.execute_with_fd(&GETFD, descriptor));
        assert!(matches!(outcome, Err(Error::Refused(_))), "{outcome:?}");
        refused.assert_closed();
    });
}

async fn assert_refused(client: Client) {
    let (descriptor, tracked) = tracked();
    let refused = wait!(client.execute_with_fd(&GETFD, descriptor)).unwrap_err();
    assert_eq!(refused, Error::Refused(Refusal::NoDescriptors));
    tracked.assert_closed();
    run(&client, "stop").await.unwrap();
}

/// The kernel, or whatever is between, would lose it without a word.
#[test]
fn c11_a_descriptor_is_refused_where_the_transport_cannot_carry_it() {
    let script = |peer: &mut Peer| {
        peer.greet();
        let stop = peer.expect("stop");
        peer.reply(&stop, "{}");
    };
    tell(async {
        for server in [Server::tcp(script), Server::fifos(script)] {
            assert_refused(wait!(qmp::connect(server.address())).unwrap()).await;
            server.join();
        }
        let (reader, writer, script) = pipes(script);
        let (reader, writer) = (runtime::stream(reader), runtime::stream(writer));
        assert_refused(wait!(qmp::from_io(reader, writer)).unwrap()).await;
        script.join();
    });
}

const FILES: usize = 20;
const CALLERS: usize = 5;

fn file_named(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("file {number}"))
}

/// Adds every so manieth file, with other commands between them.
async fn add_files(client: Client, folder: PathBuf, first: usize) {
    for number in (first..FILES).step_by(CALLERS) {
        let path = file_named(&folder, number);
        fs::write(&path, format!("content {number}")).unwrap();
        let opaque = path.to_str();
        let command = AddFd { fdset_id: None, opaque };
        wait!(client.execute_with_fd(&command, File::open(&path).unwrap())).unwrap();
        wait!(client.execute(&QueryStatus)).unwrap();
    }
}

/// Each file is there once, under its own name, and is what it should be.
async fn check_files(client: &Client, folder: &Path, pid: u32) {
    let sets = wait!(client.execute(&QueryFdsets)).unwrap();
    let descriptors = sets.into_iter().flat_map(|set| set.fds);
    let by_name: HashMap<_, _> = descriptors.map(|fd| (fd.opaque.unwrap(), fd.fd)).collect();
    assert_eq!(by_name.len(), FILES);
    for number in 0..FILES {
        let path = file_named(folder, number);
        let theirs = format!("/proc/{pid}/fd/{}", by_name[path.to_str().unwrap()]);
        assert_eq!(fs::read_link(&theirs).unwrap(), path);
        assert_eq!(fs::read_to_string(&theirs).unwrap(), format!("content {number}"));
    }
}

#[test]
fn c11_files_of_many_callers_get_to_qemu_with_oob_and_without() {
    tell(async {
        for oob in [false, true] {
            let Some(setup) = Setup::bare() else { return };
            let mut server = setup.monitor(Monitor::Unix).start();
            let folder = server.folder().to_owned();
            let client = wait!(patient().oob(oob).connect(server.address())).unwrap();
            let add = |first| start(add_files(client.clone(), folder.clone(), first));
            let callers: Vec<_> = (0..CALLERS).map(add).collect();
            for caller in callers {
                finish(caller).await;
            }
            check_files(&client, &folder, server.child().id()).await;
        }
    });
}

#[test]
fn c11_what_qemu_has_got_is_its_own() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).start();
        let client = wait!(patient().connect(server.address())).unwrap();
        // Without a descriptor the server has nothing to keep.
        assert!(matches!(wait!(client.execute(&GETFD)), Err(Error::Command(_))));
        let (descriptor, tracked) = tracked();
        wait!(client.execute_with_fd(&GETFD, descriptor)).unwrap();
        wait!(client.execute(&Closefd { fdname: "a" })).unwrap();
        // QEMU had it, and it alone.
        tracked.assert_closed();
    });
}
