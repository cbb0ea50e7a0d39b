//! Servers that are started at one path at once: one of them listens, and clients reach it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Barrier, mpsc};
use std::thread;

use qmp_client::Address;
use qmp_client::connect::listen::ListenSocket;
use qmp_tests::scripted::PATIENCE;

/// What a test binary, started by another, listens for.
const CHILD: &str = "QMP_TEST_LISTENS_IN_A_CHILD";

/// What is there before: nothing, or what a killed server left behind.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    LeftBehind,
}

impl Before {
    fn prepare(self, path: &Path) {
        match self {
            Self::Nothing => {}
            Self::LeftBehind => drop(UnixListener::bind(path).unwrap()),
        }
    }
}

fn bind(path: &Path) -> Option<ListenSocket> {
    match ListenSocket::bind(&Address::from(path)) {
        Ok(socket) => Some(socket),
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        Err(error) => panic!("{error}"),
    }
}

/// A client that comes to the path is one of this socket's.
fn is_reached(socket: &ListenSocket, path: &Path) -> bool {
    let client = UnixStream::connect(path);
    client.is_ok() && socket.try_accept().unwrap().is_some()
}

#[track_caller]
fn nothing_is_left(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[track_caller]
fn threads_at_one_path(before: Before, rounds: usize) {
    const THREADS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    for round in 0..rounds {
        before.prepare(&path);
        let together = Barrier::new(THREADS);
        let bound: Vec<_> = thread::scope(|scope| {
            let start = || {
                together.wait();
                bind(&path)
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(start)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(bound.len(), 1, "in round {round} with {before:?}");
        assert!(is_reached(&bound[0], &path), "in round {round} with {before:?}");
        drop(bound);
        nothing_is_left(folder.path());
    }
}

#[test]
fn of_many_threads_one_listens() {
    threads_at_one_path(Before::Nothing, 1000);
}

#[test]
fn of_many_threads_one_replaces_what_was_left_behind() {
    threads_at_one_path(Before::LeftBehind, 1000);
}

/// The one that ends may be too late for the next one, but it does not take the next one's file with it.
#[test]
fn a_listener_that_ends_removes_no_file_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    let mut last = bind(&path);
    let mut handed_over = 0;
    for round in 0..2000 {
        let together = Barrier::new(2);
        let next = thread::scope(|scope| {
            let ending = last.take();
            scope.spawn(|| {
                together.wait();
                drop(ending);
            });
            together.wait();
            bind(&path)
        });
        handed_over += usize::from(next.is_some());
        last = next.or_else(|| bind(&path));
        assert!(is_reached(last.as_ref().expect("nobody else is there"), &path), "round {round}");
    }
    assert!(handed_over > 0, "they never met");
    drop(last);
    nothing_is_left(folder.path());
}

/// Somebody takes the file away while its server listens, as QEMU does that is started at the same path.
#[test]
fn a_listener_whose_file_was_replaced_leaves_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    let first = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = bind(&path).unwrap();
    drop(first);
    assert!(is_reached(&second, &path));
}

/// No name next to the socket's matters, whatever is there: a file, a folder, or a link.
#[test]
fn other_names_in_the_folder_disturb_nobody() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".file.qmp-lock"), "").unwrap();
    fs::create_dir(folder.path().join(".folder.qmp-lock")).unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.path().join(".link.qmp-lock")).unwrap();
    for name in ["file", "folder", "link"] {
        let path = folder.path().join(name);
        let socket = bind(&path).unwrap();
        assert!(is_reached(&socket, &path));
        assert!(bind(&path).is_none());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

/// Another program holds the lock of the folder: a listener that ends takes none, so it does not wait.
#[test]
fn a_listener_that_ends_does_not_wait_for_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    let socket = bind(&path).unwrap();
    let locked = fs::File::open(folder.path()).unwrap();
    locked.lock().unwrap();
    assert!(bind(&folder.path().join("other.sock")).is_none());
    let start = std::time::Instant::now();
    drop(socket);
    assert!(start.elapsed() < std::time::Duration::from_secs(4), "{:?}", start.elapsed());
    nothing_is_left(folder.path());
    drop(locked);
    assert!(bind(&path).is_some());
}

#[test]
fn what_is_not_a_socket_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter");
    fs::write(&path, "dear").unwrap();
    let error = ListenSocket::bind(&Address::from(&*path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().ends_with("the file is not a socket"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"dear");
}

/// This test binary once more, as a program that listens where it is told to.
struct Program {
    child: Child,
    commands: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Program {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "listens_where_it_is_told_to", "--nocapture"]).env(CHILD, "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let commands = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, commands, lines }
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// What it says about itself; the other lines are the test harness's.
    #[track_caller]
    fn says(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("an answer");
            if let Some((_, said)) = line.split_once("program: ") {
                return said.to_owned();
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As a test of its own it does nothing.
#[test]
fn listens_where_it_is_told_to() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut listening = None;
    for line in io::stdin().lines().map_while(Result::ok) {
        listening = match &*line {
            "end" => None,
            path => bind(Path::new(path)),
        };
        println!("program: {}", if listening.is_some() { "listens" } else { "does not" });
    }
    drop(listening);
}

#[test]
fn of_several_programs_one_listens() {
    let mut programs = [(); 3].map(|()| Program::start());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    for round in 0..400 {
        let before = if round % 2 == 0 { Before::Nothing } else { Before::LeftBehind };
        before.prepare(&path);
        programs.iter_mut().for_each(|program| program.tell(path.to_str().unwrap()));
        let said = programs.each_ref().map(Program::says);
        let listening = said.iter().filter(|said| *said == "listens").count();
        assert_eq!(listening, 1, "in round {round} with {before:?}");
        UnixStream::connect(&path).expect("it is reached");
        programs.iter_mut().for_each(|program| program.tell("end"));
        programs.iter().map(Program::says).for_each(drop);
        nothing_is_left(folder.path());
    }
}

/// A program that is killed while it makes, replaces or removes its file is in nobody's way.
#[test]
fn a_program_that_is_killed_at_any_time_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    for _ in 0..30 {
        let mut program = Program::start();
        for _ in 0..20 {
            program.tell(path.to_str().unwrap());
            program.tell("end");
        }
        program.says();
        drop(program);
        let socket = bind(&path).expect("it has ended");
        assert!(is_reached(&socket, &path));
    }
    nothing_is_left(folder.path());
}
