//! A server that is shared, and clients that would harm the others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use qmp_blocking::commands::{QueryStatus, Quit};
use qmp_blocking::{Address, Builder, Client, CloseReason, Empty, Events};
use qmp_server::Machine;
use qmp_server::net;
use qmp_server::net::{Listener, ShareOptions, Stopper};
use qmp_tests::qemu::{next_event, patient, within};
use qmp_tests::scripted::{PATIENCE, run};
use tempfile::TempDir;

const NEGOTIATE: &str = r#"{"execute": "qmp_capabilities"}"#;
const NEVER: Duration = Duration::from_secs(3600);

/// A machine that is shared in this process, at a Unix socket.
struct Shared {
    path: PathBuf,
    sharing: JoinHandle<io::Result<CloseReason>>,
    stopper: Stopper,
    turned_away: mpsc::Receiver<io::Error>,
    _folder: TempDir,
}

impl Shared {
    fn new(machine: Machine<OwnedFd>, options: ShareOptions) -> Self {
        let upstream = patient().from_stream(net::connect_machine(machine).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared");
        let listener = Listener::bind(&path).unwrap();
        let stopper = listener.stopper();
        let (sender, turned_away) = mpsc::channel();
        let sharing = thread::spawn(move || {
            options.share(upstream, &listener, |error| sender.send(error).unwrap())
        });
        Self { path, sharing, stopper, turned_away, _folder: folder }
    }

    fn client(&self) -> (Client, Events) {
        patient().connect_with_events(&self.path).unwrap()
    }

    /// A client that has said nothing yet.
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A client that has negotiated.
    fn negotiated(&self) -> UnixStream {
        let mut stream = self.connect();
        negotiate(&mut stream);
        stream
    }

    /// Ends it all, which works as long as any client gets through.
    fn quit(self) {
        self.client().0.execute(&Quit).unwrap();
        let end = within(|| self.sharing.join()).unwrap().unwrap();
        assert_eq!(end, CloseReason::Quit);
    }
}

fn negotiate(stream: &mut (impl Read + Write)) {
    stream.write_all(NEGOTIATE.as_bytes()).unwrap();
    let said = read_until(stream, |said| said.ends_with(b"{\"return\": {}}\r\n"));
    assert!(said.starts_with(b"{\"QMP\""));
}

fn read_until(stream: &mut impl Read, is_end: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !is_end(&said) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", said.escape_ascii());
        said.extend(byte);
    }
    said
}

/// Whether it was closed, in an orderly way or not.
fn is_ended(stream: &mut UnixStream) -> bool {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Counts the calls of `count`. The first waits until it is told to go on, or is after the test.
fn counting() -> (Machine<OwnedFd>, Arc<AtomicUsize>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let count = Arc::new(AtomicUsize::new(0));
    let ((running, is_running), (go_on, told)) = (mpsc::channel(), mpsc::channel::<()>());
    let mut machine = Machine::new();
    let counted = count.clone();
    machine.on("count", move |_, _| {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            running.send(()).unwrap();
            let _ = told.recv_timeout(PATIENCE);
        }
        Ok(Empty {})
    });
    (machine, count, is_running, go_on)
}

#[test]
fn c3_a_command_beyond_the_limit_does_not_reach_the_server() {
    let (machine, count, ..) = counting();
    let shared = Shared::new(machine, ShareOptions::new().max_command(1000));
    let mut attacker = shared.negotiated();
    let (victim, _) = shared.client();
    // It is told before it has sent all, and by then nothing of it is kept.
    let start =
        format!(r#"{{"execute": "count", "id": 1, "arguments": {{"a": "{}"#, "x".repeat(1000));
    attacker.write_all(start.as_bytes()).unwrap();
    let said = read_until(&mut attacker, |said| said.ends_with(b"\n"));
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("GenericError") && said.contains("1000 bytes"), "{said}");
    victim.execute(&QueryStatus).unwrap();
    attacker.write_all(&[b'x'; 1 << 20]).unwrap();
    victim.execute(&QueryStatus).unwrap();
    // It may go on behind it, and is answered once.
    attacker.write_all(br#""}} {"execute": "query-status", "id": 2}"#).unwrap();
    let said = read_until(&mut attacker, |said| said.ends_with(b"\n"));
    assert!(said.ends_with(b"\"id\": 2}\r\n"), "{}", said.escape_ascii());
    assert_eq!(count.load(Ordering::SeqCst), 0);
    shared.quit();
}

#[test]
fn what_a_client_that_is_gone_has_asked_for_is_dropped() {
    let (machine, count, is_running, go_on) = counting();
    let shared = Shared::new(machine, ShareOptions::new());
    let (victim, _) = shared.client();
    let mut attacker = shared.negotiated();
    attacker.write_all(r#"{"execute": "count"}"#.repeat(1000).as_bytes()).unwrap();
    is_running.recv_timeout(PATIENCE).unwrap();
    drop(attacker);
    let waiting = thread::spawn(move || victim.execute(&QueryStatus).map(|_| victim));
    go_on.send(()).unwrap();
    let victim = within(|| waiting.join()).unwrap().unwrap();
    victim.execute(&QueryStatus).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1, "the one that ran already");
    drop(victim);
    shared.quit();
}

/// Over TCP it is known when a reply is refused.
#[test]
fn what_a_client_over_tcp_has_asked_for_is_dropped() {
    let (machine, count, is_running, go_on) = counting();
    let upstream = patient().from_stream(net::connect_machine(machine).unwrap()).unwrap();
    let listener = Listener::bind("tcp:127.0.0.1:0").unwrap();
    let address = listener.address().clone();
    let Address::Tcp { host, port } = &address else { panic!() };
    let mut attacker = TcpStream::connect((host.as_str(), *port)).unwrap();
    let sharing = thread::spawn(move || net::share(upstream, &listener, drop));
    negotiate(&mut attacker);
    attacker.write_all(r#"{"execute": "count"}"#.repeat(1000).as_bytes()).unwrap();
    is_running.recv_timeout(PATIENCE).unwrap();
    drop(attacker);
    go_on.send(()).unwrap();
    let victim = patient().connect(address).unwrap();
    victim.execute(&QueryStatus).unwrap();
    let counted = count.load(Ordering::SeqCst);
    assert!(counted < 10, "{counted}");
    victim.execute(&Quit).unwrap();
    within(|| sharing.join()).unwrap().unwrap();
}

/// QEMU too executes what it has said before.
#[test]
fn a_client_that_only_stops_writing_is_answered() {
    let shared = Shared::new(Machine::new(), ShareOptions::new());
    let mut client = shared.negotiated();
    client.write_all(r#"{"execute": "query-status"}"#.repeat(100).as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said.lines().count(), 100);
    shared.quit();
}

#[test]
fn a_client_that_never_negotiates_is_dropped() {
    let options = ShareOptions::new().negotiation_timeout(Duration::from_millis(50));
    let shared = Shared::new(Machine::new(), options);
    let mut idle = shared.connect();
    let mut slow = shared.connect();
    slow.write_all(&NEGOTIATE.as_bytes()[..10]).unwrap();
    assert!(is_ended(&mut idle) && is_ended(&mut slow));
    // One that has negotiated stays.
    let (client, _) = shared.client();
    assert!(is_ended(&mut shared.connect()));
    client.execute(&QueryStatus).unwrap();
    shared.quit();
}

#[test]
fn clients_that_never_negotiate_keep_nobody_out() {
    let options = ShareOptions::new().max_clients(3).negotiation_timeout(NEVER);
    let shared = Shared::new(Machine::new(), options);
    let (first, _) = shared.client();
    let mut idle: Vec<UnixStream> = (0..10).map(|_| shared.connect()).collect();
    let (second, _) = shared.client();
    let (third, _) = shared.client();
    assert!(idle.iter_mut().all(is_ended));
    // All clients have negotiated now.
    let reason = "the number of clients has reached its limit, 3";
    let mut said = String::new();
    shared.connect().read_to_string(&mut said).unwrap();
    assert!(said.starts_with("{\"QMP\": ") && said.contains(reason), "{said}");
    assert_eq!(shared.turned_away.recv_timeout(PATIENCE).unwrap().to_string(), reason);
    // A client of ours tries until its deadline, and reports the reason then.
    let hasty = Builder::new().deadline(Duration::from_millis(100));
    let refused = hasty.connect(&shared.path).unwrap_err();
    assert!(refused.to_string().contains(reason), "{refused}");
    for client in [&first, &second, &third] {
        client.execute(&QueryStatus).unwrap();
    }
    drop(second);
    // It is noticed in a moment that one has left.
    let fourth = within({
        let path = shared.path.clone();
        move || loop {
            if let Ok(client) = patient().connect(&path) {
                return client;
            }
        }
    });
    fourth.execute(&Quit).unwrap();
    within(|| shared.sharing.join()).unwrap().unwrap();
}

/// Asks again and again, with a long id, until nothing more is taken; tells how much was.
fn ask_without_reading(stream: &mut UnixStream) -> usize {
    let command = format!(r#"{{"execute": "query-status", "id": "{}"}}"#, "\u{7f}".repeat(50_000));
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    (0..).find(|_| stream.write_all(command.as_bytes()).is_err()).unwrap() * command.len()
}

/// Waits until a client that reads nothing is dropped.
fn is_dropped(stream: &mut UnixStream) -> bool {
    stream.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
    let blocks = |error: &io::Error| error.kind() == ErrorKind::WouldBlock;
    matches!(stream.write(b" "), Err(error) if !blocks(&error))
}

#[test]
fn c14_a_client_that_reads_nothing_is_kept_little_for_and_dropped() {
    let options = ShareOptions::new().max_unread(1 << 20).read_timeout(Duration::from_secs(2));
    let shared = Shared::new(Machine::new(), options);
    let (victim, _) = shared.client();
    let mut attacker = shared.negotiated();
    let taken = ask_without_reading(&mut attacker);
    assert!(taken < 4 << 20, "{taken} bytes were taken");
    victim.execute(&QueryStatus).unwrap();
    within(move || while !is_dropped(&mut attacker) {});
    victim.execute(&QueryStatus).unwrap();
    shared.quit();
}

/// As long as a client reads anything, it stays.
#[test]
fn a_slow_reader_stays() {
    let options = ShareOptions::new().max_unread(1000).read_timeout(Duration::from_secs(2));
    let shared = Shared::new(Machine::new(), options);
    let [mut slow, mut silent] = [shared.negotiated(), shared.negotiated()];
    ask_without_reading(&mut slow);
    ask_without_reading(&mut silent);
    let mut slow = within(move || {
        while !is_dropped(&mut silent) {
            // Each answer has 300,000 bytes, and more are there than are read in this time.
            slow.read_exact(&mut [0; 1000]).unwrap();
        }
        slow
    });
    slow.read_exact(&mut [0; 1000]).unwrap();
    shared.quit();
}

/// While one client's long reply is prepared, its thread has no time for events; others' have.
#[test]
fn c14_each_client_has_a_subscription_of_its_own() {
    const ROUNDS: usize = 600;
    let mut machine = Machine::new();
    machine.on("tell", |vm, _| {
        vm.event("TOLD", Some(&serde_json::json!({"text": "x".repeat(10_000)})));
        Ok(Empty {})
    });
    machine.on("long", |_, _| Ok(vec![[(); 10]; 200_000]));
    let shared = Shared::new(machine, ShareOptions::new());
    let mut attacker = shared.negotiated();
    let (victim, mut events) = shared.client();
    let listening = thread::spawn(move || {
        let mut told = 0;
        while next_event(&mut events).name() == "TOLD" {
            told += 1;
        }
        told
    });
    attacker.write_all(br#"{"execute": "long"}"#).unwrap();
    for _ in 0..ROUNDS {
        run(&victim, "tell").unwrap();
    }
    victim.execute(&Quit).unwrap();
    assert_eq!(within(|| listening.join()).unwrap(), ROUNDS);
    drop(attacker);
    within(|| shared.sharing.join()).unwrap().unwrap();
}

#[test]
fn stopped_it_keeps_clients_out_and_goes_on() {
    let shared = Shared::new(Machine::new(), ShareOptions::new());
    let (client, _) = shared.client();
    shared.stopper.stop();
    client.execute(&QueryStatus).unwrap();
    client.execute(&Quit).unwrap();
    within(|| shared.sharing.join()).unwrap().unwrap();
}

/// A socket that is closed with unread bytes resets the connection, which can cost the client the reason.
#[test]
fn a_client_that_writes_first_gets_the_reason_and_the_end() {
    let shared = Shared::new(Machine::new(), ShareOptions::new().max_clients(1));
    let (first, _) = shared.client();
    for _ in 0..20 {
        let mut pipelined = shared.connect();
        // On a busy machine it may be turned away before it writes.
        let _ = pipelined.write_all(NEGOTIATE.repeat(100).as_bytes());
        let mut said = String::new();
        pipelined.read_to_string(&mut said).unwrap();
        assert!(said.contains("the number of clients has reached its limit, 1"), "{said}");
    }
    first.execute(&Quit).unwrap();
    within(|| shared.sharing.join()).unwrap().unwrap();
}
