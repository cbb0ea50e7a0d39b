//! The client's side of a command, in the core: encoded, sent, answered, told.

use qmp_proto::{Connection, Output, Request, commands::QueryStatus};

use crate::counted;
use crate::ours::Ours;

/// How a command comes to the connection.
#[derive(Clone, Copy)]
pub enum Way {
    /// `execute`: encoded where it is accepted.
    Direct,
    /// `prepare`, then `execute_prepared`, as a client that many threads share does.
    Prepared,
}

/// Executes `query-status` so many times, one after the other.
pub fn run(way: Way, rounds: usize) {
    let mut connection = Ours::new(0).into_connection();
    for id in (Ours::first_id()..).take(rounds) {
        let reply = format!(
            "{{\"return\": {{\"status\": \"running\", \"singlestep\": false, \"running\": true}}, \"id\": {id}}}\r\n"
        );
        counted(|| round_trip(&mut connection, way, reply.as_bytes()));
    }
}

fn round_trip(connection: &mut Connection, way: Way, reply: &[u8]) {
    let request = Request::of(&QueryStatus);
    let accepted = match way {
        Way::Direct => connection.execute(request, None),
        Way::Prepared => request.prepare().and_then(|it| connection.execute_prepared(it, None)),
    };
    let id = accepted.expect("it is acceptable");
    let length = connection.transmit().expect("it goes out at once").bytes.len();
    connection.advance(length);
    connection.handle_input(reply);
    match connection.poll_output() {
        Some(Output::Reply(of, Ok(_))) if of == id => {}
        other => panic!("this is not its reply: {other:?}"),
    }
    assert!(connection.transmit().is_none() && connection.poll_output().is_none());
}
