use std::os::unix::net::UnixStream;

use super::*;

use qmp_proto::Config;

const LONG: Duration = Duration::from_secs(20);

/// A line to a server that says nothing.
fn silent() -> (ThreadIo, UnixStream) {
    let (ours, servers) = UnixStream::pair().unwrap();
    (ThreadIo::new(SharedConnection::new(Config::default()), ours.into()).unwrap(), servers)
}

/// What a thread waits for may be handed over by the reader before it, which then leaves. To read
/// then would be to wait for something that has come already.
#[test]
fn c17_who_takes_the_turn_looks_again_before_it_reads() {
    let (io, _server) = silent();
    let start = Instant::now();
    let mut looks = 0;
    let found = io.wait(Some(start + LONG), |_| {
        looks += 1;
        if looks < 2 { Progress::Reads } else { Progress::Done(()) }
    });
    assert!(found.is_some());
    assert!(start.elapsed() < LONG / 2, "it read first");
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let (io, _server) = silent();
    let found: Option<()> =
        io.wait(Some(Instant::now() + Duration::from_millis(5)), |_| Progress::Reads);
    assert!(found.is_none());
    // The turn was given back.
    assert!(io.turns.take_or_park().is_some());
}
