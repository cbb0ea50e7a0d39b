//! What a connection takes for what it receives, before anything is decoded.

use qmp_proto::{Config, Connection, Dialect, Request};

use super::{LONG, Row, config};

/// So much an adapter reads at once.
const PIECE: usize = 64 << 10;

/// A connection of this dialect that is ready.
fn ready(dialect: Dialect) -> Connection {
    let mut connection = <Connection>::new(config(dialect), 7);
    let number = |sent: &[u8]| {
        let text = String::from_utf8_lossy(sent).into_owned();
        let mut digits = text.split(|char: char| !char.is_ascii_digit());
        digits.rfind(|part| !part.is_empty()).unwrap().to_owned()
    };
    if dialect == Dialect::Qmp {
        connection.handle_input(br#"{"QMP": {"capabilities": []}}"#);
    }
    let number = number(&send(&mut connection));
    let value = if dialect == Dialect::Qmp { "{}" } else { &number };
    let answer = format!("{{\"return\": {value}, \"id\": {number}}}\n");
    connection.handle_input(&[b"\xff", answer.as_bytes()].concat());
    while connection.poll_output().is_some() {}
    connection
}

fn send(connection: &mut Connection) -> Vec<u8> {
    let sent = connection.transmit().expect("something").bytes.to_vec();
    connection.advance(sent.len());
    sent
}

/// The same with a command in flight.
fn busy(dialect: Dialect) -> Connection {
    let mut connection = ready(dialect);
    connection.execute(Request::new("guest-ping"), None).unwrap();
    send(&mut connection);
    connection
}

/// What it takes at most to receive these bytes in pieces, while the outputs are taken as they come.
fn pieces(subject: &str, shape: &str, mut connection: Connection, bytes: &[u8]) -> Row {
    Row::measured(subject, shape, bytes.len(), || {
        for piece in bytes.chunks(PIECE) {
            connection.handle_input(piece);
            while let Some(output) = connection.poll_output() {
                drop(output);
            }
        }
        connection
    })
}

/// A flood of one message, as much as is read at once.
fn flood(subject: &str, message: &str, connection: Connection) -> Row {
    let bytes = message.repeat(PIECE / message.len());
    let shape = format!("`{message}…`, in one piece");
    pieces(subject, &shape, connection, bytes.as_bytes())
}

fn between(before: &str, text: &[u8], after: &str) -> Vec<u8> {
    [before.as_bytes(), text, after.as_bytes()].concat()
}

pub(super) fn rows() -> Vec<Row> {
    use Dialect::{GuestAgent, Qmp};
    let long = between("{\"return\": \"", &vec![b'x'; LONG], "\"}");
    let unfinished = &long[..LONG];
    let small = "in pieces of 64 KiB";
    let mut rows = vec![
        pieces("a reply, a command in flight", small, busy(Qmp), &long),
        pieces("a reply that does not end", small, busy(GuestAgent), unfinished),
        pieces("a guest agent's, no command in flight", small, ready(GuestAgent), unfinished),
        pieces(
            "a guest agent's, before a session",
            small,
            <Connection>::new(config(GuestAgent), 7),
            unfinished,
        ),
        flood("replies to nobody", "{\"return\":1,\"id\":1}", busy(GuestAgent)),
        flood("replies to nobody", "{\"return\":[0],\"id\":[]}", busy(Qmp)),
        flood("events", "{\"event\":\"\"}", ready(Qmp)),
        flood(
            "a guest agent's lines before a session",
            "{}\n",
            <Connection>::new(config(GuestAgent), 7),
        ),
    ];
    let desc = |text: &[u8]| between("{\"error\": {\"desc\": \"", text, "\"}}");
    for (shape, text) in [
        ("its text as it stands", vec![b'x'; LONG]),
        ("its text with an escape", between("\\n", &vec![b'x'; LONG], "")),
        ("its text is not UTF-8", vec![0x80; LONG]),
    ] {
        rows.push(pieces("an error", shape, busy(Qmp), &desc(&text)));
    }
    let members = between("{\"return\":0", ",\"\":0".repeat(1023).as_bytes(), "}");
    rows.push(pieces("a message with 1,024 members", "in one piece", busy(Qmp), &members));
    let capabilities = between("[\"\"", ",\"\"".repeat(21_000).as_bytes(), "]");
    let greeting = between("{\"QMP\": {\"capabilities\": ", &capabilities, "}}");
    let new = <Connection>::new(Config::default(), 7);
    rows.push(pieces("a greeting", "in one piece", new, &greeting));
    rows
}
