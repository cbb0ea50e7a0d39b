//! Lets several clients use one monitor at once: QEMU itself serves one after the other.
//!
//! `share ADDRESS LISTEN` is the only client of the QEMU at ADDRESS, and serves any number of
//! clients at LISTEN, both written as behind `-qmp`. Each negotiates for itself, executes commands
//! beside the others', out-of-band and with descriptors too, and gets all events, which may overtake
//! replies or be overtaken. A client that is slow or gone harms itself alone: of what it does not
//! read, 1 MiB is kept, and beyond that it misses events.

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;

use qmp_blocking::server::{Call, Config, Listener, Session};
use qmp_blocking::{Builder, Client, CommandError, Events, Raw, Request};

struct Share {
    upstream: Client,
    sessions: Mutex<Vec<Arc<Session>>>,
    /// Held for reading while a command is executed, so that it is answered before the end.
    executing: RwLock<()>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
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
    let share = Share { upstream, sessions: Mutex::default(), executing: RwLock::default() };
    let share = Arc::new(share);
    let (forwarder, stopper) = (share.clone(), listener.stopper());
    let forwarding = thread::spawn(move || {
        forwarder.forward(events);
        stopper.stop();
    });
    while let Some(stream) = listener.accept()? {
        let session = Arc::new(Session::new(stream, config.clone())?);
        share.sessions().retain(|other| other.close_reason().is_none());
        share.sessions().push(session.clone());
        // While one runs a command, the other is there for those that are out-of-band.
        for (share, session) in [(share.clone(), session.clone()), (share.clone(), session)] {
            thread::spawn(move || share.answer(&session));
        }
    }
    forwarding.join().map_err(|_| "the thread for events panicked")?;
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

    fn answer(&self, session: &Session) {
        while let Some(call) = session.next_call() {
            let _executing = self.executing.read();
            let outcome = self.execute(&call, session).map_err(|error| match error {
                qmp_blocking::Error::Command(error) => error,
                error => CommandError::generic(error.to_string()),
            });
            // A client that is gone needs no answer.
            let _ = session.respond(call.ticket, outcome);
        }
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
