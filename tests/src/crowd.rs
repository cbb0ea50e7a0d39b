//! A server for very many clients at once: the embedded machine, on smol's executor.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it fails the test that uses it")]

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use qmp_proto::Timestamp;
use qmp_server::{Connection, Machine, Output};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::unix::{UnixListener, UnixStream};

/// Lets this process have as many descriptors as it may.
///
/// # Panics
///
/// Where so many cannot be had.
pub fn allow_descriptors(count: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).expect("the hard limit");
    }
    let current = getrlimit(Resource::Nofile).current;
    assert!(current.is_none_or(|current| current >= count), "{count} descriptors are needed");
}

/// Serves a machine of its own to each client that comes to a Unix socket, until the program ends.
pub fn serve(path: &Path) {
    let listener = UnixListener::bind(path).expect("a socket");
    smol::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            smol::spawn(session(stream)).detach();
        }
    })
    .detach();
}

/// It ends with the client.
async fn session(mut stream: UnixStream) -> Option<()> {
    let mut machine = Machine::new();
    let mut connection = <Connection>::new(machine.config());
    let mut buffer = [0; 1024];
    loop {
        while let Some(output) = connection.poll_output() {
            match output {
                Output::Call(call) => machine.execute(&call, &mut connection, now()),
                Output::Closed(_) => return None,
                _ => {}
            }
        }
        if let Some(bytes) = connection.transmit() {
            let sent = stream.write(bytes).await.ok()?;
            connection.advance(sent);
            continue;
        }
        match stream.read(&mut buffer).await.ok()? {
            0 => return None,
            length => connection.handle_input(&buffer[..length]),
        }
    }
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: now.as_secs() as i64, microseconds: i64::from(now.subsec_micros()) }
}
