//! The messages that a server sends.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use qmp_proto::{CommandError, Event, Raw};
use serde::Serialize;
use serde_json::value::RawValue;

use super::config::Config;
use super::layout;

/// QMP specification, section "Server Greeting".
pub(super) fn greeting(out: &mut Vec<u8>, config: &Config) {
    #[derive(Serialize)]
    struct Greeting<'a> {
        version: &'a qmp_proto::Version,
        capabilities: &'a [String],
    }
    let greeting = Greeting { version: &config.version, capabilities: &config.capabilities };
    layout::write(out, &[("QMP", &json(&greeting))], config.pretty);
}

/// QMP specification, section "Commands Responses", "success". `value` is JSON.
pub(super) fn success(out: &mut Vec<u8>, value: &str, id: Option<&Raw>, pretty: bool) {
    let mut members = Vec::from([("return", value)]);
    members.extend(id.and_then(text).map(|id| ("id", id)));
    layout::write(out, &members, pretty);
}

/// QMP specification, section "Commands Responses", "error".
pub(super) fn error(out: &mut Vec<u8>, error: &CommandError, id: Option<&Raw>, pretty: bool) {
    let class = json(error.class.as_str());
    let error = format!(r#"{{"class":{class},"desc":{}}}"#, json(&*error.desc));
    let mut members = Vec::from_iter(id.and_then(text).map(|id| ("id", id)));
    members.push(("error", &error));
    layout::write(out, &members, pretty);
}

/// QMP specification, section "Asynchronous events". `None`, and nothing written, where the event's
/// data is no JSON.
pub(super) fn event(out: &mut Vec<u8>, event: &Event, pretty: bool) -> Option<()> {
    let (timestamp, name, data) = (event.timestamp(), json(event.name()), event.data());
    let timestamp = timestamp.map(|timestamp| json(&timestamp));
    let mut members = Vec::from_iter(timestamp.as_deref().map(|at| ("timestamp", at)));
    members.push(("event", &name));
    if let Some(data) = &data {
        members.push(("data", text(data)?));
    }
    layout::write(out, &members, pretty);
    Some(())
}

/// What is known to be JSON once it is read.
fn text(raw: &Raw) -> Option<&str> {
    raw.parse::<&RawValue>().ok().map(RawValue::get)
}

/// Of strings and numbers, which can always be written.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
