//! A connection in memory, and the embedded machine behind it.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use qmp_client::asynchronous::{Client, Driver, Events, Runtime, Sleep, Transport};
use qmp_proto::Timestamp;
use qmp_server::Machine;

#[cfg(not(qmp_shuttle))]
pub mod turns;

#[cfg(qmp_shuttle)]
use shuttle::{
    rand::Rng,
    sync::{Arc, Mutex, MutexGuard},
};
#[cfg(not(qmp_shuttle))]
use std::sync::{Arc, Mutex, MutexGuard};

/// What QEMU says first.
pub const GREETING: &str = "{\"QMP\": {\"capabilities\": [\"oob\"]}}\r\n";

/// An event.
pub const EVENT: &str =
    "{\"event\": \"GONE\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 2}}\r\n";

/// A wire between a client and a test, or a machine.
#[derive(Clone, Debug)]
pub struct Wire {
    state: Arc<Mutex<State>>,
    shared: bool,
}

#[derive(Debug)]
struct State {
    sent: Vec<u8>,
    /// How often something was sent.
    writes: usize,
    /// How much more is taken.
    room: usize,
    incoming: VecDeque<u8>,
    ended: bool,
    shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    server: Option<Waker>,
}

impl Wire {
    /// One that takes everything at once.
    pub fn new() -> Self {
        Self::with_room(usize::MAX)
    }

    /// One that takes so many bytes, until they are taken out of it.
    pub fn with_room(room: usize) -> Self {
        let state = Arc::new(Mutex::new(State {
            sent: Vec::new(),
            writes: 0,
            room,
            incoming: VecDeque::new(),
            ended: false,
            shut: false,
            reader: None,
            writer: None,
            server: None,
        }));
        Self { state, shared: false }
    }

    /// The same, from which callers receive too.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What the client has sent since this was last called. That makes room for more.
    pub fn take_sent(&self) -> String {
        String::from_utf8(self.take_bytes()).unwrap()
    }

    /// The same, where it may be anything.
    pub fn take_bytes(&self) -> Vec<u8> {
        let mut state = self.lock();
        let sent = std::mem::take(&mut state.sent);
        state.room = state.room.saturating_add(sent.len());
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        sent
    }

    /// How often something was sent.
    pub fn writes(&self) -> usize {
        self.lock().writes
    }

    /// How many bytes the client has yet to receive.
    pub fn incoming(&self) -> usize {
        self.lock().incoming.len()
    }

    /// Lets the client receive something.
    pub fn say(&self, text: impl AsRef<[u8]>) {
        let mut state = self.lock();
        state.incoming.extend(text.as_ref());
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// Lets the client receive the end of the stream.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// Whether the client has shut it down.
    pub fn is_shut(&self) -> bool {
        self.lock().shut
    }

    /// Waits until the client has sent something; `None` once it has shut the wire down.
    async fn sent(&self) -> Option<String> {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.sent.is_empty() && !state.shut {
                state.server = Some(context.waker().clone());
                return Poll::Pending;
            }
            let shut = state.sent.is_empty();
            drop(state);
            Poll::Ready((!shut).then(|| self.take_sent()))
        })
        .await
    }

    /// Greets, and takes `qmp_capabilities`.
    async fn greet(&self) {
        self.say(GREETING);
        self.answer(&self.commands(1).await);
    }

    /// Greets, and answers every so many commands together, the last one first.
    pub async fn answer_together(self, count: usize) {
        self.greet().await;
        loop {
            let commands = self.commands(count).await;
            if commands.len() < count {
                return;
            }
            self.answer(&commands);
        }
    }

    /// The ids of the next so many commands; fewer where the client has shut the wire down.
    async fn commands(&self, count: usize) -> Vec<String> {
        let mut unread = String::new();
        let mut ids = Vec::new();
        while ids.len() < count {
            let Some(sent) = self.sent().await else { break };
            unread += &sent;
            while let Some((command, rest)) = unread.split_once('\n') {
                ids.push(id(command).to_owned());
                unread = rest.to_owned();
            }
        }
        ids
    }

    /// Successes for these ids, the last first.
    pub fn answer(&self, ids: &[String]) {
        for id in ids.iter().rev() {
            self.say(format!("{{\"return\": {{}}, \"id\": {id}}}\r\n"));
        }
    }

    /// Answers the client as a machine does, until one of them ends.
    pub async fn serve(self, mut machine: Machine) {
        let mut server = <qmp_server::Connection>::new(machine.config());
        loop {
            while let Some(output) = server.poll_output() {
                match output {
                    qmp_server::Output::Call(call) => {
                        let now = Timestamp { seconds: 0, microseconds: 0 };
                        machine.execute(&call, &mut server, now);
                    }
                    qmp_server::Output::Closed(_) => return self.end(),
                    _ => {}
                }
            }
            if let Some(bytes) = server.transmit().map(<[u8]>::to_vec) {
                server.advance(bytes.len());
                self.say(bytes);
                continue;
            }
            match self.sent().await {
                Some(sent) => server.handle_input(sent.as_bytes()),
                None => server.handle_eof(),
            }
        }
    }
}

impl Transport for Wire {
    fn try_send(&self, bytes: &[u8], _: Option<BorrowedFd<'_>>) -> io::Result<usize> {
        let mut state = self.lock();
        if state.shut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(state.room);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.room -= taken;
        state.writes += 1;
        state.sent.extend_from_slice(&bytes[..taken]);
        let server = state.server.take();
        drop(state);
        wake(server);
        Ok(taken)
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.incoming.is_empty() && !state.ended && !state.shut {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = state.incoming.len().min(buffer.len());
        for (byte, place) in state.incoming.drain(..length).zip(buffer) {
            *place = byte;
        }
        Ok(length)
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Poll<io::Result<usize>> {
        let waker = context.waker().clone();
        let replaced = self.lock().writer.replace(waker);
        drop(replaced);
        match self.try_send(bytes, descriptor) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            outcome => Poll::Ready(outcome),
        }
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let waker = context.waker().clone();
        let replaced = self.lock().reader.replace(waker);
        drop(replaced);
        match self.try_receive(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            outcome => Poll::Ready(outcome),
        }
    }

    fn callers_may_receive(&self) -> bool {
        self.shared
    }

    fn carries_descriptors(&self) -> bool {
        true
    }

    fn shut_down(&self) {
        let mut state = self.lock();
        state.shut = true;
        let wakers = [state.reader.take(), state.writer.take(), state.server.take()];
        drop(state);
        wakers.into_iter().for_each(wake);
    }
}

/// Counts how often it is woken.
#[derive(Debug, Default)]
pub struct Wakes(AtomicUsize);

impl Wakes {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The id in a command's text.
pub fn id(command: &str) -> &str {
    command.rsplit(':').next().unwrap().trim_end_matches(['}', '\n'])
}

/// A connection whose every step is the test's.
#[derive(Debug)]
pub struct Bench {
    pub wire: Wire,
    pub client: Client,
    pub events: Events,
    pub driver: Driver,
    /// What has come of the next command.
    unread: String,
    /// The names of the commands that have come.
    pub commands: Vec<String>,
}

impl Bench {
    /// A connection that is ready, over a wire that takes so many bytes at once.
    pub fn new(builder: &Builder, room: usize) -> Self {
        Self::over(Wire::with_room(room), builder)
    }

    /// A connection that is ready, over this wire.
    pub fn over(wire: Wire, builder: &Builder) -> Self {
        let mut connecting = pin!(builder.from_transport_with_driver(wire.clone()));
        wire.say(GREETING);
        let mut sent = String::new();
        let (client, events, driver) = loop {
            if let Poll::Ready(connected) = poll(connecting.as_mut()) {
                break connected.unwrap();
            }
            sent += &wire.take_sent();
            if sent.ends_with('\n') {
                wire.answer(&[id(&std::mem::take(&mut sent)).to_owned()]);
            }
        };
        Self { wire, client, events, driver, unread: String::new(), commands: Vec::new() }
    }

    /// The driver has its turn, and then the server: it answers each command that has come whole, with
    /// an event before.
    pub fn step(&mut self) {
        let _ = poll(Pin::new(&mut self.driver));
        self.unread += &self.wire.take_sent();
        while let Some((command, rest)) = self.unread.split_once('\n') {
            let whole: serde_json::Value = serde_json::from_str(command).expect("a whole command");
            let verb = whole.get("execute").or(whole.get("exec-oob"));
            self.commands.push(verb.and_then(|name| name.as_str()).unwrap().to_owned());
            self.wire.say(EVENT);
            self.wire.answer(&[id(command).to_owned()]);
            self.unread = rest.to_owned();
        }
        let _ = poll(Pin::new(&mut self.driver));
    }

    /// Steps until a future has ended.
    #[track_caller]
    pub fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for _ in 0..10_000 {
            if let Poll::Ready(outcome) = poll(future.as_mut()) {
                return outcome;
            }
            self.step();
        }
        panic!("it does not end");
    }
}

/// Polls once; nobody is woken.
pub fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A runtime whose clock and drivers are run by hand.
#[derive(Debug)]
pub enum ByHand {}

impl Runtime for ByHand {
    fn spawn(_: Driver) {
        unreachable!("the tests take the driver themselves")
    }

    /// Until the test lets time pass. With shuttle a short time passes at once or never, at random, and a long
    /// one never does: no wait may depend on it.
    fn sleep(time: Duration) -> Sleep {
        #[cfg(qmp_shuttle)]
        match time < Duration::from_millis(100) && shuttle::rand::thread_rng().gen_bool(0.5) {
            true => Box::pin(shuttle::future::yield_now()),
            false => Box::pin(std::future::pending()),
        }
        #[cfg(not(qmp_shuttle))]
        {
            let _ = time;
            let began = NOW.get();
            Box::pin(poll_fn(move |_| match NOW.get() > began {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }))
        }
    }
}

#[cfg(not(qmp_shuttle))]
thread_local! {
    static NOW: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Whatever sleeps now has slept enough when it is polled next.
#[cfg(not(qmp_shuttle))]
pub fn let_time_pass() {
    NOW.set(NOW.get() + 1);
}

qmp_client::adapter!(ByHand);
