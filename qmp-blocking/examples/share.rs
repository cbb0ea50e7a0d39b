//! Lets several clients use one monitor at once: QEMU itself serves one after the other.
//!
//! `share ADDRESS LISTEN` is the only client of the QEMU at ADDRESS, and serves any number of
//! clients at LISTEN, both written as behind `-qmp`. Each negotiates for itself, executes commands
//! beside the others', out-of-band and with descriptors too, and gets all events, which may overtake
//! replies or be overtaken. A client that is slow or gone harms itself alone: of what it does not
//! read, 1 MiB is kept, and beyond that it misses events. When QEMU has ended, clients have 10 s to read
//! what was sent to them. Where descriptors or threads run out, new clients wait or are dropped.
//!
//! ```sh
//! cargo run -p qmp-blocking --example share -- unix:/tmp/vm.sock unix:/tmp/shared.sock
//! ```
//!
//! ```text
//! sharing unix:/tmp/vm.sock at unix:/tmp/shared.sock
//! the end: closed after quit
//! ```

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use qmp_blocking::server::{Call, Config, Listener, Session};
use qmp_blocking::{Builder, Client, CommandError, Events, Raw, Request};

/// How long clients may take to read what is left, when QEMU has ended.
const PATIENCE: Duration = Duration::from_secs(10);

struct Share {
    upstream: Client,
    /// What each client is offered.
    config: Config,
    sessions: Mutex<Vec<Arc<Session>>>,
    /// One of these has gone.
    gone: Condvar,
    /// Held for reading while a command is executed, so that it is answered before the end.
    executing: RwLock<()>,
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, listen] = &arguments[..] else {
        return Err("usage: share ADDRESS LISTEN".into());
    };
    let (upstream, events) = Builder::new().oob(true).connect_with_events(address)?;
    let mut config = Config::default();
    let greeting = upstream.greeting();
    config.version = greeting.version.clone().unwrap_or(config.version);
    config.capabilities.retain(|capability| greeting.capabilities.contains(capability));

    let listener = Listener::bind(listen)?;
    println!("sharing {address} at {}", listener.address());
    let share = Arc::new(Share {
        upstream,
        config,
        sessions: Mutex::default(),
        gone: Condvar::new(),
        executing: RwLock::default(),
    });
    let (forwarder, stopper) = (share.clone(), listener.stopper());
    let forwarding = thread::spawn(move || {
        forwarder.forward(events);
        stopper.stop();
    });
    while let Some(stream) = listener.accept()? {
        // Where descriptors or threads have run out, this client is dropped, and the others stay.
        if let Err(error) = share.clone().serve(stream) {
            eprintln!("a client was turned away: {error}");
        }
    }
    forwarding.join().map_err(|_| "the thread for events panicked")?;
    share.wait_for_readers();
    println!("the end: {}", share.upstream.closed());
    Ok(())
}

impl Share {
    fn sessions(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the events to everyone, which never waits for a client. With QEMU, all end.
    fn forward(&self, events: Events) {
        for event in events.flatten() {
            for session in self.sessions().iter() {
                session.event(&event);
            }
        }
        let _answered = self.executing.write();
        self.sessions().iter().for_each(|session| session.close());
    }

    fn serve(self: Arc<Self>, stream: OwnedFd) -> io::Result<()> {
        let session = Arc::new(Session::new(stream, self.config.clone())?);
        self.sessions().push(session.clone());
        // While one runs a command, the other is there for those that are out-of-band.
        let started = (0..2).try_for_each(|_| {
            let (share, session) = (self.clone(), session.clone());
            thread::Builder::new().spawn(move || share.answer(&session)).map(drop)
        });
        if started.is_err() {
            session.abort();
            self.forget(&session);
        }
        started
    }

    fn answer(&self, session: &Arc<Session>) {
        while let Some(call) = session.next_call() {
            let _executing = self.executing.read();
            let outcome = self.execute(&call, session).map_err(|error| match error {
                qmp_blocking::Error::Command(error) => error,
                error => CommandError::generic(error.to_string()),
            });
            // A client that is gone needs no answer.
            let _ = session.respond(call.ticket, outcome);
        }
        self.forget(session);
    }

    /// Its client has gone, or was sent everything.
    fn forget(&self, session: &Arc<Session>) {
        self.sessions().retain(|other| !Arc::ptr_eq(other, session));
        self.gone.notify_all();
    }

    fn wait_for_readers(&self) {
        // Somebody may have come since all were told.
        self.sessions().iter().for_each(|session| session.close());
        let left = |sessions: &mut Vec<_>| !sessions.is_empty();
        // What is poisoned is as it was.
        drop(self.gone.wait_timeout_while(self.sessions(), PATIENCE, left));
    }

    fn execute(&self, call: &Call, session: &Session) -> Result<Raw, qmp_blocking::Error> {
        let mut request = Request::new(call.name.clone()).arguments(&call.arguments);
        if call.out_of_band {
            request = request.out_of_band();
        }
        if matches!(&*call.name, "getfd" | "add-fd") {
            request = session.take_descriptor().into_iter().fold(request, Request::descriptor);
        }
        self.upstream.execute_request(request)
    }
}
