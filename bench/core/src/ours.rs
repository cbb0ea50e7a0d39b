//! The core: a connection that is negotiated and has asked for as much as will be answered.

use qmp_proto::{Config, Connection, Output, Request};

use crate::Reader;
use crate::data::FirstId;

/// The same each time, so that the ids are too.
pub const NONCE: u64 = 0;

const GREETING: &[u8] = br#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2"}, "capabilities": ["oob"]}}"#;

/// A connection as the server's peer.
pub struct Ours {
    connection: Connection,
}

impl Ours {
    /// A connection with so many commands in flight.
    pub fn new(commands: usize) -> Self {
        let mut config = Config::default();
        config.window = Some(commands.max(1));
        let mut connection = <Connection>::new(config, NONCE);
        connection.handle_input(GREETING);
        let sent = transmit(&mut connection);
        let id = sent.rsplit(':').next().expect("an id").trim_end_matches("}\n");
        connection.handle_input(format!("{{\"return\": {{}}, \"id\": {id}}}").as_bytes());
        assert!(matches!(connection.poll_output(), Some(Output::Ready(_))));
        for _ in 0..commands {
            connection.execute(Request::new("query-status"), None).expect("it is acceptable");
        }
        transmit(&mut connection);
        Self { connection }
    }

    /// The id of the first command on such a connection.
    pub fn first_id() -> FirstId {
        let mut connection = Self::new(0).connection;
        let id = connection.execute(Request::new("stop"), None).expect("it is acceptable");
        id.to_string().parse().expect("an id is a number")
    }

    /// The connection itself.
    pub fn into_connection(self) -> Connection {
        self.connection
    }
}

impl Reader for Ours {
    fn read(&mut self, piece: &[u8]) -> usize {
        self.connection.handle_input(piece);
        let mut messages = 0;
        while let Some(output) = self.connection.poll_output() {
            match std::hint::black_box(&output) {
                Output::Reply(..) | Output::Event(_) => messages += 1,
                other => panic!("this is no reply to a command, and no event: {other:?}"),
            }
        }
        messages
    }
}

fn transmit(connection: &mut Connection) -> String {
    let mut sent = String::new();
    while let Some(transmit) = connection.transmit() {
        sent.push_str(std::str::from_utf8(transmit.bytes).expect("commands are text"));
        let length = transmit.bytes.len();
        connection.advance(length);
    }
    sent
}
