//! A server whose process has no descriptors left. The limit is the whole process's, so this is a
//! test alone.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use qmp_server::Machine;
use qmp_server::net::Server;
use qmp_tests::qemu::within;
use qmp_tests::scripted::PATIENCE;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long nothing has to happen.
const WHILE: Duration = Duration::from_millis(500);

/// The process gets no descriptor with this number or a higher one, until it is dropped.
struct Limit(Rlimit);

impl Limit {
    fn below(number: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(number), ..before }).unwrap();
        Self(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn is_greeted(stream: &mut UnixStream) -> bool {
    let mut first = [0; 7];
    stream.read_exact(&mut first).is_ok_and(|()| &first == b"{\"QMP\":")
}

/// In hundredths of a second, as the kernel counts it.
fn processor_time() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let numbers = stat.rsplit(") ").next().unwrap().split(' ');
    numbers.skip(11).take(2).map(|number| number.parse::<u64>().unwrap()).sum()
}

fn descriptors() -> usize {
    // The folder is open meanwhile.
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

#[test]
fn a_server_without_descriptors_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp.sock");
    let server = Server::bind(&path, Machine::new()).unwrap();
    let idle = descriptors();
    let mut first = connect(&path);
    assert!(is_greeted(&mut first));

    // A client that cannot be accepted waits, and the server with it.
    let mut second = connect(&path);
    second.set_read_timeout(Some(WHILE)).unwrap();
    let before = processor_time();
    let limit = Limit::below(3);
    drop(first);
    let nothing = second.read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    drop(limit);
    let spent = Duration::from_millis(10 * (processor_time() - before));
    assert!(spent < WHILE / 4, "it spins: {spent:?}");
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(is_greeted(&mut second));
    drop(second);
    let start = Instant::now();
    while descriptors() > idle {
        assert!(start.elapsed() < PATIENCE);
        thread::yield_now();
    }

    // One for whom no more than the socket is left is dropped. Every lower number is in use.
    let mut files = Vec::new();
    while files.last().is_none_or(|file: &File| file.as_raw_fd() as usize + 1 != descriptors()) {
        files.push(File::open("/dev/null").unwrap());
    }
    let limit = Limit::below(descriptors() as u64 + 2);
    let mut third = connect(&path);
    assert_eq!(third.read(&mut [0]).unwrap_or(0), 0, "it is dropped");
    drop(limit);
    assert!(is_greeted(&mut connect(&path)));
    within(|| drop(server));
}
