//! What decoding takes, in the shapes that take most.

use std::time::Instant;

use qmp_client::guest::base64;
use qmp_client::guest::{Step, wait};
use qmp_proto::commands::{
    AddFd, HumanMonitorCommand, QueryCommands, QueryFdsets, QueryName, QueryQmpSchema, QueryStatus,
    QueryVersion, Stop,
};
use qmp_proto::events::{self, DeviceDeleted, Powerdown, Reset, Resume, Shutdown};
use qmp_proto::guest_commands::{
    GuestExec, GuestExecStatus, GuestFileOpen, GuestFileRead, GuestFileSeek, GuestFileWrite,
    GuestGetHostName, GuestGetOsinfo, GuestGetTime, GuestInfo, GuestNetworkGetInterfaces,
    GuestPing, GuestShutdown, GuestSyncDelimited,
};
use qmp_proto::{Command, Dialect, Raw, TypedEvent};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{LONG, Row, config};

/// The shapes of one dialect, each up to its limit of values.
struct Shapes {
    dialect: Dialect,
    rows: Vec<Row>,
}

impl Shapes {
    fn values(&self) -> usize {
        config(self.dialect).most_values()
    }

    fn raw(&self, json: String) -> Raw {
        let json = RawValue::from_string(json).unwrap();
        Raw::new(&*json).unwrap().with_max_values(self.values())
    }

    /// Decodes it, or fails to.
    fn decode<T: DeserializeOwned>(&mut self, subject: &str, shape: &str, json: String) {
        let raw = self.raw(json);
        let received = raw.as_bytes().len();
        self.rows.push(Row::measured(subject, shape, received, || raw.parse::<T>()));
    }

    fn returned<C: Command>(&mut self, shape: &str, json: String) {
        let subject = format!("return of `{}`", C::NAME);
        let raw = self.raw(json);
        let (received, shared) = (raw.as_bytes().len(), raw.clone());
        self.rows.push(Row::measured(&subject, shape, received, || C::decode(shared)));
    }

    /// As many elements as there may be, which have so many values each, with what is around them.
    fn many(&self, around: [&str; 2], element: &str, values: usize) -> String {
        // What is around has a few values, too.
        let elements = vec![element; (self.values() - 8) / values];
        [around[0], &elements.join(","), around[1]].concat()
    }

    fn lists<C: Command>(&mut self, around: [&str; 2], element: &str, values: usize) {
        let json = self.many(around, element, values);
        let shape = format!("`{}{element},…{}`", around[0], around[1]);
        self.returned::<C>(&shape, json);
    }

    /// As many values as there may be, in a member that the type passes over.
    fn unknown_member<C: Command>(&mut self, before: &str) {
        self.lists::<C>([&format!("{{{before}\"\":["), "]}"], "0", 1);
    }

    /// The same in an event's data.
    fn event_with_unknown_member<E: TypedEvent + DeserializeOwned>(&mut self) {
        let json = self.many(["{\"\":[", "]}"], "0", 1);
        self.decode::<E>(&format!("data of `{}`", E::NAME), "`{\"\":[0,…]}`", json);
    }

    fn event_with_text<E: TypedEvent + DeserializeOwned>(&mut self, before: &str) {
        for (start, shown) in [("", "…"), ("\\n", "\\n…")] {
            let json = [before, "\"", start, &"x".repeat(LONG), "\"}"].concat();
            let shape = format!("`{before}\"{shown}\"}}`");
            self.decode::<E>(&format!("data of `{}`", E::NAME), &shape, json);
        }
    }

    /// A long text as it stands, and one with an escape, which is put together elsewhere.
    fn texts<C: Command>(&mut self, before: &str, after: &str) {
        for (start, shown) in [("", "…"), ("\\n", "\\n…")] {
            let json = [before, "\"", start, &"x".repeat(LONG), "\"", after].concat();
            self.returned::<C>(&format!("`{before}\"{shown}\"{after}`"), json);
        }
    }

    /// Lists of elements with so many values each.
    fn any_values(&mut self, elements: &[(&str, usize)]) {
        for (element, values) in elements {
            let json = self.many(["[", "]"], element, *values);
            self.decode::<Value>("`serde_json::Value`", &format!("`[{element},…]`"), json);
        }
    }

    fn other_values(&mut self) {
        let members = (0..self.values() - 8).map(|number| format!("\"{number}\":0"));
        let json = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        self.decode::<Value>("`serde_json::Value`", "`{\"0\":0,\"1\":0,…}`", json);
        let json = format!("[{}0]", "[],".repeat(LONG / 3));
        self.decode::<Value>("`serde_json::Value`", "`[[],…]`, more than the limit", json);
        let json = ["\"", &"x".repeat(LONG), "\""].concat();
        self.decode::<Value>("`serde_json::Value`", "`\"…\"`", json);
    }

    /// A text of characters that an error would show as escapes.
    fn misfits(&mut self) {
        let text = ["\"", &"\u{7f}".repeat(LONG), "\""].concat();
        self.decode::<i64>("an error: `i64`", "`\"\\x7f…\"`", text.clone());
        let shorter = ["\"", &"\u{7f}".repeat(LONG - 1), "\""].concat();
        self.decode::<i64>("an error: `i64`", "`\"\\x7f…\"`, a byte less", shorter);
        self.rows.last_mut().expect("this row").is_repeated = true;
        let named = ["{", &text, ":[0]}"].concat();
        self.decode::<std::collections::BTreeMap<String, u8>>(
            "an error: a map of `u8`",
            "`{\"\\x7f…\":[0]}`",
            named,
        );
    }
}

pub(super) fn of_an_agent() -> Vec<Row> {
    let mut shapes = Shapes { dialect: Dialect::GuestAgent, rows: Vec::new() };
    let commands = [r#"{"version":"","supported_commands":["#, "]}"];
    shapes.lists::<GuestInfo>(commands, r#"{"name":"","enabled":true}"#, 3);
    shapes.lists::<GuestNetworkGetInterfaces>(["[", "]"], r#"{"name":""}"#, 2);
    let address = r#"{"ip-address":"","ip-address-type":"x","prefix":0}"#;
    let addresses = [r#"[{"name":"","ip-addresses":["#, "]}]"];
    shapes.lists::<GuestNetworkGetInterfaces>(addresses, address, 4);
    let one = format!(r#"{{"name":"","ip-addresses":[{address}]}}"#);
    shapes.lists::<GuestNetworkGetInterfaces>(["[", "]"], &one, 7);
    shapes.texts::<GuestInfo>(r#"{"version":"#, "}");
    shapes.texts::<GuestGetHostName>(r#"{"host-name":"#, "}");
    shapes.texts::<GuestGetOsinfo>(r#"{"name":"#, "}");
    shapes.texts::<GuestFileRead>(r#"{"count":0,"eof":true,"buf-b64":"#, "}");
    shapes.texts::<GuestExecStatus>(r#"{"exited":true,"out-data":"#, "}");
    shapes.returned::<GuestGetTime>("`1795332918261446000`", "1795332918261446000".to_owned());
    shapes.returned::<GuestFileOpen<'_>>("`1000`", "1000".to_owned());
    shapes.returned::<GuestSyncDelimited>("`1000`", "1000".to_owned());
    shapes.unknown_member::<GuestExec<'_>>("\"pid\":0,");
    shapes.unknown_member::<GuestFileWrite<'_>>("\"count\":0,\"eof\":true,");
    shapes.unknown_member::<GuestFileSeek>("\"position\":0,\"eof\":true,");
    shapes.unknown_member::<GuestPing>("");
    shapes.unknown_member::<GuestShutdown>("");
    guest_exec(&mut shapes);
    shapes.any_values(&[("0", 1), ("\"\"", 1), ("\"x\"", 1), ("[]", 1), ("{}", 1), ("[0]", 2)]);
    shapes.any_values(&[("{\"\":0}", 2), ("{\"\":[{\"\":0}]}", 4)]);
    shapes.other_values();
    shapes.misfits();
    shapes.rows
}

/// Its payload is still there while its texts are decoded.
fn guest_exec(shapes: &mut Shapes) {
    let output = base64::encode(vec![0; LONG]);
    let json =
        format!(r#"{{"exited":true,"exitcode":0,"out-data":"{output}","err-data":"{output}"}}"#);
    let (raw, now) = (shapes.raw(json), Instant::now());
    let row = Row::measured(
        "`guest_exec`'s `GuestOutput`",
        "two outputs in base64",
        raw.as_bytes().len(),
        || {
            let Ok(Step::Execute(_, _, asked)) = wait(7, None, now) else { panic!() };
            let Ok(Step::Done(output)) = asked.answered(Ok(raw.clone()), now) else { panic!() };
            output
        },
    );
    shapes.rows.push(row);
}

pub(super) fn of_a_monitor() -> Vec<Row> {
    let mut shapes = Shapes { dialect: Dialect::Qmp, rows: Vec::new() };
    shapes.lists::<QueryCommands>(["[", "]"], r#"{"name":""}"#, 2);
    shapes.lists::<QueryFdsets>(["[", "]"], r#"{"fdset-id":0,"fds":[]}"#, 3);
    shapes.lists::<QueryFdsets>([r#"[{"fdset-id":0,"fds":["#, "]}]"], r#"{"fd":0}"#, 2);
    shapes.lists::<QueryFdsets>(["[", "]"], r#"{"fdset-id":0,"fds":[{"fd":0}]}"#, 5);
    shapes.texts::<QueryName>(r#"{"name":"#, "}");
    shapes.texts::<QueryStatus>(r#"{"running":true,"status":"#, "}");
    shapes.texts::<QueryVersion>(r#"{"qemu":{"major":1,"minor":1,"micro":1},"package":"#, "}");
    shapes.texts::<HumanMonitorCommand<'_>>("", "");
    shapes.lists::<QueryQmpSchema>(["[", "]"], "{\"name\":\"\"}", 2);
    shapes.unknown_member::<AddFd<'_>>("\"fdset-id\":0,\"fd\":0,");
    shapes.unknown_member::<Stop>("");
    shapes.event_with_text::<DeviceDeleted>("{\"path\":");
    shapes.event_with_text::<Shutdown>("{\"guest\":true,\"reason\":");
    shapes.event_with_text::<Reset>("{\"guest\":true,\"reason\":");
    shapes.event_with_unknown_member::<events::Stop>();
    shapes.event_with_unknown_member::<Resume>();
    shapes.event_with_unknown_member::<Powerdown>();
    shapes.any_values(&[("0", 1), ("{\"\":[{\"\":0}]}", 4)]);
    shapes.rows
}
