//! Files in the guest.

use std::fs;

use qmp_tests::agent::Agent;
use qmp_tests::scripted::Random;

use super::super::qmp::guest_commands::{
    GuestFileClose, GuestFileFlush, GuestFileOpen, GuestFileRead, GuestFileSeek, GuestFileWhence,
    GuestFileWrite,
};
use super::super::qmp::{Client, Error, base64};
use super::super::runtime::tell;
use super::connect;

const SIZE: usize = 5_000_000;
const CHUNK: usize = 1 << 20;

async fn write(client: &Client, handle: i64, content: &[u8]) {
    for chunk in content.chunks(CHUNK) {
        let (buf_b64, count) = (&base64::encode(chunk), None);
        let written = wait!(client.execute(&GuestFileWrite { handle, buf_b64, count })).unwrap();
        assert_eq!(written.count, i64::try_from(chunk.len()).unwrap());
    }
}

async fn read(client: &Client, handle: i64, chunk: i64) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let read = GuestFileRead { handle, count: Some(chunk) };
        let piece = wait!(client.execute(&read)).unwrap();
        let bytes = base64::decode(&piece.buf_b64).unwrap();
        assert_eq!(piece.count, i64::try_from(bytes.len()).unwrap());
        content.extend(bytes);
        if piece.eof {
            return content;
        }
    }
}

#[test]
fn c23_a_file_goes_into_the_guest_and_comes_back() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let client = connect(&agent).await;
        let mut random = Random::new(23);
        let content: Vec<u8> = (0..SIZE).map(|_| random.below(256) as u8).collect();
        let path = agent.file("content");
        let open = GuestFileOpen { path: &path, mode: Some("w+") };
        let handle = wait!(client.execute(&open)).unwrap();
        write(&client, handle, &content).await;
        wait!(client.execute(&GuestFileFlush { handle })).unwrap();
        assert!(fs::read(&path).unwrap() == content);
        let whence = GuestFileWhence::Set;
        let start = wait!(client.execute(&GuestFileSeek { handle, offset: 0, whence })).unwrap();
        assert_eq!(start.position, 0);
        assert!(read(&client, handle, CHUNK as i64).await == content);
        // All of it in one line, 6.7 MB long.
        let start = wait!(client.execute(&GuestFileSeek {
            handle,
            offset: -(SIZE as i64),
            whence: GuestFileWhence::End
        }));
        assert_eq!(start.unwrap().position, 0);
        assert!(read(&client, handle, 2 * SIZE as i64).await == content);
        wait!(client.execute(&GuestFileClose { handle })).unwrap();
        let closed = wait!(client.execute(&GuestFileClose { handle })).unwrap_err();
        assert!(matches!(closed, Error::Command(_)), "{closed}");
    });
}

/// Handles are the agent's: they outlive a connection.
#[test]
fn c23_a_file_outlives_the_connection_that_opened_it() {
    tell(async {
        let Some(agent) = Agent::start() else { return };
        let path = agent.file("content");
        let open = GuestFileOpen { path: &path, mode: Some("w") };
        let handle = wait!(connect(&agent).await.execute(&open)).unwrap();
        let client = connect(&agent).await;
        write(&client, handle, b"hello").await;
        wait!(client.execute(&GuestFileClose { handle })).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        let missing = GuestFileOpen { path: &agent.file("missing"), mode: None };
        assert!(matches!(wait!(client.execute(&missing)), Err(Error::Command(_))));
    });
}
