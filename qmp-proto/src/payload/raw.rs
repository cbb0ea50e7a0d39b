//! Raw JSON of a payload, decoded where it is used.

use alloc::boxed::Box;
use alloc::string::ToString;
use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_json::value::RawValue;

use crate::codec::text::{Span, Text};
use crate::connection::config::MAX_VALUES;
use crate::payload::bounded;
use crate::payload::decode::DecodeError;
use crate::payload::error::JsonFault;
use crate::payload::printable::{Printable, printable};

/// The JSON text of a `return`, an event's `data` or another payload, as the server wrote it.
///
/// Nothing has checked it yet: a payload that is no JSON, or does not fit the type asked for,
/// fails [`parse`](Self::parse) and nothing else. Cloning is cheap; the bytes are shared.
///
/// A `Raw` may also stand in a type of yours, for a part that is to stay undecoded.
///
/// ```
/// use qmp_proto::Raw;
///
/// let raw = Raw::from_static(r#"{"status": "running", "running": true}"#);
/// let status: serde_json::Value = raw.parse()?;
/// assert_eq!(status["status"], "running");
/// # Ok::<(), qmp_proto::DecodeError>(())
/// ```
#[derive(Clone)]
pub struct Raw {
    bytes: Bytes,
    /// More values are not decoded.
    max_values: usize,
}

impl Raw {
    /// A payload known when the program was written.
    pub const fn from_static(json: &'static str) -> Self {
        Self::new_from(Bytes::from_static(json.as_bytes()))
    }

    /// A value as JSON, for what a server returns.
    ///
    /// # Errors
    ///
    /// [`JsonFault::NotSerializable`] where the value's `Serialize` fails.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonFault> {
        let json = serde_json::to_vec(value).map_err(|_| JsonFault::NotSerializable)?;
        Ok(Self::new_from(Bytes::from(json)))
    }

    const fn new_from(bytes: Bytes) -> Self {
        Self { bytes, max_values: MAX_VALUES }
    }

    /// The same payload, of which so many values are decoded at most:
    /// [`Config::max_values`](crate::Config::max_values).
    #[must_use]
    pub fn with_max_values(mut self, values: usize) -> Self {
        self.max_values = values;
        self
    }

    /// Keeps `span` of a message.
    pub(crate) fn keep(text: &Text<'_>, span: Span) -> Self {
        match &text.bytes()[span.range()] {
            // What most commands return.
            b"{}" => Self::from_static("{}"),
            _ => Self::new_from(text.keep_one(span)),
        }
    }

    pub(crate) fn from_number(number: u64) -> Self {
        Self::new_from(Bytes::from(number.to_string()))
    }

    /// A part of a message that is kept already.
    pub(crate) fn part(bytes: &Bytes, span: Span) -> Self {
        Self::new_from(bytes.slice(span.range()))
    }

    /// Decodes the payload, borrowing from it where `T` does.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what was expected and where, never what value came. What is no UTF-8 as a
    /// whole is no JSON. Nesting beyond 128
    /// levels is such an error, unless the feature `deep` is on: then everything that the
    /// connection's `max_depth` lets through is decoded, on a stack that grows on the heap. More
    /// values than the connection's [`max_values`](crate::Config::max_values) are such an error too;
    /// what is in a member that `T` passes over does not count. A payload that is part of a value of yours takes a monitor's
    /// default for it: see [`with_max_values`](Self::with_max_values).
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DecodeError> {
        // With text that is known to be UTF-8 as a whole, serde_json need not look at each string, and
        // one of its readers is enough.
        bounded::from_str(self.as_str()?, self.max_values)
            .map_err(|failure| DecodeError::new::<T>(&self.bytes, &failure, self.max_values))
    }

    /// The payload's text.
    ///
    /// # Errors
    ///
    /// If the payload is not UTF-8. QEMU writes only ASCII. [`display`](Self::display) shows any payload.
    pub fn as_str(&self) -> Result<&str, DecodeError> {
        core::str::from_utf8(&self.bytes)
            .map_err(|error| DecodeError::not_utf8(&self.bytes, error.valid_up_to()))
    }

    /// The payload's text for people, filtered by [`printable`]. It never fails.
    ///
    /// ```
    /// use qmp_proto::Raw;
    ///
    /// let raw = Raw::from_static(r#"{"status": "running"}"#);
    /// assert_eq!(raw.display().to_string(), r#"{"status": "running"}"#);
    /// ```
    pub fn display(&self) -> Printable<'_> {
        printable(&self.bytes)
    }

    /// The payload's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload's bytes, not copied.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// By the bytes.
impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Raw {}

/// The length alone: a payload may hold a secret, and 76 MB.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.bytes.len())
    }
}

/// From serde_json's deserializers alone.
impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json: Box<str> = Box::<RawValue>::deserialize(deserializer)?.into();
        Ok(Self::new_from(Bytes::from(json.into_string())))
    }
}

/// To serde_json's serializers alone; fails where the payload is no JSON.
impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.parse::<&RawValue>().map_err(ser::Error::custom)?.serialize(serializer)
    }
}
