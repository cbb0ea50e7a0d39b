//! Who speaks first: a QMP server begins with a JSON object, and what does not is named.
//!
//! The verdict is a function of the shortest prefix that decides, whatever the chunking, or, at
//! the end of the stream, of what came.

use alloc::string::String;
use core::fmt::Write;

use crate::connection::close::NotQmp;

/// What the others say first.
static SIGNATURES: [(&[u8], NotQmp); 9] = [
    (b"QEMU ", NotQmp::HumanMonitor),
    (b"(qemu) ", NotQmp::HumanMonitor),
    (b"\xff\xfb", NotQmp::Telnet),
    (b"\xff\xfc", NotQmp::Telnet),
    (b"\xff\xfd", NotQmp::Telnet),
    (b"\xff\xfe", NotQmp::Telnet),
    (b"SSH-", NotQmp::Ssh),
    (b"HTTP/", NotQmp::Http),
    (b"RFB ", NotQmp::Vnc),
];

/// No signature is longer.
const LONGEST: usize = 8;

/// How much an unknown speaker is quoted, in bytes.
const QUOTED: usize = 128;

/// Reads a stream up to its first `{`.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    seen: [u8; LONGEST],
    length: usize,
    passed: bool,
}

impl Opening {
    /// Takes from `input` what stands before the first object.
    pub(crate) fn read(&mut self, input: &mut &[u8]) -> Result<(), NotQmp> {
        while !self.passed {
            let Some((&byte, rest)) = input.split_first() else {
                break;
            };
            if self.length == 0 && byte == b'{' {
                self.passed = true;
            } else if self.accept(byte, rest)? {
                *input = rest;
            }
        }
        Ok(())
    }

    /// How many bytes have come that do not tell yet who speaks.
    pub(crate) fn undecided(&self) -> usize {
        self.length
    }

    /// The verdict where the stream ends before it was decided.
    pub(crate) fn at_eof(&self) -> Result<(), NotQmp> {
        match &self.seen[..self.length] {
            [] | [0xFF] => Ok(()),
            seen => Err(NotQmp::unknown(seen, &[])),
        }
    }

    /// Whether the byte was taken; if not, it is to be looked at again.
    fn accept(&mut self, byte: u8, rest: &[u8]) -> Result<bool, NotQmp> {
        self.seen[self.length] = byte;
        let seen = &self.seen[..=self.length];
        if let Some((_, speaker)) = SIGNATURES.iter().find(|(text, _)| *text == seen) {
            return Err(speaker.clone());
        }
        if SIGNATURES.iter().any(|(text, _)| text.starts_with(seen)) {
            self.length += 1;
            return Ok(true);
        }
        match seen {
            [] | [b' ' | b'\t' | b'\r' | b'\n'] => Ok(true),
            // A lone 0xFF resynchronises a parser and is passed over, as between messages.
            [0xFF, _] => {
                self.length = 0;
                Ok(false)
            }
            seen => Err(NotQmp::unknown(seen, rest)),
        }
    }
}

impl NotQmp {
    /// A speaker that is quoted, as far as its words have come. If they are JSON after all, a
    /// quotation mark is where the values begin.
    pub(crate) fn unknown(seen: &[u8], rest: &[u8]) -> Self {
        let words = |byte: &&u8| !matches!(byte, b'"' | b'\r' | b'\n');
        let mut said = String::new();
        for byte in seen.iter().chain(rest).take(QUOTED).take_while(words) {
            // Writing to a string does not fail.
            let _ = match byte {
                b' '..=b'~' => said.write_char(char::from(*byte)),
                byte => write!(said, "\\x{byte:02x}"),
            };
        }
        Self::Unknown { said: said.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(said: &str) -> Result<(), NotQmp> {
        Err(NotQmp::Unknown { said: said.into() })
    }

    fn verdict(bytes: &[u8]) -> Result<(), NotQmp> {
        let mut opening = Opening::default();
        let mut input = bytes;
        opening.read(&mut input)?;
        if opening.passed { Ok(()) } else { opening.at_eof() }
    }

    #[test]
    fn c7_names_who_speaks_first() {
        let cases: [(&[u8], Result<(), NotQmp>); 12] = [
            (b"{\"QMP\"", Ok(())),
            (b"\r\n \xff\xff{", Ok(())),
            (b"", Ok(())),
            (b"\xff", Ok(())),
            (b"QEMU 7.2.22 monitor - type 'help'", Err(NotQmp::HumanMonitor)),
            (b"(qemu) ", Err(NotQmp::HumanMonitor)),
            (b"\xff\xfb\x01", Err(NotQmp::Telnet)),
            (b"SSH-2.0-OpenSSH_9.2p1", Err(NotQmp::Ssh)),
            (b"HTTP/1.1 400 Bad Request", Err(NotQmp::Http)),
            (b"RFB 003.008", Err(NotQmp::Vnc)),
            (b"QEM", unknown("QEM")),
            (b"\r\nhello, world\r\n", unknown("hello, world")),
        ];
        for (bytes, expected) in cases {
            assert_eq!(verdict(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn c7_byte_by_byte_equals_whole_and_the_prefix_decides() {
        for (signature, speaker) in &SIGNATURES {
            let mut opening = Opening::default();
            for (at, byte) in signature.iter().enumerate() {
                let verdict = opening.read(&mut &[*byte][..]);
                let last = at + 1 == signature.len();
                assert_eq!(verdict, if last { Err(speaker.clone()) } else { Ok(()) });
            }
        }
    }

    #[test]
    fn c7_a_quotation_is_bounded_and_goes_as_far_as_the_words_had_come() {
        assert_eq!(verdict(&[b'x'; 10 * QUOTED]), unknown(&"x".repeat(QUOTED)));
        assert_eq!(verdict(b"\xf0\x1b[2J \"a\""), unknown("\\xf0\\x1b[2J "));
        assert_eq!(verdict(b"\"a\""), unknown(""));
        let mut opening = Opening::default();
        assert_eq!(opening.read(&mut &b"QE"[..]), Ok(()));
        assert_eq!(opening.read(&mut &b"D!"[..]), unknown("QED!"));
    }
}
