//! Out-of-band commands overtake what blocks QEMU's main loop.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use qmp_blocking::commands::{QueryCommands, QueryVersion};
use qmp_blocking::{Address, Client, Error, Refusal};
use qmp_tests::out_of_band::{MigratePause, QueryYank, YANK, has_yank, is_unpausable};
use qmp_tests::qemu::{Block, DEADLINE, Monitor, Server, Setup, patient};

/// Executes commands out-of-band, those that the QEMU at hand has.
#[derive(Clone)]
struct Urgent {
    client: Client,
    has_yank: bool,
}

impl Urgent {
    /// Asks QEMU for its commands.
    fn of(client: &Client) -> Self {
        let commands = client.execute(&QueryCommands).unwrap();
        Self { client: client.clone(), has_yank: has_yank(&commands) }
    }

    fn execute(&self) {
        if self.has_yank {
            self.client.execute_oob(&YANK).unwrap();
        } else {
            let outcome = self.client.execute_oob(&MigratePause);
            assert!(is_unpausable(&outcome), "{outcome:?}");
        }
    }

    fn find_monitor(&self) {
        if self.has_yank {
            let instances = self.client.execute_oob(&QueryYank).unwrap();
            assert!(instances.iter().any(|instance| instance["id"] == "monitor0"));
        }
    }
}

/// Many callers wait for in-band commands while `blocking` has one that blocks; `meanwhile` is done
/// then.
fn behind_a_block(client: &Client, blocking: &Client, server: &Server, meanwhile: impl FnOnce()) {
    let block = Block::new(blocking, server.folder());
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || client.execute(&QueryVersion))
        })
        .collect();
    meanwhile();
    assert!(!callers.iter().any(thread::JoinHandle::is_finished), "nothing blocked");
    block.release().unwrap();
    for caller in callers {
        assert_eq!(Some(caller.join().unwrap().unwrap()), client.greeting().version);
    }
}

#[test]
fn c10_out_of_band_is_answered_while_many_callers_wait() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = patient().oob(true).connect(server.address()).unwrap();
    let urgent = Urgent::of(&client);
    behind_a_block(&client, &client, &server, || {
        for _ in 0..100 {
            urgent.execute();
            urgent.find_monitor();
        }
    });
}

#[test]
fn c10_out_of_band_of_many_threads_is_answered_while_others_wait() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Tcp).start();
    let client = patient().oob(true).connect(server.address()).unwrap();
    let urgent = Urgent::of(&client);
    behind_a_block(&client, &client, &server, || {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| urgent.execute()));
            }
        });
    });
}

/// What was sent, seen on its way.
#[derive(Clone, Debug, Default)]
struct Sent(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Sent {
    fn count(sent: &[u8], word: &str) -> usize {
        sent.windows(word.len()).filter(|window| *window == word.as_bytes()).count()
    }

    /// Waits until so many in-band commands have been sent.
    fn wait_for(&self, commands: usize) {
        let (sent, more) = &*self.0;
        let few = |sent: &mut Vec<u8>| Self::count(sent, "\"execute\"") < commands;
        let waited = more.wait_timeout_while(sent.lock().unwrap(), DEADLINE, few).unwrap();
        assert!(!waited.1.timed_out(), "fewer than {commands} were sent");
    }

    fn in_band(&self) -> usize {
        Self::count(&self.0.0.lock().unwrap(), "\"execute\"")
    }
}

struct Tap(UnixStream, Sent);

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.0.write(bytes)?;
        let (sent, more) = &*self.1.0;
        sent.lock().unwrap().extend_from_slice(&bytes[..length]);
        more.notify_all();
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Fills the window while a command of this or another client blocks; then executes out-of-band.
fn fill_window(blocked_by_another: bool) {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).monitor(Monitor::Unix).start();
    let [Address::Unix(path), other] = server.addresses() else { unreachable!() };
    let stream = UnixStream::connect(path).unwrap();
    let sent = Sent::default();
    let tap = Tap(stream.try_clone().unwrap(), sent.clone());
    let client = patient().oob(true).from_io(stream, tap).unwrap();
    let urgent = Urgent::of(&client);
    let before = sent.in_band();
    let other = patient().connect(other).unwrap();
    let blocking = if blocked_by_another { &other } else { &client };
    behind_a_block(&client, blocking, &server, || {
        sent.wait_for(before + 7);
        for _ in 0..20 {
            urgent.execute();
        }
        assert_eq!(sent.in_band(), before + 7);
    });
    let block = usize::from(!blocked_by_another);
    assert_eq!(sent.in_band(), before + block + 20);
}

#[test]
fn c10_the_window_is_full_with_seven_and_out_of_band_passes_it() {
    fill_window(false);
}

/// Here all seven are in QEMU's queue: none of them is the one that runs.
#[test]
fn c10_the_window_is_full_while_another_client_blocks_and_out_of_band_passes_it() {
    fill_window(true);
}

#[test]
fn c10_without_negotiation_it_is_refused_here() {
    let Some(setup) = Setup::bare() else { return };
    let server = setup.monitor(Monitor::Unix).start();
    let client = server.connect();
    let refused = client.execute_oob(&YANK).unwrap_err();
    assert_eq!(refused, Error::Refused(Refusal::OobNotNegotiated));
    if has_yank(&client.execute(&QueryCommands).unwrap()) {
        client.execute(&YANK).unwrap();
    } else {
        let in_band = client.execute(&MigratePause);
        assert!(is_unpausable(&in_band), "{in_band:?}");
    }
}
