//! How commands are written: `{"execute": …, "arguments": {…}, "id": N}`.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use serde::Serialize;

use crate::codec::check;
use crate::codec::object;
use crate::payload::command::Request;
use crate::payload::error::{JsonFault, Refusal};

/// Room for a command without arguments, or with few.
const ROOM: usize = 128;

/// A request that is encoded and checked already, all but its id.
#[derive(Clone)]
#[must_use = "a command does nothing until it is executed"]
pub struct Prepared<F = Infallible> {
    name: Cow<'static, str>,
    pub(crate) text: Vec<u8>,
    pub(crate) quit: bool,
    pub(crate) out_of_band: bool,
    pub(crate) descriptor: Option<F>,
    pub(crate) no_reply: bool,
}

impl<F> Prepared<F> {
    pub(crate) fn new<A: Serialize>(request: Request<A, F>) -> Result<Self, Refusal> {
        let mut text = Vec::with_capacity(ROOM);
        append(&mut text, &request)?;
        Ok(Self {
            quit: request.is_quit(),
            name: request.name,
            text,
            out_of_band: request.out_of_band,
            descriptor: request.descriptor,
            no_reply: request.no_reply,
        })
    }

    /// The command's name.
    pub fn name(&self) -> &Cow<'static, str> {
        &self.name
    }

    /// Whether it is to be executed out-of-band.
    pub fn is_out_of_band(&self) -> bool {
        self.out_of_band
    }
}

/// The length alone: arguments may hold secrets.
impl<F> fmt::Debug for Prepared<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({} bytes)", self.text.len())
    }
}

/// Appends all of a command but its id to `buffer`. Where it is refused, or its `Serialize`
/// panics, `buffer` is left as it was.
pub(crate) fn append<A: Serialize, F>(
    buffer: &mut Vec<u8>,
    request: &Request<A, F>,
) -> Result<(), Refusal> {
    let start = buffer.len();
    let mut undo = UndoOnDrop { buffer, start, armed: true };
    let plain = is_plain(request.name());
    let with_arguments = write(undo.buffer, request, plain)?;
    // Of a plain name alone there is nothing that could be wrong.
    if with_arguments || !plain {
        check::check(&undo.buffer[start..])?;
    }
    undo.armed = false;
    Ok(())
}

/// Ends a command, with an id or without. A byte behind `quit` would turn the server's orderly end into a reset, so that
/// one has no line end.
pub(crate) fn finish(buffer: &mut Vec<u8>, id: Option<u64>, quit: bool) {
    if let Some(id) = id {
        buffer.extend_from_slice(b",\"id\":");
        // A number is always written.
        let _ = to_json(buffer, &id);
    }
    buffer.extend_from_slice(if quit { b"}" } else { b"}\n" });
}

struct UndoOnDrop<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    armed: bool,
}

impl Drop for UndoOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.buffer.truncate(self.start);
        }
    }
}

/// Whether a name stands for itself in JSON, and is of no size that would matter.
fn is_plain(name: &str) -> bool {
    name.len() < ROOM && object::is_plain(name.as_bytes())
}

/// Tells whether there are arguments.
fn write<A: Serialize, F>(
    buffer: &mut Vec<u8>,
    request: &Request<A, F>,
    plain: bool,
) -> Result<bool, Refusal> {
    let verb: &[u8] = if request.out_of_band { b"{\"exec-oob\":" } else { b"{\"execute\":" };
    buffer.extend_from_slice(verb);
    if plain {
        buffer.push(b'"');
        buffer.extend_from_slice(request.name().as_bytes());
        buffer.push(b'"');
    } else {
        serialize(buffer, request.name())?;
    }
    let before_arguments = buffer.len();
    buffer.extend_from_slice(b",\"arguments\":");
    let start = buffer.len();
    serialize(buffer, &request.arguments)?;
    match buffer[start..] {
        [b'{', ..] => Ok(true),
        // `()`, a unit struct, `None`: there are no arguments.
        [b'n', ..] => {
            buffer.truncate(before_arguments);
            Ok(false)
        }
        _ => Err(Refusal::InvalidJson(JsonFault::NotAnObject)),
    }
}

fn serialize<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) -> Result<(), Refusal> {
    to_json(buffer, value).map_err(|_| Refusal::InvalidJson(JsonFault::NotSerializable))
}

#[cfg(feature = "std")]
fn to_json<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) -> serde_json::Result<()> {
    serde_json::to_writer(buffer, value)
}

/// Without std, serde_json writes into a vector of its own alone.
#[cfg(not(feature = "std"))]
fn to_json<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) -> serde_json::Result<()> {
    buffer.extend_from_slice(&serde_json::to_vec(value)?);
    Ok(())
}
