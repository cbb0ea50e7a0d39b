//! Whatever a server returns, decoding it gives a value or an error that says where.

use std::fmt::{self, Debug};

use qmp_proto::commands::{
    AddFd, Cont, HumanMonitorCommand, QueryCommands, QueryFdsets, QueryName, QueryQmpSchema,
    QueryStatus, QueryVersion,
};
use qmp_proto::events::{DeviceDeleted, Powerdown, Reset, Resume, Shutdown, Stop};
use qmp_proto::guest_commands::{
    GuestExecStatus, GuestFileRead, GuestGetOsinfo, GuestInfo, GuestNetworkGetInterfaces,
};
use qmp_proto::{Command, Config, DecodeError, DecodeErrorKind, Event, Raw, Timestamp, TypedEvent};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::peer::Peer;

const AT: Timestamp = Timestamp { seconds: 1, microseconds: 2 };

/// The bytes are what a command returns, or the data of an event.
pub fn check(data: &[u8]) {
    let Some(raw) = returned(data) else { return };
    let payload = Payload {
        is_json: serde_json::from_slice::<IgnoredAny>(raw.as_bytes()).is_ok(),
        value: serde_json::from_slice(raw.as_bytes()).ok(),
        raw,
    };
    payload.agrees(payload.raw.parse::<Value>(), Some);
    payload.is_limited();
    payload.is_return_of::<QueryStatus>();
    payload.is_return_of::<QueryVersion>();
    payload.is_return_of::<QueryName>();
    payload.is_return_of::<QueryCommands>();
    payload.is_return_of::<Cont>();
    payload.is_return_of::<HumanMonitorCommand<'_>>();
    payload.is_return_of::<AddFd<'_>>();
    payload.is_return_of::<QueryFdsets>();
    payload.is_return_of::<GuestInfo>();
    payload.is_return_of::<GuestGetOsinfo>();
    payload.is_return_of::<GuestNetworkGetInterfaces>();
    payload.is_return_of::<GuestExecStatus>();
    payload.is_return_of::<GuestFileRead>();
    assert_eq!(QueryQmpSchema::decode(payload.raw.clone()).as_ref(), Ok(&payload.raw));
    payload.is_data_of::<Shutdown>();
    payload.is_data_of::<Stop>();
    payload.is_data_of::<Resume>();
    payload.is_data_of::<Reset>();
    payload.is_data_of::<Powerdown>();
    payload.is_data_of::<DeviceDeleted>();
}

/// What a connection gives as a command's return, where the bytes leave its message whole.
fn returned(data: &[u8]) -> Option<Raw> {
    let mut peer = Peer::ready(Config::default());
    let id = peer.execute("a");
    peer.take_all();
    peer.feed([br#"{"return":"#, data, format!(",\"id\":{id}}}").as_bytes()].concat());
    match peer.connection.poll_output()? {
        qmp_proto::Output::Reply(replied, Ok(raw)) if replied == id => Some(raw),
        _ => None,
    }
}

struct Payload {
    raw: Raw,
    is_json: bool,
    /// What serde_json makes of it, where it is JSON of no great depth.
    value: Option<Value>,
}

/// How many elements and members there are, at all depths.
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Counter)
    }
}

struct Counter;

impl<'de> Visitor<'de> for Counter {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Count, A::Error> {
        let mut count = 0;
        while let Some(Count(inner)) = access.next_element()? {
            count += 1 + inner;
        }
        Ok(Count(count))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Count, A::Error> {
        let mut count = 0;
        while let Some((IgnoredAny, Count(inner))) = access.next_entry()? {
            count += 1 + inner;
        }
        Ok(Count(count))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(0))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Count, E> {
        Ok(Count(0))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Count, E> {
        Ok(Count(0))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Count, E> {
        Ok(Count(0))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(0))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(0))
    }
}

impl Payload {
    /// It is decoded with a limit of just as many values as it has, and not with one fewer.
    fn is_limited(&self) {
        let Some(value) = &self.value else { return };
        let text = self.raw.as_str().expect("JSON");
        let Count(count) = serde_json::from_str(text).expect("JSON");
        let limited = |values| self.raw.clone().with_max_values(values).parse::<Value>();
        assert_eq!(limited(count).as_ref(), Ok(value));
        if let Some(limit) = count.checked_sub(1) {
            let error = limited(limit).expect_err("one too many");
            assert_eq!(error.kind(), DecodeErrorKind::TooMany { limit });
        }
    }

    fn is_return_of<C: Command<Return: PartialEq + Debug>>(&self) {
        self.agrees(C::decode(self.raw.clone()), |value| serde_json::from_value(value).ok());
    }

    fn is_data_of<E: TypedEvent + PartialEq + Debug>(&self) {
        let event = Event::new(E::NAME, Some(&self.raw), AT);
        let decoded = event.parse_as::<E>().expect("its name");
        self.agrees(decoded, |value| serde_json::from_value(value).ok());
    }

    /// What was decoded is what is there, and an error says where in the payload it is.
    fn agrees<T: PartialEq + Debug>(
        &self,
        decoded: Result<T, DecodeError>,
        by_serde: impl FnOnce(Value) -> Option<T>,
    ) {
        match (decoded, self.value.clone()) {
            (Ok(decoded), Some(value)) => assert_eq!(Some(decoded), by_serde(value)),
            (Ok(_), None) => assert!(self.is_json),
            (Err(error), _) => {
                assert!(error.offset() <= self.raw.as_bytes().len(), "{error}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
}
