//! C20 with children: how a start fails, and what is told of it.
#![allow(clippy::unnecessary_fallible_conversions, reason = "as above")]
#![allow(clippy::useless_conversion, reason = "the blocking adapter's programs are std's own")]

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command as StdCommand, Stdio};

use qmp_tests::qemu::{Monitor, Setup, find, make_fifo, within};

use super::qmp::commands::{QueryStatus, Quit};
use super::qmp::process::Command;
use super::qmp::{CloseReason, ConnectError};
use super::runtime::{ended, finish, start, tell};
use super::{patient, qmp};

/// Ways in which QEMU ends at its start. It has greeted before it ends in the second half, so that it
/// leaves `qmp_capabilities` unread, or its reply unsent.
const WAYS_TO_DIE: [&str; 30] = [
    "-no-such-option",
    "-machine nosuch",
    "-m nonsense",
    "-cpu nosuch",
    "-accel nosuch",
    "-object nosuch,id=a",
    "-drive file=/no/such",
    "-blockdev null-co",
    "-netdev nosuch,id=a",
    "-chardev socket,id=a,path=/no/such/socket,server=on,wait=off",
    "-readconfig /no/such",
    "-serial file:/no/such/file",
    "-monitor unix:/no/such/socket",
    "-pidfile /no/such/file",
    "-runas nosuch",
    "-add-fd fd=99,set=1",
    "-display nosuch",
    "-device nosuch",
    "-device virtio-blk-pci,drive=nosuch",
    "-device virtio-net-pci,netdev=nosuch",
    "-device vfio-pci,host=00:00.0",
    "-kernel /no/such",
    "-bios /no/such",
    "-incoming tcp:1.2.3.4:99999",
    "-vnc 1.2.3.4:1",
    "-loadvm nosuch",
    "-chroot /no/such",
    "-fw_cfg name=opt/a,file=/no/such",
    "-usbdevice nosuch",
    "-gdb tcp:1.2.3.4:1",
];

/// The error of a child that has no connection.
async fn error_of(mut command: Command) -> ConnectError {
    command.stderr(Stdio::piped());
    wait!(patient().spawn(command)).unwrap_err()
}

/// A shell with a script, which finds the words in `$1` and so on. What spawn adds comes after them.
fn shell(script: &str, words: &[&Path]) -> Command {
    let mut command = StdCommand::new("/bin/sh");
    command.args(["-c", script, "sh"]).args(words);
    command.into()
}

async fn qemu_dies_of(way: &'static str) {
    let Some(program) = find("qemu-system-x86_64") else { return };
    let mut command = Command::new(program);
    command.args(["-nodefaults", "-display", "none", "-S"]).args(way.split(' '));
    let error = error_of(command).await;
    let text = error.to_string();
    let ConnectError::Exited { status, stderr } = error else { panic!("{way}: {error:?}") };
    assert_eq!(status.code(), Some(1), "{way}");
    let last = stderr.lines().last().unwrap_or_else(|| panic!("{way}: it says why"));
    assert!(stderr.contains("qemu") && text.contains("exit status: 1"), "{way}: {stderr}, {text}");
    assert!(last.contains('\u{2018}') || text.contains(&last[..last.len().min(60)]), "{text}");
}

/// Its end comes as an end of the stream or as a reset, before the greeting or after it.
#[test]
fn c20_in_whichever_way_qemu_dies_at_its_start_it_has_exited_and_said_why() {
    tell(async {
        for two in WAYS_TO_DIE.chunks(2) {
            let dying: Vec<_> = two.iter().map(|way| start(qemu_dies_of(way))).collect();
            for way in dying {
                finish(way).await;
            }
        }
    });
}

/// Some write much before they answer: all of it is there when they have.
#[cfg(target_os = "linux")]
#[test]
fn c20_a_child_that_says_much_before_it_answers_starts() {
    tell(async {
        let Some(program) = find("qemu-system-x86_64") else { return };
        let script = "head -c 300000 /dev/zero | tr '\\0' x >&2; exec \"$@\" -machine none -nodefaults -display none -S";
        let mut command = shell(script, &[&program]);
        command.stderr(Stdio::piped());
        let (client, mut child) = wait!(patient().spawn(command)).unwrap();
        wait!(client.execute(&Quit)).unwrap();
        let stderr = OwnedFd::try_from(child.stderr.take().unwrap()).unwrap();
        assert!(ended(child).await.success());
        rustix::io::ioctl_fionbio(&stderr, false).unwrap();
        let mut said = Vec::new();
        File::from(stderr).read_to_end(&mut said).unwrap();
        assert!(said.len() >= 300_000 && said[..300_000].iter().all(|byte| *byte == b'x'));
        assert!(said[300_000..].is_empty(), "{}", String::from_utf8_lossy(&said[300_000..]));
    });
}

/// A child of the child still holds its standard error.
#[test]
fn c20_what_an_ended_child_said_is_told_at_once_and_in_part() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        make_fifo(&fifo);
        let script = "cat \"$1\" & head -c 200000 /dev/zero | tr '\\0' x >&2; \
                      printf '\\n\\377\\033[2J\\nlast words\\n' >&2; exit 3";
        let error = error_of(shell(script, &[&fifo])).await;
        // The child of the child ends here.
        drop(within(move || File::options().write(true).open(fifo)).unwrap());
        let text = error.to_string();
        let ConnectError::Exited { status, stderr } = error else { panic!("{error:?}") };
        assert_eq!(status.code(), Some(3));
        assert!(stderr.ends_with("xx\n\u{fffd}\u{1b}[2J\nlast words\n"), "{}", stderr.len());
        assert!((60_000..70_000).contains(&stderr.len()), "{}", stderr.len());
        assert!(text.ends_with("; \u{fffd}\\u001b[2J; last words"), "{text}");
        assert!(text.len() < 1000, "{}", text.len());
    });
}

/// A program that ends with the status 3, and says why.
async fn exits_with_a_reason(script: &str, words: &[&Path]) {
    let error = error_of(shell(script, words)).await;
    let ConnectError::Exited { status, stderr } = error else { panic!("{script}: {error:?}") };
    assert_eq!(status.code(), Some(3), "{script}");
    assert!(stderr.ends_with("reason\n"), "{script}: {}", stderr.len());
}

/// The helper is there until the error is: it reads a fifo that gets no writer before.
#[test]
fn c20_a_child_whose_helper_holds_its_socket_has_ended() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        make_fifo(&fifo);
        let script = "exec 3<&0; echo reason >&2; cat \"$1\" >/dev/null 2>&1 & exit 3";
        exits_with_a_reason(script, &[&fifo]).await;
        drop(within(move || File::options().write(true).open(fifo)).unwrap());
    });
}

#[test]
fn c20_a_child_that_says_something_on_its_socket_and_ends_has_ended() {
    tell(exits_with_a_reason("echo oops >&0; echo reason >&2; exit 3", &[]));
}

#[test]
fn c20_a_child_that_closes_its_end_and_ends_later_has_ended() {
    tell(exits_with_a_reason("exec 0<&-; sleep 3; echo reason >&2; exit 3", &[]));
}

/// It is blocked until the deadline, as nothing is read before.
#[test]
fn c20_a_child_that_says_more_than_its_pipe_holds_has_ended() {
    tell(async {
        let script = "head -c 2000000 /dev/zero | tr '\\0' x >&2; echo reason >&2; exit 3";
        let mut command = shell(script, &[]);
        command.stderr(Stdio::piped());
        let hasty = qmp::Builder::new().deadline(std::time::Duration::from_secs(1));
        let error = wait!(hasty.spawn(command)).unwrap_err();
        let ConnectError::Exited { status, stderr } = error else { panic!("{error:?}") };
        assert_eq!(status.code(), Some(3));
        assert!(stderr.ends_with("xxreason\n"), "{}", stderr.len());
    });
}

/// It ends because its connection was closed.
#[test]
fn c20_a_child_that_is_not_a_server_and_ends_well_is_named() {
    tell(async {
        let error = error_of(shell("echo oops >&0; cat >/dev/null", &[])).await;
        assert!(
            matches!(error, ConnectError::Ended { reason: CloseReason::NotQmp(_), .. }),
            "{error:?}"
        );
    });
}

#[test]
fn c20_a_child_that_ends_well_and_says_nothing_is_told_apart() {
    tell(async {
        let error = error_of(shell("exit 0", &[])).await;
        assert!(error.to_string().ends_with("(exit status: 0); does it stay in the foreground?"));
    });
}

/// It is killed, so nobody reads the fifo any more.
#[test]
fn c20_a_child_that_closes_its_end_and_stays_has_not_exited() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        make_fifo(&fifo);
        let failing = start({
            let command = shell("exec cat <\"$1\"", &[&fifo]);
            error_of(command)
        });
        let writer = within(move || File::options().write(true).open(fifo)).unwrap();
        let error = finish(failing).await;
        let ConnectError::Ended { reason: CloseReason::Eof { .. }, .. } = error else {
            panic!("{error:?}")
        };
        let gone = std::io::Write::write(&mut &writer, b"?").unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn c20_a_daemon_is_refused_before_it_starts() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let begun = folder.path().join("begun");
        for option in ["-daemonize", "--daemonize"] {
            let command = shell("touch \"$1\"", &[&begun, Path::new(option)]);
            let error = error_of(command).await;
            let text = error.to_string();
            let ConnectError::NotStarted { error, .. } = error else { panic!("{error:?}") };
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(
                text.starts_with("/bin/sh was not started: with -daemonize it would"),
                "{text}"
            );
            assert!(!fs::exists(&begun).unwrap());
        }
    });
}

#[test]
fn c20_qemu_warns_of_nothing_that_spawn_does() {
    tell(async {
        let Some(program) = find("qemu-system-x86_64") else { return };
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("stderr");
        let mut command = Command::new(program);
        command.args(["-machine", "none", "-nodefaults", "-display", "none", "-S"]);
        // The most usual name of a character device is the program's own.
        command.args(["-chardev", "null,id=qmp"]).stderr(File::create(&log).unwrap());
        let (client, child) = wait!(patient().spawn(command)).unwrap();
        wait!(client.execute(&QueryStatus)).unwrap();
        wait!(client.execute(&Quit)).unwrap();
        assert!(ended(child).await.success());
        assert_eq!(fs::read_to_string(log).unwrap(), "");
    });
}

/// It is one of the causes that are named.
#[test]
fn c20_a_stopped_qemu_gives_no_greeting() {
    tell(async {
        let Some(setup) = Setup::bare() else { return };
        let server = setup.monitor(Monitor::Unix).start();
        server.stop();
        let hasty = qmp::Builder::new().deadline(std::time::Duration::from_millis(100));
        let error = wait!(hasty.connect(server.address())).unwrap_err();
        assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error}");
        let cause = "QEMU may still be starting, be stopped (SIGSTOP) or hang";
        assert!(error.to_string().contains(cause), "{error}");
        server.signal(rustix::process::Signal::CONT);
        wait!(patient().connect(server.address())).unwrap();
    });
}
