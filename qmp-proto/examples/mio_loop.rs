//! The protocol in an event loop of one's own: any number of monitors, one thread, one epoll instance.
//! No adapter, no runtime and no lock: `qmp-proto` alone says what to send, and what has come.
//! `cargo run -p qmp-proto --example mio_loop -- /tmp/vm0.sock /tmp/vm1.sock` prints
//! ```text
//! 0: ready
//! 0: {"status": "running", "singlestep": false, "running": true}
//! 0: the server closed the connection
//! ```

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Read, Write};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};
use qmp_proto::commands::QueryStatus;
use qmp_proto::{Config, Connection, Output, Request, printable};

fn main() -> Result<(), Box<dyn Error>> {
    let paths = std::env::args().skip(1);
    if paths.len() == 0 {
        eprintln!("usage: mio_loop PATH...");
        std::process::exit(2);
    }
    let mut poll = Poll::new()?;
    let mut monitors = Vec::new();
    for (number, path) in paths.enumerate() {
        let mut stream = UnixStream::connect(&path).map_err(|error| format!("{path}: {error}"))?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(number), both)?;
        // Any number that is not the same each time.
        let mut protocol = Connection::new(Config::default(), RandomState::new().hash_one(number));
        // Accepted now, sent when the negotiation is done.
        protocol.execute(Request::of(&QueryStatus), None)?;
        monitors.push((stream, protocol));
    }
    let mut ready = Events::with_capacity(64);
    while monitors.iter().any(|(_, protocol)| protocol.close_reason().is_none()) {
        match poll.poll(&mut ready, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for Token(number) in ready.iter().map(|event| event.token()) {
            let (stream, protocol) = &mut monitors[number];
            go_on(stream, protocol, |output| println!("{number}: {}", describe(output)));
        }
    }
    Ok(())
}

/// Sends and receives until neither is possible: mio tells of each change once.
fn go_on(stream: &mut UnixStream, protocol: &mut Connection, tell: impl Fn(Output)) {
    let mut buffer = [0; 4096];
    while protocol.close_reason().is_none() {
        while let Some(lent) = protocol.transmit() {
            // Where it is full, or broken, what has been said so far can still be read.
            let Ok(taken) = stream.write(lent.bytes) else { break };
            protocol.advance(taken);
        }
        match stream.read(&mut buffer) {
            Ok(0) => protocol.handle_eof(),
            Ok(length) => protocol.handle_input(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => protocol.handle_failure((&error).into()),
        }
        while let Some(output) = protocol.poll_output() {
            tell(output);
        }
    }
}

fn describe(output: Output) -> String {
    match output {
        Output::Ready(_greeting) => "ready".to_owned(),
        Output::Reply(_, Ok(returned)) => returned.display().to_string(),
        Output::Event(event) => printable(event.name()).to_string(),
        Output::Closed(reason) => reason.to_string(),
        other => format!("{other:?}"),
    }
}
