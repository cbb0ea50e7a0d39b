//! Something that happened at the server, decoded where it is used.

use core::{fmt, str};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::object;
use crate::codec::text::{Span, Text};
use crate::connection::config::MAX_VALUES;
use crate::payload::bounded;
use crate::payload::decode::DecodeError;
use crate::payload::raw::Raw;

/// Something that happened at the server, as it was sent. Cloning is cheap.
///
/// QMP specification, section "Asynchronous events".
///
/// ```
/// use qmp_proto::{Config, Connection, Output, events::{Shutdown, ShutdownCause}};
///
/// let mut connection = <Connection>::new(Config::default(), 0);
/// connection.handle_input(br#"{"QMP": {"capabilities": []}}"#);
/// connection.handle_input(br#"{"event": "SHUTDOWN", "data": {"guest": true,
///     "reason": "guest-shutdown"}, "timestamp": {"seconds": 1267061043, "microseconds": 0}}"#);
/// let Some(Output::Event(event)) = connection.poll_output() else { panic!() };
/// assert_eq!(event.name(), "SHUTDOWN");
/// assert_eq!(event.timestamp().map(|at| at.seconds), Some(1267061043));
/// let shutdown = event.parse_as::<Shutdown>().expect("its name")?;
/// assert_eq!(shutdown.reason, ShutdownCause::GuestShutdown);
/// # Ok::<(), qmp_proto::DecodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    bytes: Bytes,
    name: Span,
    data: Span,
    timestamp: Span,
    /// More values of its data are not decoded.
    max_values: usize,
}

/// When an event happened, by the server's clock. Both parts are -1 where that clock failed.
///
/// Timestamps are not monotonic: QEMU holds some events back for up to a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Microseconds, in addition.
    pub microseconds: i64,
}

/// The data of an event of one name, decoded.
pub trait TypedEvent: DeserializeOwned {
    /// The event's name, `SHUTDOWN` for instance.
    const NAME: &'static str;
}

impl Event {
    /// An event as a server sends it: see `Connection::event` of `qmp-server`.
    pub fn new(name: &str, data: Option<&Raw>, timestamp: Timestamp) -> Self {
        // Two numbers are always written.
        let timestamp = serde_json::to_vec(&timestamp).unwrap_or_default();
        Self::from_parts(name.as_bytes(), data.map_or(b"", Raw::as_bytes), &timestamp)
    }

    /// Keeps the parts of a message. `None` where `name` is not a JSON string.
    pub(crate) fn keep(text: &Text<'_>, name: Span, data: Span, timestamp: Span) -> Option<Self> {
        let bytes = text.bytes();
        let json = &bytes[name.range()];
        if object::plain_string(json).is_none() {
            let name = object::string(json)?;
            let (data, timestamp) = (&bytes[data.range()], &bytes[timestamp.range()]);
            return Some(Self::from_parts(name.as_bytes(), data, timestamp));
        }
        let inner = Span::new(name.range().start + 1, name.range().end - 1);
        let (bytes, [name, data, timestamp]) = text.keep([inner, data, timestamp]);
        Some(Self { bytes, name, data, timestamp, max_values: MAX_VALUES })
    }

    /// No server writes an event's name with escapes, so this may copy once more.
    fn from_parts(name: &[u8], data: &[u8], timestamp: &[u8]) -> Self {
        let (name_end, data_end) = (name.len(), name.len() + data.len());
        Self {
            bytes: Bytes::from([name, data, timestamp].concat()),
            name: Span::new(0, name_end),
            data: Span::new(name_end, data_end),
            timestamp: Span::new(data_end, data_end + timestamp.len()),
            max_values: MAX_VALUES,
        }
    }

    pub(crate) fn with_max_values(mut self, values: usize) -> Self {
        self.max_values = values;
        self
    }

    /// The event's name, `SHUTDOWN` for instance.
    pub fn name(&self) -> &str {
        str::from_utf8(&self.bytes[self.name.range()]).unwrap_or_default()
    }

    /// When it happened; `None` where the server gave no timestamp that can be read.
    pub fn timestamp(&self) -> Option<Timestamp> {
        let json = str::from_utf8(&self.bytes[self.timestamp.range()]).ok()?;
        bounded::from_str(json, usize::MAX).ok()
    }

    /// The event's data, where it has any.
    pub fn data(&self) -> Option<Raw> {
        let part = || Raw::part(&self.bytes, self.data).with_max_values(self.max_values);
        (!self.data.is_empty()).then(part)
    }

    /// The event's data decoded, where the event is a `T`; `None` where it is another event.
    ///
    /// An event without data is decoded as if its data were `{}`.
    ///
    /// # Errors
    ///
    /// Where the data does not fit `T`. The event itself is as good as before.
    pub fn parse_as<T: TypedEvent>(&self) -> Option<Result<T, DecodeError>> {
        let data = || self.data().unwrap_or(Raw::from_static("{}"));
        (self.name() == T::NAME).then(|| data().parse())
    }

    /// How many bytes this event keeps in memory, its own fields not counted.
    pub fn len_in_memory(&self) -> usize {
        self.bytes.len()
    }
}

/// The data's length alone: it may hold a secret.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("name", &self.name())
            .field("timestamp", &self.timestamp())
            .field("data", &format_args!("{} bytes", self.data.len()))
            .finish()
    }
}
