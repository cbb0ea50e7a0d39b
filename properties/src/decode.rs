//! Whatever a server returns, decoding it gives a value or an error that says where.

use std::fmt::Debug;

use qmp_proto::commands::{
    AddFd, Cont, HumanMonitorCommand, QueryCommands, QueryFdsets, QueryName, QueryQmpSchema,
    QueryStatus, QueryVersion,
};
use qmp_proto::events::{DeviceDeleted, Powerdown, Reset, Resume, Shutdown, Stop};
use qmp_proto::{Command, Config, DecodeError, Event, Raw, Timestamp, TypedEvent};
use serde::de::IgnoredAny;
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
    payload.is_return_of::<QueryStatus>();
    payload.is_return_of::<QueryVersion>();
    payload.is_return_of::<QueryName>();
    payload.is_return_of::<QueryCommands>();
    payload.is_return_of::<Cont>();
    payload.is_return_of::<HumanMonitorCommand<'_>>();
    payload.is_return_of::<AddFd<'_>>();
    payload.is_return_of::<QueryFdsets>();
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

impl Payload {
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
