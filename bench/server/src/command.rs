//! What a client writes, as far as it matters here.

use memchr::memmem;

/// A command.
pub struct Command<'a> {
    /// The value of its `id`, if it has one.
    pub id: Option<&'a [u8]>,
    pub wish: Wish,
}

/// What is asked for.
pub enum Wish {
    Capabilities,
    Version,
    /// A string, such that the reply has so many bytes.
    Size(usize),
    /// So many events, behind the reply.
    Events(usize),
    /// An event, so many microseconds after the reply.
    Late(usize),
}

/// Where the first command in these bytes ends: no client here writes a bracket into a string.
pub fn end(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

impl<'a> Command<'a> {
    pub fn read(bytes: &'a [u8]) -> Self {
        Self { id: id(bytes), wish: Wish::read(bytes) }
    }
}

fn id(bytes: &[u8]) -> Option<&[u8]> {
    let at = memmem::rfind(bytes, b"\"id\":")? + 5;
    let end = memchr::memchr2(b',', b'}', &bytes[at..])?;
    Some(bytes[at..at + end].trim_ascii())
}

impl Wish {
    fn read(bytes: &[u8]) -> Self {
        if memmem::find(bytes, b"human-monitor-command").is_some() {
            let number = |word: &[u8]| number(&bytes[memmem::find(bytes, word)? + word.len()..]);
            return match (number(b"\"size "), number(b"\"events "), number(b"\"late ")) {
                (Some(size), ..) => Self::Size(size),
                (_, Some(count), _) => Self::Events(count),
                (.., Some(microseconds)) => Self::Late(microseconds),
                _ => Self::Version,
            };
        }
        match memmem::find(bytes, b"\"qmp_capabilities\"") {
            Some(_) => Self::Capabilities,
            None => Self::Version,
        }
    }
}

fn number(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()
}
