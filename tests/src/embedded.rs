//! The mock VM without a transport: a connection whose bytes a test handles itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's panic is its failure")]

use qmp_proto::Timestamp;
use qmp_server::{Connection, Machine, Output};

/// Executes every command that was received.
pub fn execute_all(machine: &mut Machine, connection: &mut Connection) {
    while let Some(output) = connection.poll_output() {
        if let Output::Call(call) = output {
            let now = Timestamp { seconds: 1, microseconds: 2 };
            machine.execute(&call, connection, now);
        }
    }
}

/// Takes the next line that the connection sends, with its end.
pub fn take_line(connection: &mut Connection) -> String {
    let sent = connection.transmit().expect("a message");
    let end = sent.iter().position(|byte| *byte == b'\n').expect("a whole one") + 1;
    let line = String::from_utf8(sent[..end].to_vec()).expect("ASCII");
    connection.advance(end);
    line
}
