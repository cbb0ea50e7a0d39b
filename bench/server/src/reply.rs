//! What is said to a client, laid out as QEMU does.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use crate::command::{Command, Wish};

const VERSION: &str =
    r#"{"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2+dfsg-7"}"#;
const EVENT: &[u8] = b"{\"timestamp\": {\"seconds\": 1795331979, \"microseconds\": 979544}, \"event\": \"DEVICE_DELETED\", \
      \"data\": {\"device\": \"net0\", \"path\": \"/machine/peripheral/net0\"}}\r\n";
/// A line of `xp`, as JSON has it.
const LINE: &[u8] = br"00000000fee00000: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\r\n";
/// How many events are written at once.
const AT_ONCE: usize = 400;

/// What waits to be sent.
#[derive(Default)]
pub struct Replies {
    bytes: Vec<u8>,
    /// The string that was last asked for.
    string: Vec<u8>,
}

impl Replies {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    pub fn greet(&mut self) {
        self.bytes.extend_from_slice(b"{\"QMP\": {\"version\": ");
        self.bytes.extend_from_slice(VERSION.as_bytes());
        self.bytes.extend_from_slice(b", \"capabilities\": [\"oob\"]}}\r\n");
    }

    /// Adds a reply; sends it at once if it is long or has more behind it.
    pub fn answer(&mut self, command: &Command<'_>, stream: &mut impl Write) -> io::Result<()> {
        match command.wish {
            Wish::Capabilities => self.reply(b"{}", command.id),
            Wish::Version => self.reply(VERSION.as_bytes(), command.id),
            Wish::Size(size) => {
                self.fill(size);
                let string = std::mem::take(&mut self.string);
                self.reply(&string, command.id);
                self.string = string;
            }
            Wish::Events(count) => {
                self.reply(b"\"\"", command.id);
                self.events(count, stream)?;
            }
            Wish::Late(microseconds) => {
                self.reply(b"\"\"", command.id);
                stream.write_all(&self.bytes)?;
                self.bytes.clear();
                thread::sleep(Duration::from_micros(microseconds as u64));
                self.events(1, stream)?;
            }
        }
        Ok(())
    }

    fn reply(&mut self, payload: &[u8], id: Option<&[u8]>) {
        self.bytes.extend_from_slice(b"{\"return\": ");
        self.bytes.extend_from_slice(payload);
        if let Some(id) = id {
            self.bytes.extend_from_slice(b", \"id\": ");
            self.bytes.extend_from_slice(id);
        }
        self.bytes.extend_from_slice(b"}\r\n");
    }

    /// The last of them stay here, to go with what else there is to say.
    fn events(&mut self, count: usize, stream: &mut impl Write) -> io::Result<()> {
        for left in (0..count).rev() {
            self.bytes.extend_from_slice(EVENT);
            if left > 0 && left % AT_ONCE == 0 {
                stream.write_all(&self.bytes)?;
                self.bytes.clear();
            }
        }
        Ok(())
    }

    /// Makes the string for a reply of about `size` bytes.
    fn fill(&mut self, size: usize) {
        let room = size.saturating_sub(2);
        if self.string.len() == room + 2 {
            return;
        }
        self.string.clear();
        self.string.push(b'"');
        for _ in 0..room / LINE.len() {
            self.string.extend_from_slice(LINE);
        }
        self.string.resize(room + 1, b' ');
        self.string.push(b'"');
    }
}
