use std::os::unix::net::UnixStream;

use super::*;

use std::io::Read;

use qmp_proto::{Config, Dialect, Phase};

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

/// While nobody waited for the session, the background thread had no reason to wake.
#[test]
fn c23_a_thread_that_waits_for_idleness_has_a_lost_question_repeated() {
    let mut config = Config::default();
    config.dialect = Dialect::GuestAgent;
    let (ours, mut agents) = UnixStream::pair().unwrap();
    agents.set_read_timeout(Some(LONG)).unwrap();
    let io = Arc::new(ThreadIo::new(SharedConnection::new(config), ours.into()).unwrap());
    io.flush();
    background::start(io.clone()).unwrap();
    let start = Instant::now();
    while !matches!(*lock(&io.background_sleep), Sleep::Endless) {
        assert!(start.elapsed() < LONG, "it does not sleep");
        thread::yield_now();
    }
    let waiting = thread::spawn({
        let io = io.clone();
        move || {
            let mut idle = io.shared.idle();
            io.wait(Some(Instant::now() + LONG), |waker| Progress::new(idle.poll(waker), false))
        }
    });
    // The first question, and then one with an id and one without.
    let mut questions = 0;
    let mut byte = [0];
    while questions < 3 {
        assert_eq!(agents.read(&mut byte).unwrap(), 1);
        questions += usize::from(byte[0] == 0xFF);
    }
    assert_eq!(io.shared.inspect(|connection| connection.phase()), Phase::Syncing);
    io.shared.abort();
    io.finish();
    assert!(waiting.join().unwrap().is_some());
}
